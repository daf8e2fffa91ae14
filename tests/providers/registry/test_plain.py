"""The plainest of HTTP is read as h11 reads it, and nothing else is taken for plain."""

from __future__ import annotations

import asyncio

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.providers.registry.http.lane import Lane
from reconciler.providers.registry.http.plain import head_answer, request_head
from reconciler.providers.registry.http.reply import Reply
from tests.servers.raw import serving

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-A: b\r\n\r\n"
HOST = ("host", "shop.example")


def of_h11(data: bytes) -> Reply | None:
    """What h11 makes of an answer to HEAD; None if it is none, is not all of the bytes, or ends the connection."""
    parser = h11.Connection(h11.CLIENT)
    parser.send(h11.Request(method="HEAD", target="/", headers=[HOST]))
    parser.send(h11.EndOfMessage())
    parser.receive_data(data)
    try:
        first, last = parser.next_event(), parser.next_event()
    except h11.RemoteProtocolError:
        return None
    if not isinstance(first, h11.Response) or not isinstance(last, h11.EndOfMessage) or parser.trailing_data[0]:
        return None
    if parser.their_state is not h11.DONE:
        return None
    pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in first.headers]
    return Reply(first.status_code, dict(pairs)) if len(dict(pairs)) == len(pairs) else None


def test_a_plain_answer_is_read() -> None:
    assert head_answer(ANSWER) == Reply(200, {"content-length": "5", "x-a": "b"}) == of_h11(ANSWER)


PIECES = st.sampled_from(
    [
        b"HTTP/1.1 ",
        b"HTTP/1.0 ",
        b"200",
        b"404",
        b"100",
        b"20",
        b" OK",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\t",
        b":",
        b"\x00",
        b"A",
        b"content-length: ",
        b"Content-Length:1",
        b"transfer-encoding: chunked",
        b"connection: close",
        b"\xe9",
        b"-1",
        b"HTTP/1.1 200 OK\r\n",
        b"X-A: b\r\n",
        b"\r\n\r\n",
        b"docker-content-digest: sha256:ab\r\n",
    ]
)


@given(st.lists(PIECES, max_size=12).map(b"".join))
def test_what_is_plain_h11_reads_the_same(data: bytes) -> None:
    plain = head_answer(data)
    assert plain is None or plain == of_h11(data)


@given(st.lists(st.tuples(st.sampled_from(["a", "b", "X-C", "d-e"]), st.text("ab \t:,=;\xe9", max_size=9)), max_size=6))
def test_headers_are_read_as_h11_does(headers: list[tuple[str, str]]) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    data = f"HTTP/1.1 200 OK\r\n{lines}\r\n".encode("latin-1")
    assert head_answer(data) == of_h11(data)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        ANSWER[:-1],
        ANSWER + b"HTTP/1.1 200 OK\r\n\r\n",
        ANSWER.replace(b"1.1", b"1.0"),
        ANSWER.replace(b"200", b"103"),
        ANSWER.replace(b"\r\n", b"\n"),
        ANSWER.replace(b"X-A: b", b"X-A: b\r\n more"),
        ANSWER.replace(b"X-A: b", b"X-A : b"),
        ANSWER.replace(b"X-A: b", b"X-A: \x00"),
        ANSWER.replace(b"X-A: b", b"Content-Length: 5"),
        ANSWER.replace(b"X-A: b", b"Connection: close"),
        ANSWER.replace(b"X-A: b", b"Transfer-Encoding: chunked"),
        ANSWER.replace(b": 5", b": -5"),
        b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: a\r\n" % n for n in range(101)) + b"\r\n",
    ],
)
def test_what_is_not_plain_is_left_to_others(data: bytes) -> None:
    assert head_answer(data) is None


@pytest.mark.parametrize("answer", [b"HTTP/1.1 200 OK" + b"\r\nX: " * 20_000, b"HTTP/1.1 200 " + b" " * 60_000])
def test_long_nonsense_is_put_away_at_once(answer: bytes) -> None:
    """A pattern that went back and forth would take minutes."""
    assert head_answer(answer) is None


def test_a_request_is_what_h11_would_send() -> None:
    headers = [HOST, ("accept", "a/b, c/d"), ("authorization", "Basic eA==")]
    parser = h11.Connection(h11.CLIENT)
    told = parser.send(h11.Request(method="HEAD", target="/v2/a/manifests/b?c=d", headers=headers))
    assert request_head("HEAD", "/v2/a/manifests/b?c=d", headers).lower() == told.lower()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("target", "value"),
    [
        ("/a b", "c"),
        ("/a\r\nX: y", "c"),
        ("/é", "c"),
        ("", "c"),
        ("/a", "c\r\nX: y"),
        ("/a", "c\n"),
        ("/a", "é"),
        ("/a", "\0"),
    ],
)
def test_nothing_is_smuggled_into_a_request(target: str, value: str) -> None:
    assert request_head("HEAD", target, [HOST, ("x-a", value)]) is None


@pytest.mark.parametrize("last", [b"", b"Connection: close\r\n", b"X-A: b\r\nX-A: c\r\n"])
def test_an_answer_in_pieces_or_that_ends_the_connection_is_read_all_the_same(last: bytes) -> None:
    async def use() -> list[Reply]:
        async def say(_: bytes, writer: asyncio.StreamWriter) -> None:
            for piece in (b"HTTP/1.1 200 OK\r\nDocker-Con", b"tent-Digest: x\r\n" + last + b"\r\n"):
                writer.write(piece)
                await writer.drain()
                await asyncio.sleep(0)
            if b"close" in last:
                writer.close()

        async with serving(say) as host:
            name, port = host.split(":")
            async with Lane(name, int(port), None) as lane:
                return [await lane.exchange("HEAD", "/", [("host", host)]) for _ in range(3)]

    replies = asyncio.run(use())
    assert [reply.headers["docker-content-digest"] for reply in replies] == ["x"] * 3
    assert {reply.headers.get("x-a") for reply in replies} == {"b, c" if b"X-A" in last else None}
