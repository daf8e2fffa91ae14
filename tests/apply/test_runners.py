"""Which runner a build gets: one that is idle, another, one that is shared, or none."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.apply.pool import Room
from reconciler.apply.runners import LEASE_BUILDS, START_SECONDS, Runners
from reconciler.model.fleet import ComputeProvider, ComputeSettings
from reconciler.model.host import Host
from reconciler.model.name import ArtifactName
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.tier import Tier
from reconciler.ports.compute import NO_MORE
from tests.commits import chain
from tests.fakes import FakeCompute, Points

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from reconciler.apply.pool import Stay
    from reconciler.ports.compute import LeaseRequest, Runner

SMALL = Tier(2, 4, 30, "small")
QUOTA = Problem(NO_MORE, "no more machines of this type", next=Next.HOLD)
BUSY = Problem("compute-busy", "429", next=Next.RETRY)


class Scarce(FakeCompute):
    """No more than `most` runners at a time, those included that are on their way back."""

    def __init__(self, folder: Path, most: int, problem: Problem = QUOTA) -> None:
        super().__init__(folder, Points())
        self.most, self.problem = most, problem

    @asynccontextmanager
    async def rent(self, request: LeaseRequest) -> AsyncIterator[Runner]:
        if len(self.out) >= self.most:
            raise LianError(self.problem)
        async with super().rent(request) as runner:
            yield runner


def test_how_many_runners_a_share_may_have() -> None:
    fleet = chain("shop/api").desired.fleet
    hosts = tuple(Host(f"builder-{number}") for number in range(3))
    assert Room.of(fleet, 8) == Room(1)
    rented, over_ssh = ComputeSettings(ComputeProvider.HCLOUD), ComputeSettings(ComputeProvider.SSH, hosts=hosts)
    assert Room.of(replace(fleet, compute=rented), 8) == Room(8, apart=True)
    assert Room.of(replace(fleet, compute=over_ssh), 8) == Room(3)
    assert Room.of(replace(fleet, compute=over_ssh), 2) == Room(2)


def runners(compute: FakeCompute, room: Room, builds: int) -> Runners:
    shares = {ArtifactName("shop", f"n{number}"): "shop" for number in range(builds)}
    return Runners.of(compute, "acme", "p1", 4, {}, shares, room)


def in_a_pass(compute: FakeCompute, room: Room, builds: int, work: Callable[[Runners], Awaitable[None]]) -> None:
    async def pass_() -> None:
        async with runners(compute, room, builds) as its:
            await work(its)

    asyncio.run(pass_())
    assert compute.out == {}


async def turns(times: int = 20) -> None:
    """Let everything else go on as far as it can."""
    for _ in range(times):
        await asyncio.sleep(0)


def test_builds_that_may_share_a_machine_are_on_one(tmp_path: Path) -> None:
    compute = FakeCompute(tmp_path, Points())

    async def work(its: Runners) -> None:
        stays = await asyncio.gather(*(its.enter("shop", SMALL, 60.0) for _ in range(3)))
        assert {stay.runner.lease for stay in stays} == {compute.rented[0].lease}
        assert not any(stay.alone for stay in stays)

    in_a_pass(compute, Room(), 3, work)
    assert [request.parallelism for request in compute.rented] == [4]


def test_machines_of_one_builds_size_have_one_build_each_and_are_used_again(tmp_path: Path) -> None:
    compute = FakeCompute(tmp_path, Points())

    async def work(its: Runners) -> None:
        first, *others = await asyncio.gather(*(its.enter("shop", SMALL, 60.0) for _ in range(3)))
        assert len({stay.runner.lease for stay in (first, *others)}) == 3
        assert all(stay.alone for stay in (first, *others))
        its.leave(first)
        its.done("shop")
        again = await its.enter("shop", SMALL, 60.0)
        assert (again.runner, again.alone) == (first.runner, True)

    in_a_pass(compute, Room(3, apart=True), 5, work)
    assert [request.parallelism for request in compute.rented] == [1, 1, 1]


def test_a_machine_that_no_build_needs_any_more_goes_back_while_others_work(tmp_path: Path) -> None:
    compute = FakeCompute(tmp_path, Points())

    async def work(its: Runners) -> None:
        stays = [await its.enter("shop", SMALL, 60.0) for _ in range(3)]
        for left, stay in zip((3, 2, 1), stays, strict=True):
            await turns()
            assert len(compute.out) == left
            its.leave(stay)
            its.done("shop")
        await turns()
        assert compute.out == {}

    in_a_pass(compute, Room(3, apart=True), 3, work)


def test_hosts_that_are_there_anyway_are_spread_over_and_then_shared(tmp_path: Path) -> None:
    compute = FakeCompute(tmp_path, Points())

    async def work(its: Runners) -> None:
        stays = await asyncio.gather(*(its.enter("shop", SMALL, 60.0) for _ in range(4)))
        assert sorted(Counter(stay.runner.lease for stay in stays).values()) == [2, 2]

    in_a_pass(compute, Room(2), 4, work)


def test_where_a_quota_is_reached_the_builds_take_turns_on_what_there_is(tmp_path: Path) -> None:
    compute = Scarce(tmp_path, 2)
    on: Counter[str] = Counter()

    async def work(its: Runners) -> None:
        async def build() -> None:
            stay = await its.enter("shop", SMALL, 60.0)
            on[stay.runner.lease] += 1
            assert stay.alone
            await turns(5)
            its.leave(stay)
            its.done("shop")

        await asyncio.gather(*(build() for _ in range(6)))

    in_a_pass(compute, Room(6, apart=True), 6, work)
    assert (len(on), on.total()) == (2, 6)


def test_where_a_quota_is_reached_other_shares_give_up_what_they_do_not_use(tmp_path: Path) -> None:
    compute = Scarce(tmp_path, 1)
    shares = {
        ArtifactName("shop", "api"): "shop",
        ArtifactName("shop", "web"): "shop",
        ArtifactName("pay", "api"): "pay",
    }

    async def work() -> None:
        async with Runners.of(compute, "acme", "p1", 4, {}, shares, Room(4, apart=True)) as its:
            stay = await its.enter("shop", SMALL, 60.0)
            other = asyncio.create_task(its.enter("pay", SMALL, 60.0))
            await turns()
            assert not other.done()
            its.leave(stay)
            assert (await other).runner.lease in compute.out
            again = asyncio.create_task(its.enter("shop", SMALL, 60.0))
            await turns()
            its.lose(await other)
            assert (await again).runner.lease in compute.out

    asyncio.run(work())
    assert compute.out == {}


def test_a_refusal_that_comes_when_one_has_gone_back_already_is_no_reason_to_give_up(tmp_path: Path) -> None:
    """It was on its way for as long as that took."""
    arrived, held = asyncio.Event(), asyncio.Event()

    class Slow(Scarce):
        @asynccontextmanager
        async def rent(self, request: LeaseRequest) -> AsyncIterator[Runner]:
            try:
                async with super().rent(request) as runner:
                    yield runner
            except LianError:
                arrived.set()
                await held.wait()
                raise

    compute = Slow(tmp_path, 1)
    shares = {ArtifactName(one, "api"): one for one in ("shop", "pay")}

    async def work() -> None:
        async with Runners.of(compute, "acme", "p1", 4, {}, shares, Room(4, apart=True)) as its:
            stay = await its.enter("shop", SMALL, 60.0)
            other = asyncio.create_task(its.enter("pay", SMALL, 60.0))
            await arrived.wait()
            its.leave(stay)
            its.done("shop")
            await turns()
            assert compute.out == {}
            held.set()
            assert (await other).runner.lease in compute.out

    asyncio.run(work())


def test_what_was_lost_counts_against_a_quota_only_until_it_has_gone_back(tmp_path: Path) -> None:
    gone = asyncio.Event()

    class Lingering(Scarce):
        @asynccontextmanager
        async def rent(self, request: LeaseRequest) -> AsyncIterator[Runner]:
            async with super().rent(request) as runner:
                yield runner
                await gone.wait()

    compute = Lingering(tmp_path, 2)

    async def work(its: Runners) -> None:
        first, _ = [await its.enter("shop", SMALL, 60.0) for _ in range(2)]
        its.lose(first)
        third = asyncio.create_task(its.enter("shop", SMALL, 60.0))
        await turns()
        assert not third.done(), "as many are out as may be"
        gone.set()
        async with asyncio.timeout(10):
            assert (await third).runner.lease in compute.out

    in_a_pass(compute, Room(2, apart=True), 9, work)


def test_a_build_that_goes_on_apart_is_alone_there_and_keeps_nothing_idle_here(tmp_path: Path) -> None:
    compute = FakeCompute(tmp_path, Points())

    async def work(its: Runners) -> None:
        stay = await its.enter("shop", SMALL, 60.0)
        its.leave(stay)
        own = its.apart("shop", "n0 medium")
        larger = await its.enter(own, Tier(4, 8, 30, "medium"), 60.0)
        await turns()
        assert list(compute.out) == [larger.runner.lease]
        assert compute.rented[-1].parallelism == 1
        its.leave(larger)
        its.done(own)
        its.done("shop")
        await turns()
        assert compute.out == {}
        assert its.pools["shop"].expected == 0

    in_a_pass(compute, Room(3, apart=True), 1, work)


def test_where_none_can_be_had_everyone_is_told_why_at_once(tmp_path: Path) -> None:
    compute = Scarce(tmp_path, 0)

    async def work(its: Runners) -> None:
        ends = await asyncio.gather(*(its.enter("shop", SMALL, 60.0) for _ in range(3)), return_exceptions=True)
        assert [end.problems for end in ends if isinstance(end, LianError)] == [(QUOTA,)] * 3
        asked = its.pools["shop"].asked
        with pytest.raises(LianError) as raised:
            await its.enter("shop", SMALL, 60.0)
        assert raised.value not in ends
        assert its.pools["shop"].asked == asked, "what has just been refused is not asked for again"
        compute.most = 1
        its.renew("shop")
        assert (await its.enter("shop", SMALL, 60.0)).runner.lease in compute.out

    in_a_pass(compute, Room(3, apart=True), 4, work)


def test_what_fails_for_a_moment_is_told_whose_runner_it_was_and_bounds_nobody(tmp_path: Path) -> None:
    compute = Scarce(tmp_path, 1, BUSY)

    async def work(its: Runners) -> None:
        await its.enter("shop", SMALL, 60.0)
        with pytest.raises(LianError):
            await its.enter("shop", SMALL, 60.0)
        compute.most = 2
        assert (await its.enter("shop", SMALL, 60.0)).alone

    in_a_pass(compute, Room(3, apart=True), 3, work)


def test_a_runner_whose_lease_would_end_in_the_middle_of_a_build_takes_none(tmp_path: Path) -> None:
    compute = FakeCompute(tmp_path, Points())

    async def work(its: Runners) -> None:
        first = await its.enter("shop", SMALL, 60.0)
        second = await its.enter("shop", SMALL, START_SECONDS + 61.0)
        assert first.runner.lease != second.runner.lease
        await turns()
        assert first.runner.lease in compute.out, "a build is on it"
        its.leave(first)
        await turns()
        assert list(compute.out) == [second.runner.lease]

    in_a_pass(compute, Room(), 1, work)


@pytest.mark.parametrize(("builds", "room", "length"), [(1, Room(), 1), (3, Room(), 3), (200, Room(), LEASE_BUILDS)])
def test_a_lease_is_as_long_as_the_builds_that_may_come_and_bounded(
    tmp_path: Path, builds: int, room: Room, length: int
) -> None:
    compute = FakeCompute(tmp_path, Points())

    async def work(its: Runners) -> None:
        await its.enter("shop", SMALL, 60.0)

    in_a_pass(compute, room, builds, work)
    assert compute.rented[0].deadline == START_SECONDS + 60.0 * length


def test_a_runner_that_was_given_up_goes_back_with_the_last_build_that_is_on_it(tmp_path: Path) -> None:
    compute = FakeCompute(tmp_path, Points())

    async def work(its: Runners) -> None:
        unlucky, other = [await its.enter("shop", SMALL, 60.0) for _ in range(2)]
        its.lose(unlucky)
        await turns()
        assert list(compute.out) == [other.runner.lease]
        its.leave(other)
        await turns()
        assert compute.out == {}

    in_a_pass(compute, Room(), 3, work)


@dataclass
class Watch:
    """What is never to be, looked at each time that a build begins."""

    room: Room
    on: dict[str, list[Stay]] = field(default_factory=dict)

    def begins(self, stay: Stay, compute: FakeCompute) -> None:
        assert stay.runner.lease in compute.out
        there = self.on.setdefault(stay.runner.lease, [])
        there.append(stay)
        assert len(there) == 1 or not self.room.apart

    def ends(self, stay: Stay) -> None:
        self.on[stay.runner.lease].remove(stay)


_ENDS = st.sampled_from(["well", "lost", "cancelled"])


@settings(max_examples=100)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 6), _ENDS), min_size=1, max_size=20),
    st.builds(Room, st.integers(1, 5), apart=st.booleans()),
    st.integers(1, 6),
)
def test_whatever_builds_do_each_gets_a_runner_and_all_go_back(
    tmp_path_factory: pytest.TempPathFactory, builds: list[tuple[int, int, str]], room: Room, most: int
) -> None:
    compute = Scarce(tmp_path_factory.mktemp("compute"), most)
    watch = Watch(room)
    began = set()

    async def work(its: Runners) -> None:
        async def build(number: int, wait: int, take: int, end: str) -> None:
            await turns(wait)
            try:
                stay = await its.enter("shop", SMALL, 60.0)
                began.add(number)
                watch.begins(stay, compute)
                await turns(take)
                watch.ends(stay)
                (its.lose if end == "lost" else its.leave)(stay)
            finally:
                its.done("shop")

        tasks = [asyncio.create_task(build(number, *one)) for number, one in enumerate(builds)]
        await turns(3)
        for task, (_, _, end) in zip(tasks, builds, strict=True):
            if end == "cancelled":
                task.cancel()
        ended = await asyncio.gather(*tasks, return_exceptions=True)
        for one, (_, _, how) in zip(ended, builds, strict=True):
            assert one is None or (isinstance(one, asyncio.CancelledError) and how == "cancelled"), one

    in_a_pass(compute, room, len(builds), work)
