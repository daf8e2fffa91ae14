"""What goes on beside a block has ended when the block is left, however that is."""

from __future__ import annotations

import asyncio

import pytest

from reconciler.finishing import beside


class Work:
    """Goes on until it is let, and knows how it ended."""

    def __init__(self, error: Exception | None = None) -> None:
        self.go, self.error = asyncio.Event(), error
        self.end = "not begun"

    async def run(self) -> None:
        self.end = "going on"
        try:
            await self.go.wait()
            if self.error:
                raise self.error
            self.end = "done"
        except asyncio.CancelledError:
            self.end = "cancelled"
            raise


def test_it_is_awaited_at_the_end_of_the_block() -> None:
    async def run() -> str:
        work = Work()
        async with beside(work.run()):
            await asyncio.sleep(0)
            assert work.end == "going on"
            work.go.set()
        return work.end

    assert asyncio.run(run()) == "done"


def test_what_it_raises_is_raised_when_the_block_has_ended() -> None:
    async def run() -> None:
        work, ended = Work(ValueError("of the work")), False
        work.go.set()
        with pytest.raises(ValueError, match="of the work"):
            async with beside(work.run()):
                await asyncio.sleep(0)
                ended = True
        assert ended

    asyncio.run(run())


@pytest.mark.parametrize("error", [None, ValueError("of the work")])
def test_a_block_that_raises_ends_it(error: Exception | None) -> None:
    async def run() -> str:
        work = Work(error)
        with pytest.raises(KeyError):
            async with beside(work.run()):
                await asyncio.sleep(0)
                raise KeyError
        return work.end

    assert asyncio.run(run()) == "cancelled"


def test_a_cancellation_ends_both() -> None:
    async def run() -> str:
        work = Work()

        async def block() -> None:
            async with beside(work.run()):
                pass

        task = asyncio.create_task(block())
        while work.end != "going on":  # noqa: ASYNC110 - one turn of the loop each
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return work.end

    assert asyncio.run(run()) == "cancelled"
