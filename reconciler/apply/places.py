"""Places to work at: so many artifacts at a time, and when one is free the most urgent of those that wait gets it.

Never here: what makes one urgent. That is decided with the plan, and handed in as numbers.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from reconciler.model.name import ArtifactName

AT_ONCE = inf
"""How urgent it is to move tags: that takes moments, and builds take minutes."""


@dataclass(slots=True)
class Places:
    """`free` of them at first. `urgency` is that of builds: artifact -> a number, a greater one goes first; what is not
    in it goes last, and ties go by name."""

    free: int
    urgency: Mapping[ArtifactName, float] = field(default_factory=dict)
    _waiting: list[tuple[float, ArtifactName, int, asyncio.Future[None]]] = field(default_factory=list)
    _came: int = 0
    _looking: bool = False

    @property
    def all_taken(self) -> bool:
        """True if who comes now has to wait."""
        return self.free <= len(self._waiting)

    @asynccontextmanager
    async def of(self, name: ArtifactName, urgency: float | None = None) -> AsyncIterator[None]:
        """Hold a place while inside. `urgency` is its own where it is given, else that of its build."""
        await self._take(name, self.urgency.get(name, 0.0) if urgency is None else urgency)
        try:
            yield
        finally:
            self._leave()

    async def _take(self, name: ArtifactName, urgency: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (-urgency, name, self._came, turn))
        self._came += 1
        self._look()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # it was given one in the very moment in which it went
            raise

    def _leave(self) -> None:
        self.free += 1
        self._look()

    def _look(self) -> None:
        """A moment later, so that of those that come together the most urgent is first, and not the first to come."""
        if not self._looking:
            self._looking = True
            asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        self._looking = False
        while self.free and self._waiting:
            turn = heappop(self._waiting)[3]
            if not turn.done():
                self.free -= 1
                turn.set_result(None)
