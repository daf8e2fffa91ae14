"""What every provider of compute must do: a test module subclasses `ProviderSuite`, with its stand.

It is for whoever writes one: a provider that passes it leaks nothing under `Leasing`, which ComputeSuite is for.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

import pytest

from reconciler.model.problem import LianError
from reconciler.model.tier import Tier
from reconciler.ports.compute import NOT_REMOVED, LeaseRequest, Provider, RentalState, Runner, Usage
from tests.ports.compute_suite import MOMENTS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.lease import Lease

MOMENT = 1_800_000_000.0
"""When the leases of these tests begin."""


class ProviderStand(Protocol):
    """A provider under test, and the world around it as this test has arranged it."""

    provider: Provider

    def other(self) -> Provider:
        """The same provider as another process has it: nothing in memory."""

    def failing(self) -> Provider:
        """The same, but its runners never become ready."""

    def spoil(self, lease: str) -> None:
        """Leave something behind under this name that cannot be given back."""

    def left(self) -> Sequence[str]:
        """All that exists of any lease, whoever it belongs to."""


def request(name: str = "lease-1", fleet: str = "fleet") -> LeaseRequest:
    """Of this test's own pass."""
    return LeaseRequest(fleet, "pass-1", name, Tier(2, 1.0, 30), deadline=600.0, purpose="shop/api")


async def rent(provider: Provider, wanted: LeaseRequest) -> Runner:
    """A runner, from MOMENT on."""
    return await provider.rent(wanted, wanted.at(MOMENT))


def whole(lease: Lease) -> Lease:
    """As every provider can keep it: times in whole seconds."""
    return replace(lease, created=float(int(lease.created)), deadline=float(int(lease.deadline)))


class ProviderSuite:
    """The contract, one sentence of it in each test."""

    @pytest.fixture
    def stand(self) -> ProviderStand:
        """The provider under test."""
        raise NotImplementedError

    def test_a_runner_is_ready_and_says_whose_it_is(self, stand: ProviderStand) -> None:
        async def run() -> None:
            try:
                runner = await rent(stand.provider, request())
                assert (runner.lease, bool(runner.address), bool(runner.builder)) == ("lease-1", True, True)
                assert runner.scratch.is_dir()
                for one in (stand.provider, stand.other()):
                    rental = await one.describe("lease-1")
                    assert rental is not None
                    assert (whole(rental.lease), rental.state) == (request().at(MOMENT), RentalState.READY)
            finally:
                await stand.provider.give_back("lease-1")
            assert await stand.provider.describe("lease-1") is None

        asyncio.run(run())
        assert stand.left() == []

    def test_a_lease_rented_twice_is_one_runner(self, stand: ProviderStand) -> None:
        async def run() -> None:
            try:
                one, two = await asyncio.gather(*(rent(stand.provider, request()) for _ in range(2)))
                again = await rent(stand.provider, request())
                assert one == two == again
                assert [rental.lease.name for rental in (await stand.provider.owned_by("fleet")).rentals] == ["lease-1"]
            finally:
                await stand.provider.give_back("lease-1")

        asyncio.run(run())
        assert stand.left() == []

    def test_what_is_not_there_is_described_as_nothing_and_given_back_already(self, stand: ProviderStand) -> None:
        async def run() -> None:
            assert await stand.provider.describe("never") is None
            await stand.provider.give_back("never")
            await rent(stand.provider, request())
            for _ in range(2):
                await stand.provider.give_back("lease-1")

        asyncio.run(run())
        assert stand.left() == []

    def test_only_what_a_fleet_owns_is_listed_for_it(self, stand: ProviderStand) -> None:
        async def run() -> None:
            mine, other = request("mine"), request("other", "another-fleet")
            try:
                await rent(stand.provider, mine)
                await rent(stand.provider, other)
                for provider in (stand.provider, stand.other()):
                    assert [whole(r.lease) for r in (await provider.owned_by("fleet")).rentals] == [mine.at(MOMENT)]
                    assert (await provider.owned_by("nobody")).rentals == ()
            finally:
                for lease in (mine, other):
                    await stand.provider.give_back(lease.lease)

        asyncio.run(run())
        assert stand.left() == []

    def test_another_process_gives_back_what_this_one_rented(self, stand: ProviderStand) -> None:
        async def run() -> None:
            await rent(stand.provider, request())
            await stand.other().give_back("lease-1")
            assert stand.left() == []
            await stand.provider.give_back("lease-1")

        asyncio.run(run())
        assert stand.left() == []

    def test_two_at_once_do_not_disturb_each_other(self, stand: ProviderStand) -> None:
        async def run() -> None:
            try:
                one, two = await asyncio.gather(*(rent(stand.provider, request(name)) for name in ("one", "two")))
                assert (one.address, one.scratch) != (two.address, two.scratch)
                await stand.provider.give_back("two")
                assert one.scratch.is_dir()
                rental = await stand.provider.describe("one")
                assert rental is not None
                assert rental.state is RentalState.READY
            finally:
                for name in ("one", "two"):
                    await stand.provider.give_back(name)

        asyncio.run(run())
        assert stand.left() == []

    def test_what_a_failed_start_leaves_goes_back(self, stand: ProviderStand) -> None:
        async def run() -> None:
            provider = stand.failing()
            with pytest.raises(LianError):
                await rent(provider, request())
            await provider.give_back("lease-1")

        asyncio.run(run())
        assert stand.left() == []

    def test_what_a_start_that_was_cancelled_leaves_goes_back(self, stand: ProviderStand) -> None:
        async def attempt(moment: float) -> bool:
            task = asyncio.create_task(rent(stand.provider, request()))
            await asyncio.sleep(moment)
            task.cancel()
            await asyncio.wait({task})
            await stand.provider.give_back("lease-1")
            return stand.left() == []

        assert all(asyncio.run(attempt(moment)) for moment in MOMENTS)

    def test_what_cannot_be_given_back_is_named_and_stops_nothing_else(self, stand: ProviderStand) -> None:
        async def run() -> None:
            await rent(stand.provider, request("good"))
            stand.spoil("bad")
            with pytest.raises(LianError) as raised:
                await stand.provider.give_back("bad")
            assert [problem.code for problem in raised.value.problems] == [NOT_REMOVED]
            assert "bad" in raised.value.problems[0].message
            await stand.provider.give_back("good")

        asyncio.run(run())
        assert not any("good" in line for line in stand.left())

    def test_what_a_runner_has_used_only_grows_and_of_one_that_is_gone_nothing_is_known(
        self, stand: ProviderStand
    ) -> None:
        async def run() -> tuple[Usage, Usage, Usage]:
            runner = await rent(stand.provider, request())
            first, then = await stand.provider.usage(runner), await stand.provider.usage(runner)
            await stand.provider.give_back("lease-1")
            return first, then, await stand.provider.usage(runner)

        first, then, gone = asyncio.run(run())
        assert (first.peak_memory or 0) <= (then.peak_memory or 0)
        assert (first.cpu_seconds or 0) <= (then.cpu_seconds or 0)
        assert gone == Usage()
