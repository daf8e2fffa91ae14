"""Nothing is leaked whatever a provider does, and the next sweep converges."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.leasing import SILENT, Leasing, Patience
from reconciler.apply.sweep import CLOCK_GRACE
from reconciler.model.fleet import UNNAMED
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.compute import NOT_REMOVED, Keeper, Rental, RentalState
from reconciler.record.leases import LeaseFiles
from tests.ports.leasing import leasing_of
from tests.ports.provider_suite import MOMENT, request
from tests.ports.scripted_provider import Script, ScriptedProvider, World

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.model.lease import Lease
    from reconciler.ports.compute import LeaseRequest

SHORT = Patience(rent=0.2, give_back=0.2, look=0.2, pauses=(0.0, 0.0))


class Bench:
    """A provider and the ledger; each `compute` is another process's."""

    def __init__(self, folder: Path) -> None:
        self.world, self.ledger = World(folder / "leases"), folder / "rented"

    def compute(
        self,
        script: Script | None = None,
        *,
        moment: float = MOMENT,
        patience: Patience = SHORT,
        shared: bool = True,
    ) -> Leasing:
        provider = ScriptedProvider(self.world, script, shared=shared)
        return leasing_of(provider, self.ledger, patience=patience, clock=lambda: moment)

    def noted(self) -> list[str]:
        return [intent.name for intent in asyncio.run(LeaseFiles(self.ledger).intents())]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


async def use(compute: Leasing, wanted: LeaseRequest | None = None) -> None:
    async with compute.rent(wanted or request()):
        pass


def error_of(work: Callable[[], object]) -> LianError:
    with pytest.raises(LianError) as raised:
        work()
    return raised.value


FAULTS = [
    Problem("quota-exceeded", "no more machines of this type", next=Next.PERSON),
    Problem("compute-denied", "401"),
    Problem("compute-busy", "429", next=Next.RETRY),
    Problem("compute-broken", "500", next=Next.RETRY),
]


@pytest.mark.parametrize("problem", FAULTS, ids=lambda problem: problem.code)
@pytest.mark.parametrize("late", [False, True], ids=["refused", "made all the same"])
def test_a_runner_that_cannot_be_had_leaves_nothing(bench: Bench, problem: Problem, late: bool) -> None:
    error = LianError(problem)
    script = Script(fails_late=error) if late else Script(fails=error)
    assert error_of(lambda: asyncio.run(use(bench.compute(script)))).problems == (problem,)
    assert (bench.world.left(), bench.noted()) == ([], [])


@pytest.mark.parametrize("call", ["rent", "ready"])
def test_a_start_without_end_is_given_up(bench: Bench, call: str) -> None:
    error = error_of(lambda: asyncio.run(use(bench.compute(Script(hangs={call})))))
    assert [(problem.code, problem.next) for problem in error.problems] == [(SILENT, Next.RETRY)]
    assert bench.world.left() == []
    asyncio.run(bench.compute().sweep())
    assert bench.noted() == []


def test_a_machine_that_comes_after_all_is_swept(bench: Bench) -> None:
    """Its provider went on when nobody waited any more, and made one when it had been given back."""
    script = Script(hangs={"rent"}, deaf=True)

    async def run() -> None:
        with pytest.raises(LianError):
            await use(bench.compute(script))
        while not bench.world.leases:  # noqa: ASYNC110 - it makes it in the background
            await asyncio.sleep(0.005)

    asyncio.run(run())
    assert bench.world.left()
    assert asyncio.run(bench.compute().sweep()) == ["lease-1"]
    assert (bench.world.left(), bench.noted()) == ([], [])


@pytest.mark.parametrize("refusals", [1, 2])
def test_a_refusal_is_tried_again(bench: Bench, refusals: int) -> None:
    asyncio.run(use(bench.compute(Script(refusals=refusals))))
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_what_is_refused_to_the_end_is_told_and_swept_later_by_the_same_process(bench: Bench) -> None:
    script = Script(refusals=3)
    compute = bench.compute(script)
    error = error_of(lambda: asyncio.run(use(compute)))
    assert [problem.code for problem in error.problems] == [NOT_REMOVED]
    assert bench.world.left()
    assert asyncio.run(compute.sweep()) == ["lease-1"]
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_the_error_of_the_block_is_the_one_that_is_told(bench: Bench) -> None:
    async def run() -> None:
        async with bench.compute(Script(refusals=3)).rent(request()):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as raised:
        asyncio.run(run())
    assert any("lease-1" in note for note in raised.value.__notes__)
    assert asyncio.run(bench.compute().sweep()) == ["lease-1"]


def test_a_return_without_end_is_left_to_the_sweep(bench: Bench) -> None:
    error = error_of(lambda: asyncio.run(use(bench.compute(Script(hangs={"give_back"})))))
    assert [problem.code for problem in error.problems] == [NOT_REMOVED]
    assert asyncio.run(bench.compute().sweep()) == ["lease-1"]
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_what_is_gone_already_is_returned(bench: Bench) -> None:
    async def run() -> None:
        async with bench.compute().rent(request()) as runner:
            await ScriptedProvider(bench.world).give_back(runner.lease)

    asyncio.run(run())
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_a_silent_sweep_is_told_and_stops_nothing(bench: Bench) -> None:
    abandon(bench, "dead-1")
    error = error_of(lambda: asyncio.run(bench.compute(Script(hangs={"owned_by"})).sweep("fleet")))
    assert [problem.code for problem in error.problems] == [SILENT]
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_a_listing_that_fails_is_told_and_stops_nothing(bench: Bench) -> None:
    abandon(bench, "dead-1")
    broken = Script(unlisted=LianError(FAULTS[1]))
    assert error_of(lambda: asyncio.run(bench.compute(broken).sweep("fleet"))).problems == (FAULTS[1],)
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_a_listing_that_hides_hides_nothing_that_is_noted(bench: Bench) -> None:
    abandon(bench, "dead-1")
    assert asyncio.run(bench.compute(Script(hides=True)).sweep("fleet")) == ["dead-1"]


# -- what nobody here has noted


def elsewhere(bench: Bench, name: str, fleet: str = "fleet") -> Lease:
    """Another machine rented it, MOMENT on, and is not seen from here."""
    wanted = request(name, fleet)
    asyncio.run(ScriptedProvider(bench.world).rent(wanted, wanted.at(MOMENT)))
    return wanted.at(MOMENT)


def abandon(bench: Bench, name: str) -> None:
    """A pass of this machine rented it and died."""
    lease = elsewhere(bench, name)

    async def run() -> None:
        ledger = LeaseFiles(bench.ledger)
        await ledger.intend(lease, "scripted")
        await ledger.abandon(name)

    asyncio.run(run())


@pytest.mark.parametrize(("after", "swept"), [(-1.0, False), (CLOCK_GRACE - 1, False), (CLOCK_GRACE + 1, True)])
def test_another_machines_lease_goes_back_after_its_deadline_alone(bench: Bench, after: float, swept: bool) -> None:
    lease = elsewhere(bench, "elsewhere")
    compute = bench.compute(moment=lease.deadline + after)
    assert asyncio.run(compute.sweep("fleet")) == (["elsewhere"] if swept else [])
    assert bool(bench.world.left()) is not swept


def test_what_another_fleet_owns_is_never_touched_though_it_is_listed(bench: Bench) -> None:
    lease = elsewhere(bench, "theirs", "another-fleet")
    script = Script(listed=[Rental(lease, RentalState.READY)])
    assert asyncio.run(bench.compute(script, moment=lease.deadline * 2).sweep("fleet")) == []
    assert bench.world.left()


def test_a_living_pass_keeps_its_lease_though_its_deadline_is_over(bench: Bench) -> None:
    """The clock was put forward, say."""

    async def run() -> None:
        async with bench.compute().rent(request()):
            later = bench.compute(moment=MOMENT * 2)
            assert await later.sweep("fleet") == []
            assert bench.world.left()

    asyncio.run(run())
    assert bench.world.left() == []


@pytest.mark.parametrize("shared", [True, False])
def test_a_fleet_without_a_name_sweeps_only_where_nobody_else_rents(bench: Bench, shared: bool) -> None:
    lease = elsewhere(bench, "elsewhere", UNNAMED)
    compute = bench.compute(moment=lease.deadline + 2 * CLOCK_GRACE, shared=shared)
    assert asyncio.run(compute.sweep(UNNAMED)) == ([] if shared else ["elsewhere"])


def test_without_a_fleet_only_what_is_noted_is_swept(bench: Bench) -> None:
    elsewhere(bench, "elsewhere")
    abandon(bench, "dead-1")
    assert asyncio.run(bench.compute(moment=MOMENT * 2).sweep()) == ["dead-1"]
    assert bench.world.left() == ["folder elsewhere", "machine elsewhere"]


# -- what is noted and cannot be used


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, '{"provider": 7}', '{"lease": "x"}'])
def test_a_damaged_note_is_looked_for_everywhere(bench: Bench, content: str) -> None:
    abandon(bench, "dead-1")
    (bench.ledger / "dead-1.json").write_text(content)
    assert asyncio.run(bench.compute().sweep()) == ["dead-1"]
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_a_provider_that_is_not_there_any_more_is_told_at_each_sweep(bench: Bench) -> None:
    abandon(bench, "dead-1")
    other = leasing_of(ScriptedProvider(World(bench.world.folder.parent / "other")), bench.ledger, name="another")
    for _ in range(2):
        assert [p.code for p in error_of(lambda: asyncio.run(other.sweep())).problems] == ["compute-unsupported"]
    assert asyncio.run(bench.compute().sweep()) == ["dead-1"]


def test_what_cannot_be_noted_is_not_rented(bench: Bench) -> None:
    bench.ledger.write_text("a file")
    provider = ScriptedProvider(bench.world)
    error = error_of(lambda: asyncio.run(use(leasing_of(provider, bench.ledger))))
    assert [problem.code for problem in error.problems] == ["leases-unusable"]
    assert provider.asked == []


def test_a_provider_that_is_not_there_rents_nothing(bench: Bench) -> None:
    compute = replace(bench.compute(), chosen=lambda: "hetzner")
    assert [p.code for p in error_of(lambda: asyncio.run(use(compute))).problems] == ["compute-unsupported"]
    assert bench.noted() == []


# -- what is out


def test_what_is_out_is_told_with_who_has_it(bench: Bench) -> None:
    abandon(bench, "dead-1")
    elsewhere(bench, "elsewhere")
    elsewhere(bench, "theirs", "another-fleet")

    async def run() -> None:
        compute = bench.compute()
        async with compute.rent(request("living")):
            told = {one.name: (one.provider, one.keeper, one.state) for one in await compute.outstanding("fleet")}
        ready = RentalState.READY
        assert told == {
            "dead-1": ("scripted", Keeper.GONE, ready),
            "elsewhere": ("scripted", Keeper.ELSEWHERE, ready),
            "living": ("scripted", Keeper.ALIVE, ready),
        }

    asyncio.run(run())


def test_what_is_noted_and_not_there_is_told_too(bench: Bench) -> None:
    abandon(bench, "dead-1")
    asyncio.run(ScriptedProvider(bench.world).give_back("dead-1"))
    (one,) = asyncio.run(bench.compute().outstanding("fleet"))
    assert (one.name, one.state, one.keeper) == ("dead-1", None, Keeper.GONE)
    assert one.lease is not None
    assert one.lease.purpose == "shop/api"
