"""One pass after another. However many triggers fire during a pass, exactly one pass follows."""

from __future__ import annotations

import asyncio
from enum import Enum, auto
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.ports.trigger import Trigger


class Ending(Enum):
    """Where the loop was when it was asked to stop."""

    BETWEEN_PASSES = auto()
    IN_A_PASS = auto()


async def watch(
    one_pass: Callable[[str], Awaitable[None]], trigger: Trigger, interval: float, stop: asyncio.Event
) -> Ending:
    """Run passes until `stop` is set; at least one every `interval` seconds. `one_pass` is told what started it.

    A running pass is cancelled when `stop` is set, and its end awaited, so that everything rented is returned.
    What `one_pass` or the trigger raises ends the loop, and is raised on: a loop must not go on deaf.
    """
    again = asyncio.Event()
    listening = asyncio.create_task(_listen(trigger, again))
    stopping = asyncio.create_task(stop.wait())
    reason = "start"
    try:
        while True:
            again.clear()
            if not await _ran(asyncio.ensure_future(one_pass(reason)), stopping):
                return Ending.IN_A_PASS
            if stop.is_set():
                return Ending.BETWEEN_PASSES
            reason = await _next(again, listening, stopping, interval)
            if stop.is_set():
                return Ending.BETWEEN_PASSES
            if listening.done():
                listening.result()
    finally:
        await _cancel(listening)
        await _cancel(stopping)


async def _ran(running: asyncio.Task[None], stopping: asyncio.Task[bool]) -> bool:
    """Whether the pass came to its end before the stop; in any case it has ended. Raises what it raised."""
    try:
        await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if running.done():
            running.result()
            return True
    finally:
        if not running.done():
            await _cancel(running)
    if not running.cancelled():
        running.result()
    return False


async def _listen(trigger: Trigger, again: asyncio.Event) -> None:
    while True:
        await trigger.wait()
        again.set()


async def _next(
    again: asyncio.Event, listening: asyncio.Task[None], stopping: asyncio.Task[bool], interval: float
) -> str:
    """Wait for a trigger (or its failure), the timer or the stop; say which."""
    waiting = asyncio.create_task(again.wait())
    try:
        await asyncio.wait({waiting, listening, stopping}, timeout=interval, return_when=asyncio.FIRST_COMPLETED)
        return "the repo's refs moved" if again.is_set() else "timer"
    finally:
        await _cancel(waiting)


async def _cancel(task: asyncio.Future[object] | asyncio.Task[bool] | asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.wait({task})
    if not task.cancelled():
        task.exception()  # seen: a task that ended by itself has been looked at by whoever awaited it
