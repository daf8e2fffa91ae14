"""Waiting to the very end: what is rented is returned before a cancellation goes on, and nothing outlives an error.

Never here: what is waited for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Iterable

T = TypeVar("T")


async def all_of(works: Iterable[Awaitable[T]]) -> list[T]:
    """All results, in order. If one raises, the others still come to their end, and the first error is raised then."""
    ends = await asyncio.gather(*works, return_exceptions=True)
    results: list[T] = []
    for end in ends:
        if isinstance(end, BaseException):
            raise end
        results.append(end)
    return results


async def to_its_end(work: Awaitable[T]) -> T:
    """Await it, however often this task is cancelled meanwhile; the cancellation is raised afterwards.

    Raises what the work raises. The work itself has to be bounded in time.
    """
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            cancelled = error
        except BaseException:  # noqa: BLE001 - raised again below, by the task's own result
            break
    result = task.result()
    if cancelled is not None:
        raise cancelled
    return result
