"""Many things at a time, but not all."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

Item = TypeVar("Item")
Answer = TypeVar("Answer")


async def each(items: Sequence[Item], do: Callable[[Item], Awaitable[Answer]], at_once: int) -> list[Answer]:
    """The answers in the items' order, `at_once` at a time; the first error ends the rest, and is raised."""
    gate = asyncio.Semaphore(at_once)

    async def one(item: Item) -> Answer:
        async with gate:
            return await do(item)

    tasks = [asyncio.ensure_future(one(item)) for item in items]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
