"""Waiting to the very end: what is rented is returned before a cancellation goes on, and nothing outlives an error.

Never here: what is waited for."""

from __future__ import annotations

import asyncio
import threading
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable

T = TypeVar("T")

CANCEL_SECONDS = 30.0
"""How long a piece of work that is cancelled may take to end."""


async def all_of(works: Iterable[Awaitable[T]]) -> list[T]:
    """All results, in order. If one raises, the others still come to their end, and the first error is raised then."""
    ends = await asyncio.gather(*works, return_exceptions=True)
    results: list[T] = []
    for end in ends:
        if isinstance(end, BaseException):
            raise end
        results.append(end)
    return results


@asynccontextmanager
async def beside(work: Awaitable[None]) -> AsyncIterator[None]:
    """Work that goes on while the block runs, and has ended when it is left: awaited, or if the block raises cancelled.
    Raises what the work raises."""
    task = asyncio.ensure_future(work)
    try:
        yield
    except BaseException:
        task.cancel()
        await to_its_end(asyncio.wait({task}))
        if not task.cancelled():
            task.exception()  # seen: what the block raised goes on
        raise
    await task


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


async def no_longer_than(seconds: float, work: Awaitable[T]) -> T:
    """Its result. What takes longer is cancelled and not waited for. If this task is cancelled the work is, too, and
    waited for as long as CANCEL_SECONDS. Raises TimeoutError, or what the work raises."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task}, timeout=seconds)
    except asyncio.CancelledError:
        task.cancel()
        task.add_done_callback(_seen)
        await to_its_end(asyncio.wait({task}, timeout=CANCEL_SECONDS))
        raise
    if not task.done():
        task.cancel()
        task.add_done_callback(_seen)
        raise TimeoutError
    return task.result()


def _seen(task: asyncio.Future[Any]) -> None:
    """What it raises late, nobody waits for."""
    if not task.cancelled():
        task.exception()


class Stopped(Exception):
    """Nobody waits for it any more."""


async def in_thread(work: Callable[[Callable[[], None]], T]) -> T:
    """What a blocking piece of work gives. It is handed a function to call often, which raises Stopped once this task
    is cancelled; the cancellation is raised on when the work has ended."""
    stop = threading.Event()

    def going_on() -> None:
        if stop.is_set():
            raise Stopped

    running = asyncio.ensure_future(asyncio.to_thread(work, going_on))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        stop.set()
        await to_its_end(asyncio.wait({running}))
        running.exception()  # seen: the cancellation goes on
        raise
