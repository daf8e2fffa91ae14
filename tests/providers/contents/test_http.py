"""What a URL has: real servers, redirects, compression, limits, and where credentials go."""

from __future__ import annotations

import asyncio
import gzip
from typing import TYPE_CHECKING

import pytest

from reconciler.model.digest import Digest
from reconciler.model.problem import LianError, Next
from reconciler.providers.contents.http import HttpContents
from tests.servers.files import FileServer, serve_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from http.server import BaseHTTPRequestHandler

    from reconciler.model.problem import Problem


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve_files({"/x": b"content"}) as running:
        yield running


def digest(url: str, limit: int = 1 << 20) -> Digest:
    return asyncio.run(HttpContents(limit).digest(url))


def problem(url: str, limit: int = 1 << 20) -> Problem:
    with pytest.raises(LianError) as raised:
        digest(url, limit)
    (found,) = raised.value.problems
    assert found.hint
    return found


def leads(to: str, *headers: tuple[str, str]) -> object:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(302)
        for name, value in (("Location", to), ("Content-Length", "0"), *headers):
            handler.send_header(name, value)
        handler.end_headers()

    return answer


def test_the_digest_is_that_of_the_content(server: FileServer) -> None:
    assert digest(f"{server.url}/x") == Digest.of(b"content")
    server.files["/x"] = b""
    assert digest(f"{server.url}/x") == Digest.of(b"")


def test_what_is_compressed_for_the_way_is_unpacked_as_go_does(server: FileServer) -> None:
    def packed(handler: BaseHTTPRequestHandler) -> None:
        content = gzip.compress(b"content")
        handler.send_response(200)
        handler.send_header("Content-Encoding", "gzip")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    server.special["/packed"] = packed
    server.files["/x.gz"] = gzip.compress(b"content", mtime=0)
    assert digest(f"{server.url}/packed") == Digest.of(b"content")
    assert digest(f"{server.url}/x.gz") == Digest.of(server.files["/x.gz"])


def test_a_password_goes_to_its_own_host_alone(server: FileServer) -> None:
    with serve_files({"/y": b"there"}) as other:
        server.special["/away"] = leads(f"{other.url}/y", ("Set-Cookie", "a=b"))  # type: ignore[assignment]
        server.special["/here"] = leads("/x", ("Set-Cookie", "a=b"))  # type: ignore[assignment]
        own = server.url.replace("://", "://user:word@")
        assert digest(f"{own}/away") == Digest.of(b"there")
        assert digest(f"{own}/here") == Digest.of(b"content")
        assert "authorization" in server.asked[0][2]
        (asked,) = other.asked
        assert not {"authorization", "cookie"} & asked[2].keys()
        assert "cookie" not in server.asked[-1][2]


def test_it_is_not_led_about_without_end(server: FileServer) -> None:
    server.special["/round"] = leads("/round")  # type: ignore[assignment]
    found = problem(f"{server.url}/round")
    assert (found.code, found.next) == ("url-unreadable", Next.PERSON)
    assert len(server.asked) == 11


def test_what_is_too_large_is_not_read_to_its_end(server: FileServer) -> None:
    assert digest(f"{server.url}/x", limit=7) == Digest.of(b"content")
    assert problem(f"{server.url}/x", limit=6).code == "url-too-large"


@pytest.mark.parametrize(
    ("status", "code", "next_"),
    [(404, "url-missing", Next.PERSON), (403, "url-missing", Next.PERSON), (503, "url-unreadable", Next.RETRY)],
)
def test_an_answer_that_is_none(server: FileServer, status: int, code: str, next_: Next) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    server.special["/x"] = answer
    found = problem(f"{server.url}/x?token=hush")
    assert (found.code, found.next) == (code, next_)
    assert "hush" not in found.message
    assert str(status) in found.message + (found.cause or "")


def test_a_content_that_breaks_off(server: FileServer) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b"half")
        handler.close_connection = True

    server.special["/x"] = cut
    assert problem(f"{server.url}/x").code == "url-unreadable"


def test_nobody_there(server: FileServer) -> None:
    with serve_files() as gone:
        url = gone.url
    assert (problem(f"{url}/x").code, problem(f"{url}/x").next) == ("url-unreadable", Next.RETRY)
    assert problem("http://files.example/" + "x" * 70_000).next is Next.PERSON
