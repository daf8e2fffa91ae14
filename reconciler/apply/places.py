"""Places to work at: so many artifacts at a time, and when one is free the most urgent of those that wait gets it.

A build gives its place up when its builder is done, and what stands on it comes a moment later, when the image has been
recorded and tagged. In that moment nothing less urgent may take the place, for minutes: it is kept for what is about to
come (ADR 072).

Never here: what makes one urgent. That is decided with the plan, and handed in as numbers.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import islice
from math import inf
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from reconciler.model.name import ArtifactName

AT_ONCE = inf
"""How urgent it is to move tags: that takes moments, and builds take minutes."""


@dataclass(slots=True)
class Places:
    """`free` of them at first. `urgency` is that of builds: artifact -> a number, a greater one goes first; what is not
    in it goes last, and ties go by name. `after` has all that each build waits for."""

    free: int
    urgency: Mapping[ArtifactName, float] = field(default_factory=dict)
    after: Mapping[ArtifactName, Sequence[ArtifactName]] = field(default_factory=dict)
    _waiting: list[tuple[float, ArtifactName, int, asyncio.Future[None]]] = field(default_factory=list)
    _coming: set[tuple[float, ArtifactName]] = field(default_factory=set)
    """Those that need nothing but that what was built for them is recorded."""
    _left: dict[ArtifactName, int] = field(default_factory=dict)
    """Build that has not come yet -> how many of those it waits for are not built yet."""
    _children: dict[ArtifactName, list[ArtifactName]] = field(default_factory=dict)
    _built: set[ArtifactName] = field(default_factory=set)
    _came: int = 0
    _looking: bool = False

    def __post_init__(self) -> None:
        for child, parents in self.after.items():
            self._left[child] = len(parents)
            for parent in parents:
                self._children.setdefault(parent, []).append(child)

    @property
    def all_taken(self) -> bool:
        """True if who comes now has to wait."""
        return self.free <= len(self._waiting)

    @asynccontextmanager
    async def of(self, name: ArtifactName, urgency: float | None = None) -> AsyncIterator[None]:
        """Hold a place while inside. `urgency` is its own where it is given, else that of its build."""
        await self._take(name, self._urgency(name) if urgency is None else urgency)
        try:
            yield
        finally:
            self._leave()

    def built(self, name: ArtifactName) -> None:
        """The builder is done with it: what waits for nothing else is about to come. Twice is once."""
        if name in self._built:
            return
        self._built.add(name)
        for child in self._children.get(name, ()):
            if child not in self._left:
                continue  # it did not need this one: an earlier pass had pushed what it stands on
            self._left[child] -= 1
            if not self._left[child]:
                self._coming.add((-self._urgency(child), child))

    def ended(self, name: ArtifactName) -> None:
        """It does not come any more, and what waits for it finds out what became of it."""
        self.built(name)
        self._comes(name)
        self._look()

    def _urgency(self, name: ArtifactName) -> float:
        return self.urgency.get(name, 0.0)

    def _comes(self, name: ArtifactName) -> None:
        self._left.pop(name, None)
        self._coming.discard((-self._urgency(name), name))

    async def _take(self, name: ArtifactName, urgency: float) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heappush(self._waiting, (-urgency, name, self._came, turn))
        self._came += 1
        self._comes(name)
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
            urgency, name, _, turn = self._waiting[0]
            if not turn.done() and self._is_kept((urgency, name)):
                return
            heappop(self._waiting)
            if not turn.done():
                self.free -= 1
                turn.set_result(None)

    def _is_kept(self, first: tuple[float, ArtifactName]) -> bool:
        """Whether all free places are kept for more urgent ones than the first of those that wait."""
        before = (one for one in self._coming if one < first)
        return len(list(islice(before, self.free))) == self.free
