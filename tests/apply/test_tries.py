"""Builds that failed: what is done again, where, how often, and how it is told."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.apply.doubts import MOMENT_SECONDS
from reconciler.apply.pool import Room, Stay
from reconciler.apply.runners import MOST_LOST, Runners
from reconciler.apply.tries import (
    IN_DOUBT,
    MAX_NEW_RUNNERS,
    MAX_OOM_RETRIES,
    PAUSES,
    FailureClass,
    Tries,
    failure_class,
)
from reconciler.cli.exits import of_outcome
from reconciler.desired.folder import read_folder
from reconciler.model.attempt import Again
from reconciler.model.event import Retrying
from reconciler.model.name import ArtifactName
from reconciler.model.outcome import Status
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.tier import Ladder, RunnerOverride, Tier
from reconciler.observe.ask import read_records
from reconciler.reconcile import Options, reconcile_once
from reconciler.sizing.ladder import next_larger
from tests import strategies as some
from tests.commits import LADDER, SIZES, Commit, artifact, chain
from tests.fakes import FakeCompute, Points, World, problem

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.outcome import Outcome, Result
    from reconciler.model.record import BuildRecord

MEMORY = "build-out-of-memory"


def said(code: str, next_: Next = Next.PERSON) -> Problem:
    return Problem(code, "it did not go well", next=next_)


# -- the rule


@pytest.mark.parametrize(
    ("problem", "expected"),
    [
        (said("build-failed"), FailureClass.USER),
        (said("dockerfile-invalid"), FailureClass.USER),
        (said("build-timeout"), FailureClass.USER),
        (said("internal-error", Next.BUG), FailureClass.USER),
        (said(MEMORY), FailureClass.MEMORY),
        (said("builder-lost", Next.RETRY), FailureClass.INFRASTRUCTURE),
        (said("disk-full", Next.RETRY), FailureClass.INFRASTRUCTURE),
        (said("pull-failed", Next.RETRY), FailureClass.INFRASTRUCTURE),
        (said("cache-silent", Next.RETRY), FailureClass.INFRASTRUCTURE),
        (said("push-refused", Next.HOLD), FailureClass.HOLD),
        (said(IN_DOUBT, Next.RETRY), FailureClass.DOUBT),
        (said("certificate-refused", Next.HOLD), FailureClass.HOLD),
        (said("build-error", Next.RETRY), FailureClass.USER),
        (said("cache-broken", Next.RETRY), FailureClass.USER),
    ],
)
def test_the_class_of_a_problem(problem: Problem, expected: FailureClass) -> None:
    assert failure_class(problem) is expected


def test_memory_grows_once_and_nothing_follows_a_second_time() -> None:
    tries = Tries(LADDER, Tier(2, 4, 30, "small"))
    assert tries.after(said(MEMORY), 1.0, spent=False) is Again.LARGER_RUNNER
    assert tries.tier == Tier(4, 8, 30, "medium")
    assert tries.after(said(MEMORY), 1.0, spent=False) is None
    assert MAX_OOM_RETRIES == 1
    told = tries.told(said(MEMORY), spent=False).message
    assert "a build gets a larger runner once" in told


def test_at_the_top_of_the_ladder_it_says_so() -> None:
    tries = Tries(LADDER, Tier(8, 16, 30, "large"))
    assert tries.after(said(MEMORY), 1.0, spent=False) is None
    assert "large is the largest tier of the ladder" in tries.told(said(MEMORY), spent=False).message


def test_a_runner_is_lost_twice_and_then_no_more() -> None:
    tries = Tries(LADDER, Tier(2, 4, 30, "small"))
    lost = said("builder-lost", Next.RETRY)
    for number in range(MAX_NEW_RUNNERS):
        assert tries.after(lost, 1.0, spent=False) is Again.NEW_RUNNER
        assert tries.pause == PAUSES[number]
    assert tries.after(lost, 1.0, spent=False) is None
    assert tries.tier.name == "small"


def test_a_larger_runner_may_be_lost_too() -> None:
    tries = Tries(LADDER, Tier(2, 4, 30, "small"))
    assert tries.after(said(MEMORY), 1.0, spent=False) is Again.LARGER_RUNNER
    assert tries.after(said("builder-lost", Next.RETRY), 1.0, spent=False) is Again.NEW_RUNNER
    assert tries.tier.name == "medium"
    assert tries.after(said(MEMORY), 1.0, spent=False) is None


_PROBLEMS = st.sampled_from(
    [
        said(MEMORY),
        said(IN_DOUBT, Next.RETRY),
        said("build-failed"),
        said("builder-lost", Next.RETRY),
        said("push-refused", Next.HOLD),
    ]
)


@given(st.lists(_PROBLEMS, min_size=6, max_size=12), st.booleans())
def test_it_comes_to_an_end_and_never_gets_smaller(problems: list[Problem], spent: bool) -> None:
    tries = Tries(LADDER, Tier(2, 4, 30, "small"))
    for count, one in enumerate(problems, 1):  # noqa: B007 - the last one counts
        before = tries.tier
        again = tries.after(one, 1.0, spent=spent)
        assert tries.tier.memory_gb >= before.memory_gb
        if again is None:
            break
    assert count <= 2 + MAX_OOM_RETRIES + (0 if spent else MAX_NEW_RUNNERS)


@given(st.lists(st.tuples(_PROBLEMS, st.booleans()), max_size=12), some.ladders, some.tiers)
def test_each_class_is_done_again_where_its_rule_says_and_no_more_often(
    course: list[tuple[Problem, bool]], ladder: Ladder, tier: Tier
) -> None:
    tries = Tries(ladder, tier)
    for one, spent in course:
        before, larger, own, new = (
            tries.tier,
            *(_count(tries, where) for where in (Again.LARGER_RUNNER, Again.OWN_RUNNER, Again.NEW_RUNNER)),
        )
        again = tries.after(one, 1.0, spent=spent)
        match failure_class(one):
            case FailureClass.MEMORY:
                grows = larger == 0 and next_larger(ladder, before) is not None
                assert again is (Again.LARGER_RUNNER if grows else None)
            case FailureClass.INFRASTRUCTURE:
                assert again is (Again.NEW_RUNNER if new < 2 and not spent else None)
            case FailureClass.DOUBT:
                assert again is (None if own else Again.OWN_RUNNER)
            case _:
                assert again is None
        assert (tries.tier != before) == (again is Again.LARGER_RUNNER)
        if again is None:
            told = tries.told(one, spent=spent).message
            assert told.startswith(one.message)
            return
        assert tries.pause == ((2.0, 10.0)[new] if again is Again.NEW_RUNNER else 0.0)


def _count(tries: Tries, where: Again) -> int:
    return sum(one.then is where for one in tries.failed)


# -- the flow


@dataclass
class Failing(Points):
    """Builds of an artifact fail with these codes, one after another, on whatever runner."""

    codes: dict[str, list[str]] = field(default_factory=dict)
    where: str = "build "
    failed: bool = False

    async def at(self, point: str) -> None:
        await super().at(point)
        left = self.codes.get(point.removeprefix(self.where), [])
        if left:
            self.failed = True
            raise problem(left.pop(0), "it did not go well")


def world(folder: Path, *names: str, **codes: list[str]) -> World:
    """Artifacts of one workspace; their first builds fail so."""
    names = names or ("shop/api",)
    files = {
        f"{name}/{file}": data for name in names for file, data in (("Dockerfile", b"FROM scratch\n"), ("a", b"1"))
    }
    made = World(Commit(tuple(artifact(name) for name in names), files), folder)
    made.builder.points = Failing(codes={f"shop/{name}": list(some) for name, some in codes.items()})
    return made


def run(one: World, jobs: int = 2) -> Outcome:
    _, outcome = asyncio.run(reconcile_once(one.ports(), Options(jobs=jobs)))
    assert not one.compute.out
    return outcome


def result_of(outcome: Outcome, name: str = "shop/api") -> Result:
    return next(result for result in outcome.results if str(result.artifact) == name)


def record_of(one: World, number: int = 0) -> BuildRecord:
    image = one.source.commit.artifacts[number].image
    digest = one.tag(image, "latest")
    assert digest is not None
    return asyncio.run(read_records(one.registry, image, digest))[0]


def test_a_build_that_ran_out_of_memory_is_done_again_on_a_larger_runner_of_its_own(tmp_path: Path) -> None:
    shop = world(tmp_path, api=[MEMORY])
    outcome = run(shop)
    result = result_of(outcome)
    assert result.status is Status.DONE
    assert [lease.tier.name for lease in shop.compute.rented] == ["small", "medium"]
    assert [request.tier.memory_gb for request in shop.builder.requests] == [4, 8]
    assert shop.pauses == [0.0]
    (failed,) = result.tries
    assert (failed.problem.code, failed.tier.name, failed.then) == (MEMORY, "small", Again.LARGER_RUNNER)
    assert result.tier is not None and result.tier.name == "medium"
    record = record_of(shop)
    assert (record.tries[0].problem.code, record.tier["memory_gb"]) == (MEMORY, 8)
    assert [one.tier.name for one in record.runs] == ["medium"], "a failed build is not learned from"
    (event,) = shop.recorder.of(Retrying)
    assert isinstance(event, Retrying)
    assert (event.failed, event.tier.name) == (failed, "medium")


def test_a_second_time_is_a_failure_and_nothing_is_tried_after_it(tmp_path: Path) -> None:
    shop = world(tmp_path, api=[MEMORY, MEMORY])
    outcome = run(shop)
    result = result_of(outcome)
    assert (result.status, len(shop.builder.requests)) == (Status.FAILED, 2)
    assert result.problem is not None
    assert "a build gets a larger runner once" in result.problem.message
    assert of_outcome(outcome) == 3


def test_at_the_top_of_the_ladder_it_fails_at_once(tmp_path: Path) -> None:
    shop = world(tmp_path, api=[MEMORY])
    shop.source.commit = replace(shop.source.commit, sizes=replace(SIZES, ladder=Ladder(LADDER.tiers[:1])))
    result = result_of(run(shop))
    assert (result.status, len(shop.compute.rented)) == (Status.FAILED, 1)
    assert result.problem is not None and "small is the largest tier of the ladder" in result.problem.message


def test_what_a_directive_asks_for_grows_too(tmp_path: Path) -> None:
    shop = world(tmp_path, api=[MEMORY])
    large = artifact("shop/api", runner=RunnerOverride(cpu=3, memory_gb=5))
    shop.source.commit = shop.source.commit.changed(artifacts=(large,))
    assert result_of(run(shop)).status is Status.DONE
    assert [(r.tier.cpu, r.tier.memory_gb) for r in shop.builder.requests] == [(3, 5), (4, 8)]


def test_others_keep_the_runner_that_was_too_small_for_one(tmp_path: Path) -> None:
    """Its build goes on while the other's is done again elsewhere, and those after it find the runner there."""
    shop = world(tmp_path, "shop/api", "shop/web", "shop/zoo", api=[MEMORY])
    held = shop.builder.points.holds["build shop/web"] = asyncio.Event()
    shop.builder.points.arrivals["build shop/zoo"] = held  # web's build ends only when api's is long done
    outcome = run(shop)
    assert {result.status for result in outcome.results} == {Status.DONE}
    first, larger = (lease.lease for lease in shop.compute.rented)
    where = {r.artifact: r.context.parents[1].name for r in shop.builder.requests}
    assert where == {"shop/api": larger, "shop/web": first, "shop/zoo": first}
    assert shop.compute.returned[0] == larger, "the runner of its own goes back with its build"


def test_each_try_has_a_log_of_its_own_and_the_record_has_all_of_them(tmp_path: Path) -> None:
    """Else the log that a failed try points at would tell of the one that went well."""
    shop = world(tmp_path, api=["builder-lost", MEMORY])

    class Writing(Failing):
        async def at(self, point: str) -> None:
            if point == "build shop/api":
                log = shop.builder.requests[-1].log
                assert not log.exists()
                log.write_text(f"this is try {len(shop.builder.requests)}\n")
            await super().at(point)

    shop.builder.points = Writing(codes=shop.builder.points.codes)  # type: ignore[attr-defined]
    assert result_of(run(shop)).status is Status.DONE
    names = [request.log.name for request in shop.builder.requests]
    assert names == [f"shop_api_linux-amd64{more}.log" for more in ("", "_try2", "_try3")]
    record = record_of(shop)
    kept = next(d for (_, digest), d in shop.registry.blobs.items() if digest == record.log).decode()
    assert [line for line in kept.splitlines() if line.startswith("this")] == [f"this is try {n}" for n in (1, 2)]
    assert [line for line in kept.splitlines() if line.startswith("== ")] == [f"== {name[:-4]}" for name in names]


def test_a_record_keeps_no_advice_that_names_this_machines_files(tmp_path: Path) -> None:
    shop = world(tmp_path)
    lost = replace(problem("builder-lost").problems[0], hint="see the whole log: /home/ci/api.log", cause="EOF")
    shop.builder.points.faults["build shop/api"] = LianError(lost)
    shop.points.arrivals["pause"] = asyncio.Event()

    async def pass_() -> Outcome:
        task = asyncio.create_task(reconcile_once(shop.ports(), Options()))
        await shop.points.arrivals["pause"].wait()
        shop.builder.points.faults.clear()
        return (await task)[1]

    (told,) = result_of(asyncio.run(pass_())).tries
    assert told.problem.hint is not None
    (kept,) = record_of(shop).tries
    assert (kept.problem.hint, kept.problem.cause) == (None, "EOF")


@pytest.mark.parametrize("code", ["builder-lost", "disk-full", "pull-failed"])
def test_what_the_runner_may_be_to_blame_for_is_done_again_on_a_new_one(tmp_path: Path, code: str) -> None:
    shop = world(tmp_path, api=[code, code])
    result = result_of(run(shop))
    assert result.status is Status.DONE
    assert len({lease.lease for lease in shop.compute.rented}) == 3
    assert shop.pauses == list(PAUSES)
    assert [one.then for one in result.tries] == [Again.NEW_RUNNER] * 2
    assert shop.compute.returned[:2] == [lease.lease for lease in shop.compute.rented[:2]], "returned at once"


def test_three_times_is_enough(tmp_path: Path) -> None:
    shop = world(tmp_path, api=["builder-lost"] * 9)
    result = result_of(run(shop))
    assert (result.status, len(shop.builder.requests)) == (Status.FAILED, 3)
    assert result.problem is not None
    assert result.problem.message.count("it did not go well") == 1, "the same is not said thrice"
    assert len(result.tries) == 2


def test_a_runner_on_which_a_build_failed_for_good_is_left_to_nobody(tmp_path: Path) -> None:
    shop = world(tmp_path, "shop/api", "shop/web", api=["builder-lost"] * 3)
    outcome = run(shop, jobs=1)
    assert [result_of(outcome, f"shop/{name}").status for name in ("api", "web")] == [Status.FAILED, Status.DONE]
    assert len(shop.compute.rented) == 4, "web begins on one of its own"


def test_a_lost_runner_is_not_taken_from_a_build_that_is_on_it(tmp_path: Path) -> None:
    shop = world(tmp_path, "shop/api", "shop/web", api=["builder-lost"])
    hold = shop.builder.points.holds["build shop/web"] = asyncio.Event()
    pushed = shop.builder.points.arrivals["pushed"] = asyncio.Event()

    async def pass_() -> Outcome:
        task = asyncio.create_task(reconcile_once(shop.ports(), Options(jobs=2)))
        await pushed.wait()
        assert len(shop.compute.out) == 2, "api is on another runner, and web is still on the first"
        hold.set()
        return (await task)[1]

    outcome = asyncio.run(pass_())
    assert {result.status for result in outcome.results} == {Status.DONE}
    assert not shop.compute.out


def test_a_runner_that_cannot_be_had_is_asked_for_again(tmp_path: Path) -> None:
    shop = world(tmp_path)

    class Late(Points):
        left = 2

        async def at(self, point: str) -> None:
            await super().at(point)
            if point == "set up" and self.left:
                self.left -= 1
                raise problem("builder-start-failed")

    shop.compute.points = Late()
    assert result_of(run(shop)).status is Status.DONE
    assert shop.pauses == list(PAUSES)


def test_a_runner_that_is_never_had_fails_the_build_with_what_was_tried(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.points.faults["set up"] = problem("builder-start-failed")
    result = result_of(run(shop))
    assert (result.status, len(result.tries), len(shop.compute.rented)) == (Status.FAILED, 2, 3)


def test_a_place_where_nothing_works_is_given_up_before_every_artifact_has_tried_thrice(tmp_path: Path) -> None:
    names = [f"n{number}" for number in range(10)]
    shop = world(tmp_path, *(f"shop/{name}" for name in names), **{name: ["pull-failed"] * 9 for name in names})
    outcome = run(shop, jobs=1)
    assert {result.status for result in outcome.results} == {Status.FAILED}
    assert len(shop.compute.rented) == MOST_LOST + 1 == 7
    last = outcome.results[-1].problem
    assert last is not None and "no more are asked for in this pass" in last.message


def test_what_a_person_has_to_see_to_is_held(tmp_path: Path) -> None:
    shop = world(tmp_path, api=["push-refused"])
    outcome = run(shop)
    result = result_of(outcome)
    assert (result.status, len(shop.builder.requests), shop.pauses) == (Status.HELD, 1, [])
    assert result.log is not None
    assert of_outcome(outcome) == 4


def test_what_stands_on_something_held_is_held_with_it(tmp_path: Path) -> None:
    """Nothing has failed, so the pass does not end as if something had."""
    names = ("shop/base", "shop/mid", "shop/top")
    shop = World(chain(*names), tmp_path)
    shop.builder.points = Failing(codes={"shop/base": ["push-refused"]})
    outcome = run(shop)
    assert [result_of(outcome, name).status for name in names] == [Status.HELD] * 3
    assert [p.code for name in names[1:] if (p := result_of(outcome, name).problem)] == ["parent-held"] * 2
    assert of_outcome(outcome) == 4


def test_what_is_wrong_in_the_dockerfile_fails_at_once(tmp_path: Path) -> None:
    shop = world(tmp_path, api=["build-failed"])
    outcome = run(shop)
    assert (result_of(outcome).status, len(shop.builder.requests), shop.pauses) == (Status.FAILED, 1, [])
    assert of_outcome(outcome) == 3


def test_a_disk_that_is_full_while_the_context_is_written_is_the_runners(tmp_path: Path) -> None:
    shop = world(tmp_path)

    class Full(Points):
        left = 1

        async def at(self, point: str) -> None:
            await super().at(point)
            if point == "export" and self.left:
                self.left -= 1
                raise problem("disk-full")

    shop.source.points = Full()
    result = result_of(run(shop))
    assert (result.status, len(shop.compute.rented)) == (Status.DONE, 2)
    assert [one.problem.code for one in result.tries] == ["disk-full"]


def test_a_file_that_is_changed_during_the_build_fails_it_on_the_runner_it_has(tmp_path: Path) -> None:
    """On another one it would be no other file."""
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_text("one")
    tree = read_folder(folder).tree
    node = tree.at("a")
    (folder / "a").write_text("two")
    assert node is not None
    with pytest.raises(LianError) as moved:
        tree.read(node.id)
    shop = world(tmp_path)
    shop.points.faults["export"] = moved.value
    result = result_of(run(shop))
    assert result.problem is not None
    assert (result.status, result.problem.code) == (Status.FAILED, "context-moving")
    assert (len(shop.compute.rented), shop.pauses) == (1, [])


def test_whoever_waits_for_a_runner_never_gets_one_that_another_has_given_up(tmp_path: Path) -> None:
    compute = FakeCompute(tmp_path, Points())
    tier = Tier(2, 4, 30, "small")

    async def pass_() -> None:
        async with Runners.of(
            compute, "acme", "p1", 2, {}, {ArtifactName("shop", one): "shop" for one in ("api", "web")}, Room()
        ) as runners:

            async def unlucky() -> None:
                runners.lose(await runners.enter("shop", tier, 60.0))

            async def waiting() -> Stay:
                return await runners.enter("shop", tier, 60.0)

            _, stay = await asyncio.gather(unlucky(), waiting())
            given_up, other = (lease.lease for lease in compute.rented)
            assert (stay.runner.lease, stay.runner.lease in compute.out) == (other, True), given_up

    asyncio.run(pass_())
    assert (len(compute.rented), compute.out) == (2, {})


def test_a_runner_that_was_given_up_goes_back_with_the_last_build_that_is_on_it(tmp_path: Path) -> None:
    """And not only when the pass ends."""
    compute = FakeCompute(tmp_path, Points())
    shares = {ArtifactName("shop", one): "shop" for one in ("api", "web", "job")}

    async def pass_() -> None:
        async with Runners.of(compute, "acme", "p1", 2, {}, shares, Room()) as runners:
            unlucky, other = [await runners.enter("shop", Tier(2, 4, 30, "small"), 60.0) for _ in range(2)]
            runners.lose(unlucky)
            await _turns()
            assert list(compute.out) == [other.runner.lease]
            runners.leave(other)
            await _turns()
            assert compute.out == {}

    asyncio.run(pass_())


async def _turns() -> None:
    """Let everything else go on as far as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


def test_a_registry_that_fails_lian_itself_is_no_runners_fault(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.points.faults["take in"] = problem("registry-unreachable")
    assert (result_of(run(shop)).status, len(shop.compute.rented)) == (Status.FAILED, 1)


@dataclass
class Gone(Points):
    """A registry that is there until something has failed."""

    builds: Failing = field(default_factory=Failing)
    back_after: int | None = None
    asked: int = 0

    async def at(self, point: str) -> None:
        await super().at(point)
        if point == "heads" and self.builds.failed:
            self.asked += 1
            if self.back_after is None or self.asked <= self.back_after:
                raise problem("registry-unreachable")


@pytest.mark.parametrize("back_after", [None, 1])
def test_where_the_registry_is_gone_no_more_runners_are_rented(tmp_path: Path, back_after: int | None) -> None:
    names = [f"n{number}" for number in range(8)]
    codes = {name: ["builder-lost"] * (9 if back_after is None else 1) for name in names[:2]}
    shop = world(tmp_path, *(f"shop/{name}" for name in names), **codes)
    assert isinstance(shop.builder.points, Failing)
    gone = shop.registry.points = Gone(builds=shop.builder.points, back_after=back_after)
    outcome = run(shop)
    if back_after is None:
        assert {result.status for result in outcome.results} == {Status.FAILED}
        assert {result.problem.code for result in outcome.results if result.problem} == {"registry-unreachable"}
        assert (len(shop.builder.requests), sum(shop.pauses)) == (2, PAUSES[0] * 2 + MOMENT_SECONDS)
    else:
        assert {result.status for result in outcome.results} == {Status.DONE}
    assert gone.asked


def test_a_pass_that_is_cancelled_in_a_pause_returns_everything(tmp_path: Path) -> None:
    shop = world(tmp_path, api=["builder-lost"])
    arrived = shop.points.arrivals["pause"] = asyncio.Event()
    shop.points.holds["pause"] = asyncio.Event()

    async def pass_() -> None:
        task = asyncio.create_task(reconcile_once(shop.ports(), Options()))
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(pass_())
    assert not shop.compute.out
