"""The watch loop: what starts a pass, how many follow, and how it ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.watch.loop import Ending, watch
from tests.fakes import FakeTrigger

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

LONG = 3600.0


class Passes:
    """Counts passes; each waits until it is let go."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.ended: list[str] = []
        self.begun = asyncio.Event()
        self.go = asyncio.Event()
        self.error: Exception | None = None
        self.last_words: Exception | None = None

    async def one(self, reason: str) -> None:
        self.reasons.append(reason)
        self.begun.set()
        try:
            await self.go.wait()
            self.go.clear()
            if self.error:
                raise self.error
            self.ended.append("done")
        except asyncio.CancelledError:
            await asyncio.sleep(0)  # returning what was rented takes time
            self.ended.append("cancelled")
            if self.last_words:
                raise self.last_words from None
            raise

    async def next(self) -> None:
        """Until a pass has begun."""
        await self.begun.wait()
        self.begun.clear()


def run(
    script: Callable[[Passes, FakeTrigger, asyncio.Event], Awaitable[None]], interval: float = LONG
) -> tuple[Ending, Passes]:
    """The loop beside a script that drives it. Nothing of it may run on when it has ended."""

    async def both() -> tuple[Ending, Passes]:
        passes, trigger, stop = Passes(), FakeTrigger(), asyncio.Event()
        loop = asyncio.create_task(watch(passes.one, trigger, interval, stop))
        try:
            async with asyncio.timeout(20):
                await script(passes, trigger, stop)
                return await loop, passes
        finally:
            assert asyncio.all_tasks() == {asyncio.current_task()}

    return asyncio.run(both())


async def settle() -> None:
    """Let everything that can run, run."""
    for _ in range(10):
        await asyncio.sleep(0)


def test_however_many_triggers_fire_one_pass_follows() -> None:
    async def script(passes: Passes, trigger: FakeTrigger, stop: asyncio.Event) -> None:
        await passes.next()
        for _ in range(5):
            trigger.fire()
            await settle()
        assert passes.reasons == ["start"]
        passes.go.set()
        await passes.next()
        passes.go.set()
        await settle()
        stop.set()

    ending, passes = run(script)
    assert (ending, passes.reasons) == (Ending.BETWEEN_PASSES, ["start", "the repo's refs moved"])
    assert passes.ended == ["done", "done"]


def test_a_trigger_between_passes_starts_one() -> None:
    async def script(passes: Passes, trigger: FakeTrigger, stop: asyncio.Event) -> None:
        for _ in range(3):
            await passes.next()
            passes.go.set()
            await settle()
            trigger.fire()
        await passes.next()
        passes.go.set()
        await settle()
        stop.set()

    ending, passes = run(script)
    assert ending is Ending.BETWEEN_PASSES
    assert passes.reasons == ["start", *["the repo's refs moved"] * 3]


def test_the_timer_starts_a_pass_when_nothing_fires() -> None:
    async def script(passes: Passes, _: FakeTrigger, stop: asyncio.Event) -> None:
        for _number in range(3):
            await passes.next()
            passes.go.set()
        await passes.next()
        stop.set()

    _, passes = run(script, interval=0.001)
    assert passes.reasons == ["start", "timer", "timer", "timer"]


def test_a_stop_in_a_pass_cancels_it_and_waits_for_its_end() -> None:
    async def script(passes: Passes, _: FakeTrigger, stop: asyncio.Event) -> None:
        await passes.next()
        stop.set()

    ending, passes = run(script)
    assert (ending, passes.ended) == (Ending.IN_A_PASS, ["cancelled"])


def test_a_stop_at_the_end_of_a_pass_starts_no_other() -> None:
    async def script(passes: Passes, trigger: FakeTrigger, stop: asyncio.Event) -> None:
        await passes.next()
        trigger.fire()
        passes.go.set()
        await settle()
        stop.set()

    _, passes = run(script)
    assert len(passes.reasons) <= 2


def test_what_a_pass_raises_ends_the_loop() -> None:
    async def script(passes: Passes, _: FakeTrigger, stop: asyncio.Event) -> None:
        del stop
        await passes.next()
        passes.error = KeyError("mine")
        passes.go.set()

    with pytest.raises(KeyError, match="mine"):
        run(script)


def test_what_a_cancelled_pass_raises_is_not_lost() -> None:
    async def script(passes: Passes, _: FakeTrigger, stop: asyncio.Event) -> None:
        await passes.next()
        passes.last_words = KeyError("a runner is still out")
        stop.set()

    with pytest.raises(KeyError, match="still out"):
        run(script)


@pytest.mark.parametrize("in_a_pass", [True, False])
def test_a_trigger_that_breaks_ends_the_loop(in_a_pass: bool) -> None:
    async def script(passes: Passes, trigger: FakeTrigger, stop: asyncio.Event) -> None:
        del stop
        await passes.next()
        if not in_a_pass:
            passes.go.set()
            await settle()
        trigger.error = OSError("no more watches")
        trigger.fire()
        await settle()
        passes.go.set()

    with pytest.raises(OSError, match="no more watches"):
        run(script)


def test_a_cancelled_loop_takes_its_pass_with_it() -> None:
    async def go() -> Passes:
        passes = Passes()
        loop = asyncio.create_task(watch(passes.one, FakeTrigger(), LONG, asyncio.Event()))
        await passes.next()
        loop.cancel()
        with pytest.raises(asyncio.CancelledError):
            await loop
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return passes

    assert asyncio.run(go()).ended == ["cancelled"]
