"""Many small questions to one registry: asked by a few hands at a time, each with a connection of its own."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator

    from reconciler.providers.registry.http.lane import Lane
    from reconciler.providers.registry.http.transport import Transport

Item = TypeVar("Item")
Answer = TypeVar("Answer")


async def answers(
    transport: Transport, items: Collection[Item], ask: Callable[[Lane | None, Item], Awaitable[Answer]]
) -> dict[Item, Answer]:
    """Every item with what `ask` gave, in no order. `ask` may use the lane it gets, None where there is
    none, and should raise nothing. As many hands as the registry bears now: their number follows `at_once`."""
    crew = _Crew(transport, ask, iter(items), len(items))
    async with asyncio.TaskGroup() as group:
        crew.fill(group)
    return crew.found


@dataclass(slots=True)
class _Crew(Generic[Item, Answer]):
    """`left` counts the items that no hand has been made for, or gone on to."""

    transport: Transport
    ask: Callable[[Lane | None, Item], Awaitable[Answer]]
    queue: Iterator[Item]
    left: int
    hands: int = 0
    found: dict[Item, Answer] = field(default_factory=dict)

    def fill(self, group: asyncio.TaskGroup) -> None:
        """As many hands as the registry bears, each made for one item."""
        while self.left and self.hands < self.transport.at_once:
            self.hands += 1
            self.left -= 1
            group.create_task(self._work(group))

    async def _work(self, group: asyncio.TaskGroup) -> None:
        async with self.transport.lane() as lane:
            for item in self.queue:
                self.found[item] = await self.ask(lane, item)
                if not self._goes_on(group):
                    return

    def _goes_on(self, group: asyncio.TaskGroup) -> bool:
        """Whether this hand takes another item: not if none is left, or if the registry bears fewer hands."""
        if self.left and self.hands <= self.transport.at_once:
            self.left -= 1
            self.fill(group)
            return True
        self.hands -= 1
        return False
