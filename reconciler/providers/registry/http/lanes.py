"""The connections to one registry that are free, kept for what is read next."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from reconciler.model.manifest import MAX_MANIFEST

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from reconciler.providers.registry.http.lane import Lane
    from reconciler.providers.registry.http.reply import Reply

CALL_SECONDS = 120.0
"""For one exchange as a whole, however slowly its bytes drip."""
_IDLE_SECONDS = 5.0
"""A connection that had nothing to do for longer may be dead without a word: a gateway forgot it."""


class Lanes:
    """Lanes to one registry; `make` gives a new one. There are never more than were in use at a time."""

    def __init__(self, make: Callable[[], Lane]) -> None:
        self._make = make
        self._free: list[tuple[Lane, float]] = []
        self._closed = False

    async def aclose(self) -> None:
        """End all connections that are free; one in use ends when it is given back."""
        self._closed = True
        free, self._free = self._free, []
        for lane, _ in free:
            await lane.aclose()

    @contextlib.asynccontextmanager
    async def one(self) -> AsyncIterator[Lane]:
        """One lane, for as long as it takes."""
        lane = await self._taken()
        try:
            yield lane
        finally:
            if lane.open and not self._closed:
                self._free.append((lane, asyncio.get_running_loop().time()))
            else:
                await lane.aclose()

    async def exchange(self, method: str, target: str, headers: Mapping[str, str], *, limit: int) -> Reply:
        """One question on any lane, with the patience and the limits of an httpx client (see `Client.exchange`).
        Raises Broken."""
        given = [*({"accept": "*/*"} | dict(headers)).items()]
        async with self.one() as lane:
            return await lane.exchange(method, target, given, limit=limit, otherwise=MAX_MANIFEST, seconds=CALL_SECONDS)

    async def _taken(self) -> Lane:
        """The one that was used last; those that are free for too long are ended."""
        while self._free:
            lane, since = self._free.pop()
            if asyncio.get_running_loop().time() - since <= _IDLE_SECONDS and lane.open:
                return lane
            await lane.aclose()
        return self._make()
