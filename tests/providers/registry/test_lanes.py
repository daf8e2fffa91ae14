"""What is small and only read goes over plain connections that are kept: without httpx, and as safe as with it."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.manifest import IMAGE_MANIFEST
from reconciler.model.observed import Found
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.distribution.inventory import DistributionInventory
from reconciler.providers.registry.http import lanes
from reconciler.providers.registry.http.lane import Lane
from reconciler.providers.registry.http.lanes import Lanes
from reconciler.providers.registry.http.reply import Broken
from tests.ports.registry_suite import Image
from tests.providers.registry.places import config, opened, transport
from tests.servers.faulty_registry import PASSWORD, USER, FaultyRegistry
from tests.servers.raw import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from reconciler.providers.registry.http.reply import Reply

    Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CLIENT = "reconciler.providers.registry.http.client"


def held(**how: Any) -> tuple[FaultyRegistry, Image]:
    """A registry with `app:latest`."""
    server, image = FaultyRegistry(**how), Image()
    server.blobs |= {("app", str(digest)): data for digest, data in image.blobs.items()}
    server.manifests["app", str(image.manifest.digest)] = (IMAGE_MANIFEST, image.manifest.data)
    server.tags["app", "latest"] = str(image.manifest.digest)
    return server, image


@pytest.mark.parametrize("auth", ["", "basic", "bearer"])
def test_what_is_read_takes_no_httpx(auth: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """To import the module with httpx in it fails. A token service on the registry's own origin is no exception."""
    monkeypatch.setitem(sys.modules, CLIENT, None)
    server, image = held(auth=auth)

    async def use() -> None:
        app, digest = Repository(server.host, "app"), image.manifest.digest
        docker = config(server.host, username=USER, password=PASSWORD) if auth else None
        async with opened(server.host, docker=docker) as (registry, _):
            latest = Reference(app, "latest")
            assert isinstance((await registry.heads([latest]))[latest], Found)
            assert await registry.manifest(app, digest) == image.manifest
            assert await registry.missing(app, digest) == ()
            assert await registry.referrers(app, digest, None) == ()
            blob, data = next(iter(image.blobs.items()))
            assert await registry.blob(app, blob, len(data)) == data

    with server.running():
        asyncio.run(use())
    assert server.requests


async def asked(handler: Handler, times: int = 1, **how: Any) -> AsyncIterator[Reply]:
    """The answers to so many questions on one lane."""
    async with serving(handler) as host:
        name, port = host.split(":")
        async with Lane(name, int(port), None, read=how.pop("read", 5.0)) as lane:
            for _ in range(times):
                yield await lane.exchange("GET", "/", [("host", host)], **how)


def answers(handler: Handler, times: int = 1, **how: Any) -> list[Reply]:
    async def use() -> list[Reply]:
        return [reply async for reply in asked(handler, times, **how)]

    return asyncio.run(use())


def saying(answer: bytes) -> Handler:
    async def say(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)

    return say


def test_a_header_that_comes_twice_is_a_list() -> None:
    challenges = b'WWW-Authenticate: Basic realm="a"\r\nWWW-Authenticate: Bearer realm="b"\r\n'
    (reply,) = answers(saying(b"HTTP/1.1 401 No\r\nContent-Length: 0\r\n" + challenges + b"\r\n"))
    assert reply.headers["www-authenticate"] == 'Basic realm="a", Bearer realm="b"'


def test_headers_may_be_long() -> None:
    (reply,) = answers(saying(b"HTTP/1.1 307 Go\r\nLocation: /" + b"s" * 60_000 + b"\r\nContent-Length: 0\r\n\r\n"))
    assert len(reply.headers["location"]) == 60_001


def test_what_was_not_asked_for_answers_nothing() -> None:
    """Some say 408 before they close: it is not the answer to what is asked next."""
    late = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n"
    assert [reply.status for reply in answers(saying(OK + late), 3)] == [200, 200, 200]


@pytest.mark.parametrize(("status", "truncated"), [(b"200 OK", True), (b"206 Partial", False), (b"404 No", False)])
def test_an_error_may_explain_itself_beyond_the_limit(status: bytes, *, truncated: bool) -> None:
    (reply,) = answers(saying(OK.replace(b"200 OK", status)), limit=1, otherwise=100)
    assert reply.truncated is truncated
    assert reply.body == (b"" if truncated else b"ok")


def test_what_is_slow_but_never_silent_has_its_time() -> None:
    async def slowly(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(OK[:-2] + b"")
        for byte in b"ok":
            await asyncio.sleep(0.15)
            writer.write(bytes([byte]))

    assert answers(slowly, read=0.25, seconds=5.0)[0].body == b"ok"
    with pytest.raises(Broken, match="no answer in time"):
        answers(slowly, read=0.25)


def test_who_is_free_for_long_is_not_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    async def peers(seconds: float) -> int:
        monkeypatch.setattr(lanes, "_IDLE_SECONDS", seconds)
        seen = set()

        async def note(_: bytes, writer: asyncio.StreamWriter) -> None:
            seen.add(writer.get_extra_info("peername"))
            writer.write(OK)

        async with serving(note) as host:
            name, port = host.split(":")
            kept = Lanes(lambda: Lane(name, int(port), None))
            for _ in range(3):
                assert (await kept.exchange("GET", "/", {"host": host}, limit=10)).body == b"ok"
            await kept.aclose()
        return len(seen)

    assert asyncio.run(peers(60.0)) == 1
    assert asyncio.run(peers(-1.0)) == 3


def test_questions_share_connections() -> None:
    """What many hands left is there for whoever comes after them."""
    server, _ = held()

    async def use() -> None:
        async with transport(server.host) as one:
            inventory = DistributionInventory(one)
            await inventory.all_names([Repository(server.host, "app")])
            async with one.lane() as lane:
                assert lane is not None
                assert lane.open

    with server.running():
        asyncio.run(use())


def test_what_comes_unasked_is_never_an_answer() -> None:
    """A server that sends a body after the answer to a HEAD, where a body may look like an answer."""
    asked_for = 0

    async def handler(request: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal asked_for
        asked_for += 1
        writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 60\r\n\r\n")
        await writer.drain()
        await sent.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async def use() -> list[int]:
        async with serving(handler) as host:
            name, port = host.split(":")
            async with Lane(name, int(port), None) as lane:
                first = await lane.exchange("HEAD", "/", [("host", host)])
                sent.set()
                while lane.open:  # noqa: ASYNC110 - bytes that arrive set no event
                    await asyncio.sleep(0)
                return [first.status, (await lane.exchange("HEAD", "/", [("host", host)])).status]

    sent = asyncio.Event()
    assert asyncio.run(use()) == [404, 404]
    assert asked_for == 2


@pytest.mark.parametrize("host", [f"{'a' * 64}.example", "a..example", "a b"])
def test_a_host_that_cannot_be_is_no_connection(host: str) -> None:
    async def use() -> None:
        async with Lane(host, 80, None, connect=5.0) as lane:
            with pytest.raises(Broken):
                await lane.exchange("HEAD", "/", [("host", host)])

    asyncio.run(use())


def test_a_lane_in_use_when_all_are_ended_is_ended_when_it_is_given_back() -> None:
    async def use() -> None:
        async with serving(lambda _, writer: _write(writer, OK)) as host:
            name, port = host.split(":")
            lanes = Lanes(lambda: Lane(name, int(port), None))
            async with lanes.one() as lane:
                await lane.exchange("GET", "/", [("host", host)])
                await lanes.aclose()
                assert lane.open
            assert not lane.open

    asyncio.run(use())


async def _write(writer: asyncio.StreamWriter, data: bytes) -> None:
    writer.write(data)
