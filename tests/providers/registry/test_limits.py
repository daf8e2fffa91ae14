"""Registries that bear only so much: what they are asked adapts, and every answer comes in the end."""

from __future__ import annotations

import asyncio
import contextlib
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from reconciler.model.digest import Digest
from reconciler.model.manifest import IMAGE_MANIFEST
from reconciler.model.observed import Found
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.distribution.registry import DistributionRegistry
from reconciler.providers.registry.http.retry import RetryPolicy, Timing
from reconciler.providers.registry.http.transport import Endpoint, Transport
from tests.providers.registry.places import Clock, config
from tests.servers.raw import serving

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HEAD = (
    f"HTTP/1.1 200 OK\r\nContent-Type: {IMAGE_MANIFEST}\r\nContent-Length: 400\r\n"
    f"Docker-Content-Digest: {Digest.of(b'')}\r\n\r\n"
).encode()


@dataclass
class Limited:
    """Answers every HEAD the same after `delay` seconds, but 429 (with `retry_after` if that is given) to what comes
    while `at_once` others are being answered, or when the bucket of `burst` tokens, `rate` a second, is empty."""

    at_once: int = 1 << 30
    rate: float = 1e9
    burst: float = 1e9
    delay: float = 0.0
    retry_after: str = ""
    host: str = ""
    answered: int = 0
    refused: int = 0
    most: int = 0
    _now: int = 0
    _seen: set[object] = field(default_factory=set)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Limited]:
        self._tokens, self._filled = self.burst, time.monotonic()
        async with serving(self._serve) as self.host:
            yield self

    async def _serve(self, head: bytes, writer: asyncio.StreamWriter) -> None:
        self._seen.add(writer.get_extra_info("peername"))
        writer.write(await self._answer(head))

    @property
    def connections(self) -> int:
        """How many there have been."""
        return len(self._seen)

    async def _answer(self, head: bytes) -> bytes:
        if not head.startswith(b"HEAD"):
            return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"
        self._now += 1
        self.most = max(self.most, self._now)
        try:
            if self._now > self.at_once or not self._token():
                self.refused += 1
                more = f"Retry-After: {self.retry_after}\r\n" if self.retry_after else ""
                return f"HTTP/1.1 429 Too Many\r\nContent-Length: 0\r\n{more}\r\n".encode()
            await asyncio.sleep(self.delay)
            self.answered += 1
            return HEAD
        finally:
            self._now -= 1

    def _token(self) -> bool:
        now = time.monotonic()
        self._tokens, self._filled = min(self.burst, self._tokens + (now - self._filled) * self.rate), now
        self._tokens -= 1 if (there := self._tokens >= 1) else 0
        return there


async def ask(server: Limited, count: int, *, clock: Clock | None = None, policy: RetryPolicy | None = None) -> None:
    """All are found."""
    transport = Transport(Endpoint.of(server.host), config(), timing=clock.timing if clock else Timing(), policy=policy)
    try:
        wanted = [Reference(Repository(server.host, f"r/{n}"), "latest") for n in range(count)]
        seen = await DistributionRegistry(transport).heads(wanted)
        assert set(seen.values()) == {Found(Digest.of(b""), IMAGE_MANIFEST, 400)}
        assert list(seen) == wanted
    finally:
        await transport.aclose()


def test_a_registry_far_away_is_asked_more_at_a_time() -> None:
    async def use() -> None:
        async with Limited(delay=0.05).running() as server:
            await ask(server, 300)
            assert 8 < server.most <= 32
            assert server.connections <= 33
            assert server.refused == 0

    asyncio.run(use())


@pytest.mark.parametrize("retry_after", ["", "1"])
@pytest.mark.parametrize("at_once", [1, 2, 7])
def test_a_registry_that_bears_few_at_a_time_is_asked_few(at_once: int, retry_after: str) -> None:
    async def use() -> None:
        async with Limited(at_once=at_once, delay=0.002, retry_after=retry_after).running() as server:
            await ask(server, 300, clock=Clock())
            assert server.answered == 300
            assert server.refused < 60
            assert server.connections < 60

    asyncio.run(use())


@pytest.mark.parametrize(("retry_after", "count"), [("", 200), ("1", 150)])
def test_a_rate_limit_is_kept_to(retry_after: str, count: int) -> None:
    """A bucket of tokens, as most have it; where the registry names no time, pauses are found by trying."""

    async def use() -> None:
        async with Limited(rate=300, burst=100, retry_after=retry_after).running() as server:
            await ask(server, count, policy=RetryPolicy(first_pause=0.1))
            assert server.refused < 100

    asyncio.run(use())


def test_small_questions_open_few_connections() -> None:
    async def use() -> None:
        async with Limited().running() as server:
            await ask(server, 3)
            assert server.connections <= 3

    asyncio.run(use())


def test_who_stops_asking_gives_its_places_back() -> None:
    """Cancelled in the middle, again and again: afterwards as many are asked at a time as before, and none is stuck."""

    async def use() -> None:
        async with Limited(delay=0.02).running() as server:
            transport = Transport(Endpoint.of(server.host), config())
            registry = DistributionRegistry(transport)
            wanted = [Reference(Repository(server.host, f"r/{n}"), "latest") for n in range(60)]
            for tenths in range(8):
                asking = asyncio.create_task(registry.heads(wanted))
                await asyncio.sleep(0.012 * tenths)
                asking.cancel()
                await asyncio.gather(asking, return_exceptions=True)
            assert transport.at_once >= 4
            async with asyncio.timeout(10):
                assert len(await registry.heads(wanted)) == 60
            await transport.aclose()

    asyncio.run(use())
