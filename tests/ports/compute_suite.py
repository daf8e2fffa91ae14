"""What compute must do over every provider: a test module subclasses `ComputeSuite`, with its stand."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

import pytest

from reconciler.model.problem import LianError
from reconciler.model.tier import Tier
from reconciler.ports.compute import Compute, LeaseRequest, Runner, Usage
from tests.ports.leasing import without_trouble

if TYPE_CHECKING:
    from collections.abc import Sequence


class Stand(Protocol):
    """A provider under test, and the world around it as this test has arranged it."""

    compute: Compute

    def abandon(self, lease: str) -> None:
        """Have another pass rent this lease and die without returning it."""

    def spoil(self, lease: str) -> None:
        """Leave something behind under this name that no sweep can remove."""

    def failing(self) -> Compute:
        """A provider of the same world whose runners never become ready."""

    def left(self) -> Sequence[str]:
        """All that exists of any lease, whoever it belongs to."""


def lease(name: str = "lease-1") -> LeaseRequest:
    """A request of this test's own pass."""
    return LeaseRequest("fleet", "pass", name, Tier(2, 1.0, 30), deadline=60.0)


MOMENTS = (0.0, 0.001, 0.003, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4)
"""Seconds after which a start is cancelled: spread over the first second, in which `local` has a runner ready."""


class ComputeSuite:
    """The contract, one sentence of it in each test."""

    moments: Sequence[float] = MOMENTS

    @pytest.fixture
    def stand(self) -> Stand:
        """The provider under test."""
        raise NotImplementedError

    def test_a_runner_is_ready_when_it_is_handed_over(self, stand: Stand) -> None:
        async def run() -> Runner:
            async with stand.compute.rent(lease()) as runner:
                assert runner.scratch.is_dir()
                assert stand.left()
                return runner

        runner = asyncio.run(run())
        assert (runner.lease, bool(runner.address), bool(runner.builder)) == ("lease-1", True, True)

    def test_nothing_is_left_when_the_block_ends(self, stand: Stand) -> None:
        async def run() -> Runner:
            async with stand.compute.rent(lease()) as runner:
                (runner.scratch / "file").write_text("of this lease")
            return runner

        runner = asyncio.run(run())
        assert not runner.scratch.exists()
        assert stand.left() == []

    def test_nothing_is_left_when_the_block_raises(self, stand: Stand) -> None:
        async def run() -> None:
            async with stand.compute.rent(lease()):
                raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            asyncio.run(run())
        assert stand.left() == []

    def test_nothing_is_left_when_the_pass_is_cancelled_again_and_again(self, stand: Stand) -> None:
        async def run() -> None:
            held = asyncio.Event()

            async def pass_() -> None:
                async with stand.compute.rent(lease()):
                    held.set()
                    await asyncio.Event().wait()

            task = asyncio.create_task(pass_())
            await held.wait()
            while not task.done():
                task.cancel()
                await asyncio.sleep(0)
            assert task.cancelled()

        asyncio.run(run())
        assert stand.left() == []

    def test_nothing_is_left_when_cancelled_at_any_moment_of_the_set_up(self, stand: Stand) -> None:
        async def attempt(moment: float) -> bool:
            task = asyncio.create_task(_hold(stand.compute))
            await asyncio.sleep(moment)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            left = stand.left()
            await stand.compute.sweep()  # what was cut off is noted until then
            return left == []

        assert all(asyncio.run(attempt(moment)) for moment in self.moments)

    def test_nothing_is_left_when_the_set_up_fails(self, stand: Stand) -> None:
        with pytest.raises(LianError):
            asyncio.run(_use(stand.failing(), lease()))
        assert stand.left() == []

    def test_a_lease_that_is_held_cannot_be_rented_again(self, stand: Stand) -> None:
        async def run() -> None:
            async with stand.compute.rent(lease()) as runner:
                with pytest.raises(LianError) as raised:
                    await _use(stand.compute, lease())
                assert raised.value.problems[0].code == "lease-taken"
                assert runner.scratch.is_dir()

        asyncio.run(run())
        asyncio.run(_use(stand.compute, lease()))

    def test_two_runners_at_once_do_not_disturb_each_other(self, stand: Stand) -> None:
        async def run() -> None:
            async with stand.compute.rent(lease("one")) as one:
                async with stand.compute.rent(lease("two")) as two:
                    assert (one.address, one.scratch) != (two.address, two.scratch)
                assert one.scratch.is_dir()
                assert not two.scratch.exists()

        asyncio.run(run())

    def test_the_sweep_removes_what_a_dead_pass_left(self, stand: Stand) -> None:
        stand.abandon("dead-1")
        assert stand.left()
        assert without_trouble(asyncio.run(stand.compute.sweep())) == ["dead-1"]
        assert stand.left() == []
        assert without_trouble(asyncio.run(stand.compute.sweep())) == []

    def test_the_sweep_leaves_living_passes_alone(self, stand: Stand) -> None:
        stand.abandon("dead-1")

        async def run() -> None:
            async with stand.compute.rent(lease("living")) as runner:
                assert without_trouble(await stand.compute.sweep()) == ["dead-1"]
                assert runner.scratch.is_dir()

        asyncio.run(run())

    def test_two_sweeps_at_once_remove_each_lease_once(self, stand: Stand) -> None:
        for number in range(3):
            stand.abandon(f"dead-{number}")

        async def run() -> list[str]:
            swept = await asyncio.gather(stand.compute.sweep(), stand.compute.sweep(), stand.compute.sweep())
            return sorted(name for one in swept for name in one.leases)

        assert asyncio.run(run()) == ["dead-0", "dead-1", "dead-2"]
        assert stand.left() == []

    def test_what_cannot_be_removed_is_named_and_stops_nothing_else(self, stand: Stand) -> None:
        stand.abandon("dead-1")
        stand.spoil("dead-2")
        stand.abandon("dead-3")
        swept = asyncio.run(stand.compute.sweep())
        assert [problem.code for problem in swept.problems] == ["lease-not-removed"]
        assert "dead-2" in swept.problems[0].message
        assert swept.leases == ("dead-1", "dead-3")
        assert not any("dead-1" in line or "dead-3" in line for line in stand.left())

    def test_what_a_runner_has_used_only_grows(self, stand: Stand) -> None:
        async def run() -> tuple[Usage, Usage]:
            async with stand.compute.rent(lease()) as runner:
                return await stand.compute.usage(runner), await stand.compute.usage(runner)

        first, then = asyncio.run(run())
        assert (first.peak_memory or 0) <= (then.peak_memory or 0)
        assert (first.cpu_seconds or 0) <= (then.cpu_seconds or 0)

    def test_of_a_runner_that_is_gone_nothing_is_known(self, stand: Stand) -> None:
        async def run() -> Usage:
            async with stand.compute.rent(lease()) as runner:
                pass
            return await stand.compute.usage(runner)

        assert asyncio.run(run()) == Usage(None, None)


async def _use(compute: Compute, request: LeaseRequest) -> None:
    async with compute.rent(request):
        pass


async def _hold(compute: Compute) -> None:
    async with compute.rent(lease()):
        await asyncio.Event().wait()
