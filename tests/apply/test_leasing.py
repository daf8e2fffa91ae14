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
from reconciler.ports.compute import NOT_REMOVED, TAKEN, Keeper, NothingRented, Rental, RentalState
from reconciler.record.leases import LeaseFiles
from tests.ports.leasing import leasing_of, without_trouble
from tests.ports.provider_suite import MOMENT, request
from tests.ports.scripted_provider import Script, ScriptedProvider, World

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from reconciler.model.lease import Lease
    from reconciler.ports.compute import LeaseRequest
    from reconciler.ports.leases import Intent

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


def returned(compute: Leasing, fleet: str | None = None) -> list[str]:
    """What a sweep returns without any trouble."""
    return without_trouble(asyncio.run(compute.sweep(fleet)))


def troubles(compute: Leasing, fleet: str | None = None) -> tuple[Problem, ...]:
    """What a sweep could not do."""
    return asyncio.run(compute.sweep(fleet)).problems


def error_of(work: Callable[[], object]) -> LianError:
    with pytest.raises(LianError) as raised:
        work()
    return raised.value


FAULTS = [
    Problem("quota-exceeded", "no more machines of this type", next=Next.HOLD),
    Problem("compute-denied", "401", next=Next.HOLD),
    Problem("compute-busy", "429", next=Next.RETRY),
    Problem("compute-broken", "500", next=Next.RETRY),
]


@pytest.mark.parametrize("problem", FAULTS, ids=lambda problem: problem.code)
@pytest.mark.parametrize("late", [False, True], ids=["refused", "made all the same"])
def test_a_runner_that_cannot_be_had_leaves_nothing(bench: Bench, problem: Problem, late: bool) -> None:
    error = LianError(problem)
    script = Script(fails_late=error) if late else Script(fails=error)
    assert error_of(lambda: asyncio.run(use(bench.compute(script)))).problems == (problem,)
    assert bench.world.left() == []
    assert bool(bench.noted()) is (problem.next is Next.RETRY), "it may be there later"


@pytest.mark.parametrize("call", ["rent", "ready"])
def test_a_start_without_end_is_given_up(bench: Bench, call: str) -> None:
    error = error_of(lambda: asyncio.run(use(bench.compute(Script(hangs={call})))))
    assert [(problem.code, problem.next) for problem in error.problems] == [(SILENT, Next.RETRY)]
    assert bench.world.left() == []
    returned(bench.compute())
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
    assert returned(bench.compute()) == ["lease-1"]
    assert (bench.world.left(), bench.noted()) == ([], [])


@pytest.mark.parametrize("cut_off", [LianError(FAULTS[3]), None], ids=["500", "cancelled"])
def test_what_may_come_later_stays_noted(bench: Bench, cut_off: LianError | None) -> None:
    """The provider answered with an error, or lian went away: the machine may be made a moment later all the same."""

    async def run() -> None:
        script = Script(fails=cut_off) if cut_off else Script(hangs={"rent"})
        task = asyncio.create_task(use(bench.compute(script, patience=Patience(rent=5.0, pauses=()))))
        await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.wait({task})

    asyncio.run(run())
    assert bench.noted() == ["lease-1"]
    elsewhere(bench, "lease-1")
    assert returned(bench.compute()) == ["lease-1"]
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_a_machine_made_while_it_is_given_back_stays_noted(bench: Bench) -> None:
    class Slow(ScriptedProvider):
        async def give_back(self, lease: str) -> None:
            await super().give_back(lease)
            await asyncio.sleep(0.1)  # and meanwhile the rent that nobody waits for any more makes one

    provider = Slow(bench.world, Script(hangs={"rent"}, deaf=True))
    with pytest.raises(LianError):
        asyncio.run(use(leasing_of(provider, bench.ledger, patience=SHORT)))
    assert bench.world.left()
    assert returned(bench.compute()) == ["lease-1"]
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_what_another_one_has_under_this_name_is_left_alone(bench: Bench) -> None:
    elsewhere(bench, "lease-1", "another-fleet")
    taken = Script(fails=LianError(Problem(TAKEN, "someone else has it")))
    assert [p.code for p in error_of(lambda: asyncio.run(use(bench.compute(taken)))).problems] == [TAKEN]
    assert bench.world.left()
    assert bench.noted() == []


def test_what_no_provider_was_asked_for_leaves_no_note(bench: Bench) -> None:
    """A host that is down: nothing can come of it later, and nobody has to reach it to return something."""
    unasked = Script(fails=NothingRented(Problem("host-unreachable", "the host is down", next=Next.RETRY)))
    compute = bench.compute(unasked)
    assert [p.code for p in error_of(lambda: asyncio.run(use(compute))).problems] == ["host-unreachable"]
    assert bench.noted() == []
    provider = compute.provider("scripted")
    assert isinstance(provider, ScriptedProvider)
    assert provider.asked == ["rent"]


def test_a_block_that_is_refused_another_lease_returns_its_own(bench: Bench) -> None:
    async def run() -> None:
        async with bench.compute().rent(request()):
            await use(bench.compute())

    assert [problem.code for problem in error_of(lambda: asyncio.run(run())).problems] == [TAKEN]
    assert (bench.world.left(), bench.noted()) == ([], [])


@pytest.mark.parametrize("call", ["rent", "give_back"])
def test_a_bug_in_a_provider_loses_no_lease(bench: Bench, call: str) -> None:
    class Broken(ScriptedProvider):
        async def _called(self, name: str) -> None:
            await super()._called(name)
            if name == call:
                raise KeyError(name)

    error = error_of(lambda: asyncio.run(use(leasing_of(Broken(bench.world), bench.ledger))))
    assert error.problems[0].next is Next.BUG
    returned(bench.compute())
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_what_cannot_be_described_goes_back_all_the_same(bench: Bench) -> None:
    abandon(bench, "dead-1")
    returned(bench.compute(Script(hangs={"describe"})))
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_a_damaged_note_goes_when_all_have_looked(bench: Bench) -> None:
    """One provider that fails keeps no other from being asked, and the note stays until it answers."""
    abandon(bench, "dead-1")
    (bench.ledger / "dead-1.json").write_text("")
    broken = ScriptedProvider(World(bench.world.folder.parent / "other"), Script(hangs={"give_back"}))
    compute = bench.compute()
    both = replace(compute, providers={"broken": lambda: broken, **compute.providers})
    assert [p.code for p in troubles(both)] == [NOT_REMOVED]
    assert bench.world.left() == []
    assert bench.noted() == ["dead-1"]


def test_a_compute_that_is_not_there_matters_to_builds_alone(bench: Bench) -> None:
    compute = replace(bench.compute(), chosen=lambda: "hetzner")
    assert returned(compute, "fleet") == []


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
    assert returned(compute) == ["lease-1"]
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_what_can_neither_be_returned_nor_given_up_is_told_as_both(bench: Bench) -> None:
    class Unwritable(LeaseFiles):
        async def abandon(self, name: str) -> None:
            await super().abandon(name)
            raise LianError(Problem("disk-full", "no room"))

    compute = replace(bench.compute(Script(refusals=3)), leases=Unwritable(bench.ledger))
    error = error_of(lambda: asyncio.run(use(compute)))
    assert [problem.code for problem in error.problems] == [NOT_REMOVED, "disk-full"]
    assert returned(compute) == ["lease-1"]


def test_the_error_of_the_block_is_the_one_that_is_told(bench: Bench) -> None:
    async def run() -> None:
        async with bench.compute(Script(refusals=3)).rent(request()):
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as raised:
        asyncio.run(run())
    assert any("lease-1" in note for note in raised.value.__notes__)
    assert returned(bench.compute()) == ["lease-1"]


def test_what_could_not_be_had_nor_returned_is_told_as_both(bench: Bench) -> None:
    broken = LianError(Problem("compute-broken", "500", next=Next.RETRY))
    error = error_of(lambda: asyncio.run(use(bench.compute(Script(fails_late=broken, refusals=3)))))
    assert [problem.code for problem in error.problems] == ["compute-broken", NOT_REMOVED]


def test_who_is_interrupted_hears_of_what_could_not_be_returned(bench: Bench) -> None:
    async def run() -> None:
        async with bench.compute(Script(refusals=3)).rent(request()):
            raise asyncio.CancelledError

    assert [problem.code for problem in error_of(lambda: asyncio.run(run())).problems] == [NOT_REMOVED]


def test_where_notes_cannot_be_read_nobodys_runner_is_taken_for_a_strangers(bench: Bench) -> None:
    """The provider lists it, and the deadline is over; but it may be that of a pass here that lives."""

    class Unreadable(LeaseFiles):
        async def intents(self) -> Sequence[Intent]:
            raise LianError(Problem("leases-unusable", "permission denied"))

    elsewhere(bench, "lease-1")
    late = replace(bench.compute(moment=MOMENT + 10**6), leases=Unreadable(bench.ledger))
    assert [problem.code for problem in troubles(late, "fleet")] == ["leases-unusable"]
    assert bench.world.left()
    standing = asyncio.run(late.outstanding("fleet"))
    assert (standing.leases, [problem.code for problem in standing.problems]) == ((), ["leases-unusable"])
    assert returned(bench.compute(moment=MOMENT + 10**6), "fleet") == ["lease-1"]


def test_a_return_without_end_is_left_to_the_sweep(bench: Bench) -> None:
    error = error_of(lambda: asyncio.run(use(bench.compute(Script(hangs={"give_back"})))))
    assert [problem.code for problem in error.problems] == [NOT_REMOVED]
    assert returned(bench.compute()) == ["lease-1"]
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_what_is_gone_already_is_returned(bench: Bench) -> None:
    async def run() -> None:
        async with bench.compute().rent(request()) as runner:
            await ScriptedProvider(bench.world).give_back(runner.lease)

    asyncio.run(run())
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_a_silent_sweep_is_told_and_stops_nothing(bench: Bench) -> None:
    abandon(bench, "dead-1")
    swept = asyncio.run(bench.compute(Script(hangs={"owned_by"})).sweep("fleet"))
    assert ([problem.code for problem in swept.unseen], swept.problems) == ([SILENT], ())
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_a_listing_that_fails_is_told_and_stops_nothing(bench: Bench) -> None:
    abandon(bench, "dead-1")
    broken = Script(unlisted=LianError(FAULTS[1]))
    swept = asyncio.run(bench.compute(broken).sweep("fleet"))
    assert (swept.unseen, swept.problems, swept.leases) == ((FAULTS[1],), (), ("dead-1",))
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_where_one_place_cannot_be_looked_at_the_others_are_swept(bench: Bench) -> None:
    lease = elsewhere(bench, "their-1")
    partly = bench.compute(Script(unseen=(FAULTS[3],)), moment=lease.deadline + CLOCK_GRACE + 1)
    swept = asyncio.run(partly.sweep("fleet"))
    assert (swept.leases, swept.unseen, swept.problems) == (("their-1",), (FAULTS[3],), ())
    assert asyncio.run(partly.outstanding("fleet")).problems == (FAULTS[3],)


def test_a_listing_that_hides_hides_nothing_that_is_noted(bench: Bench) -> None:
    abandon(bench, "dead-1")
    assert returned(bench.compute(Script(hides=True)), "fleet") == ["dead-1"]


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
    assert returned(compute, "fleet") == (["elsewhere"] if swept else [])
    assert bool(bench.world.left()) is not swept


def test_what_another_fleet_owns_is_never_touched_though_it_is_listed(bench: Bench) -> None:
    lease = elsewhere(bench, "theirs", "another-fleet")
    script = Script(listed=[Rental(lease, RentalState.READY)])
    assert returned(bench.compute(script, moment=lease.deadline * 2), "fleet") == []
    assert bench.world.left()


def test_a_living_pass_keeps_its_lease_though_its_deadline_is_over(bench: Bench) -> None:
    """The clock was put forward, say."""

    async def run() -> None:
        async with bench.compute().rent(request()):
            later = bench.compute(moment=MOMENT * 2)
            assert (await later.sweep("fleet")).leases == ()
            assert bench.world.left()

    asyncio.run(run())
    assert bench.world.left() == []


@pytest.mark.parametrize("shared", [True, False])
def test_a_fleet_without_a_name_sweeps_only_where_nobody_else_rents(bench: Bench, shared: bool) -> None:
    lease = elsewhere(bench, "elsewhere", UNNAMED)
    compute = bench.compute(moment=lease.deadline + 2 * CLOCK_GRACE, shared=shared)
    assert returned(compute, UNNAMED) == ([] if shared else ["elsewhere"])


def test_without_a_fleet_only_what_is_noted_is_swept(bench: Bench) -> None:
    elsewhere(bench, "elsewhere")
    abandon(bench, "dead-1")
    assert returned(bench.compute(moment=MOMENT * 2)) == ["dead-1"]
    assert bench.world.left() == ["folder elsewhere", "machine elsewhere"]


# -- what is noted and cannot be used


@pytest.mark.parametrize("content", ["", "{", "[]", "[" * 100_000, '{"provider": 7}', '{"lease": "x"}'])
def test_a_damaged_note_is_looked_for_everywhere(bench: Bench, content: str) -> None:
    abandon(bench, "dead-1")
    (bench.ledger / "dead-1.json").write_text(content)
    assert returned(bench.compute()) == ["dead-1"]
    assert (bench.world.left(), bench.noted()) == ([], [])


def test_a_provider_that_is_not_there_any_more_is_told_at_each_sweep(bench: Bench) -> None:
    abandon(bench, "dead-1")
    other = leasing_of(ScriptedProvider(World(bench.world.folder.parent / "other")), bench.ledger, name="another")
    for _ in range(2):
        assert [p.code for p in troubles(other)] == ["compute-unsupported"]
    assert returned(bench.compute()) == ["dead-1"]


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
            told = {
                one.name: (one.provider, one.keeper, one.state) for one in (await compute.outstanding("fleet")).leases
            }
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
    (one,) = asyncio.run(bench.compute().outstanding("fleet")).leases
    assert (one.name, one.state, one.keeper) == ("dead-1", None, Keeper.GONE)
    assert one.lease is not None
    assert one.lease.purpose == "shop/api"


@pytest.mark.parametrize("call", ["describe", "owned_by"])
def test_what_a_provider_does_not_tell_hides_nothing_that_is_noted(bench: Bench, call: str) -> None:
    abandon(bench, "dead-1")
    told = asyncio.run(bench.compute(Script(hangs={call})).outstanding("fleet"))
    assert [one.name for one in told.leases] == ["dead-1"]
    assert [problem.code for problem in told.problems] == [SILENT]
