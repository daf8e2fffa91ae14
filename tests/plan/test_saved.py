"""A plan that is written down and carried out later: what it says is done where the world is still its own, and nothing
else is."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.cli import exits
from reconciler.model.desired import Unclear
from reconciler.model.digest import Digest
from reconciler.model.event import Noted
from reconciler.model.outcome import Status
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.policy import DriftPolicy, Policy, PrunePolicy, Response
from reconciler.model.problem import LianError, Problem
from reconciler.model.saved_plan import SavedPlan
from reconciler.plan.saved import saved
from reconciler.plan.select import Selection
from reconciler.reconcile import Options, Orphans, plan_once, read_forced, reconcile_once
from tests.commits import Commit, artifact
from tests.fakes import World
from tests.schemas.evaluation import validator

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.apply.work import Work
    from reconciler.model.outcome import Outcome

FILES = {
    "w/base/Dockerfile": b"FROM scratch\n",
    "w/child/Dockerfile": b"FROM base\n",
    "w/other/Dockerfile": b"FROM scratch\nLABEL a=b\n",
}
MADE = (
    artifact("w/base"),
    artifact("w/child", contexts={"base": "artifact:w/base"}),
    artifact("w/other", tags=("latest", "1.0")),
)
PLAIN = Options()
NEW = {"w/other/Dockerfile": b"FROM scratch\nLABEL a=c\n"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(Commit(MADE, FILES), tmp_path)


def written(world: World, options: Options = PLAIN) -> SavedPlan:
    """The plan, through its file's document."""
    work = asyncio.run(_planned(world, options))
    document = json.loads(json.dumps(saved(work.plan, work.resolution, work.observed).to_json()))
    validator("saved_plan").validate(document)
    validator("plan").validate(document["plan"])
    return SavedPlan.from_json(document)


async def _planned(world: World, options: Options) -> Work:
    ports = world.ports()
    work = await plan_once(ports, options)
    await read_forced(ports, work)
    return work


def applied(world: World, plan: SavedPlan | None = None, *, strict: bool = False) -> Outcome:
    return asyncio.run(reconcile_once(world.ports(), Options(saved=plan, strict=strict)))[1]


def statuses(outcome: Outcome) -> dict[str, Status]:
    return {result.artifact.artifact: result.status for result in outcome.results}


def causes(outcome: Outcome) -> dict[str, str]:
    """Artifact -> why its part of the plan is out of date."""
    return {
        result.artifact.artifact: result.problem.message.partition(": ")[2]
        for result in outcome.results
        if result.problem is not None and result.problem.code == "plan-stale"
    }


def test_what_it_says_is_done(world: World) -> None:
    plan = written(world)
    outcome = applied(world, plan)
    assert set(statuses(outcome).values()) == {Status.DONE}
    assert exits.of_outcome(outcome) == exits.DONE
    built = len(world.builder.built)
    again = applied(world, plan)
    assert set(statuses(again).values()) == {Status.NONE}
    assert len(world.builder.built) == built
    notes = [event.text for event in world.recorder.of(Noted) if isinstance(event, Noted)]
    assert "nothing is left to do: what the plan says has been done" in notes


def test_it_survives_another_commit_of_the_same_content(world: World) -> None:
    plan = written(world)
    world.source.commit = world.source.commit.changed(files={"README": b"squashed"})
    assert set(statuses(applied(world, plan)).values()) == {Status.DONE}


def test_one_that_is_made_of_something_else_is_held_and_the_others_go_on(world: World) -> None:
    plan = written(world)
    world.source.commit = world.source.commit.changed(files=NEW)
    outcome = applied(world, plan)
    assert statuses(outcome) == {"base": Status.DONE, "child": Status.DONE, "other": Status.HELD}
    assert causes(outcome) == {"other": "it is made of something else now"}
    assert exits.of_outcome(outcome) == exits.HELD


def test_strict_is_all_or_nothing(world: World) -> None:
    plan = written(world)
    world.source.commit = world.source.commit.changed(files=NEW)
    outcome = applied(world, plan, strict=True)
    assert set(statuses(outcome).values()) == {Status.HELD}
    assert world.builder.built == []
    problems = {r.artifact.artifact: r.problem.code for r in outcome.results if r.problem}
    assert problems == {"base": "plan-strict", "child": "plan-strict", "other": "plan-stale"}


def test_what_drifts_beside_it_is_left(world: World) -> None:
    applied(world)
    world.source.commit = world.source.commit.changed(files=NEW)
    plan = written(world)
    world.source.commit = world.source.commit.changed(
        files={"w/base/a": b"1", "w/base/Dockerfile": b"FROM scratch\nCOPY . /\n"}
    )
    outcome = applied(world, plan)
    assert statuses(outcome) == {"base": Status.HELD, "child": Status.HELD, "other": Status.DONE}
    assert causes(outcome)["base"] == "the plan leaves it as it was, and it drifts now"


def test_a_child_of_the_same_key_goes_on_though_a_tag_of_its_parent_has_moved(world: World) -> None:
    """It stands on an image, not on a tag: the key says that it is made of what was shown."""
    heal = Policy(drift=DriftPolicy(foreign=Response.HEAL))
    applied(world)
    child = {"w/child/Dockerfile": b"FROM base\nLABEL a=c\n"}
    world.source.commit = world.source.commit.changed(files=child, policy=heal)
    plan = written(world)
    base, other = MADE[0].image, MADE[2].image
    away = world.registry.tags[other, "latest"]
    world.registry.manifests[base, away] = world.registry.manifests[other, away]
    world.registry.tags[base, "latest"] = away
    outcome = applied(world, plan)
    assert statuses(outcome) == {"base": Status.HELD, "child": Status.DONE, "other": Status.NONE}
    assert causes(outcome) == {"base": "the plan leaves it as it was, and it drifts now"}


def test_a_new_artifact_is_not_its_business(world: World) -> None:
    plan = written(world)
    world.source.commit = world.source.commit.changed(artifacts=(*MADE, artifact("w/new")))
    assert "new" not in statuses(applied(world, plan))


def test_what_is_not_wanted_any_more_is_named(world: World) -> None:
    plan = written(world)
    world.source.commit = world.source.commit.changed(artifacts=MADE[:2])
    outcome = applied(world, plan)
    assert statuses(outcome) == {"base": Status.DONE, "child": Status.DONE, "other": Status.HELD}
    assert causes(outcome) == {"other": "the commit does not ask for it any more"}


def test_a_tag_that_was_moved_meanwhile_holds(world: World) -> None:
    heal = Policy(drift=DriftPolicy(foreign=Response.HEAL))  # else it would be held whatever the plan says
    applied(world)
    world.source.commit = world.source.commit.changed(files=NEW, policy=heal)
    plan = written(world)
    base, other = MADE[0].image, MADE[2].image
    away = world.registry.tags[base, "latest"]
    world.registry.manifests[other, away] = world.registry.manifests[base, away]
    world.registry.tags[other, "1.0"] = away
    outcome = applied(world, plan)
    assert causes(outcome) == {"other": "the tag 1.0 was moved meanwhile"}
    assert world.registry.tags[other, "1.0"] == away


def test_tags_that_are_wanted_otherwise_hold(world: World) -> None:
    plan = written(world)
    world.source.commit = world.source.commit.changed(artifacts=(*MADE[:2], artifact("w/other", tags=("2.0",))))
    assert causes(applied(world, plan)) == {
        "other": "it is wanted under another image, other tags or for other platforms"
    }


def test_what_was_cut_off_is_finished(world: World) -> None:
    """The image is there and a tag is not: what is left leads to the same."""
    plan = written(world)
    applied(world)
    del world.registry.tags[MADE[2].image, "1.0"]
    outcome = applied(world, plan)
    assert statuses(outcome) == {"base": Status.NONE, "child": Status.NONE, "other": Status.DONE}
    assert causes(outcome) == {}


def test_a_child_whose_parent_came_out_otherwise_is_held(world: World) -> None:
    """It was planned on the parent that was there; another one is there now, of the same inputs."""
    child = {"w/child/Dockerfile": b"FROM base\nLABEL a=b\n"}
    applied(world)
    world.source.commit = world.source.commit.changed(files=child)
    plan = written(world)
    world.builder.reproducible = False
    asyncio.run(reconcile_once(world.ports(), Options(Selection(("w/base",)), forced=("w/base",))))
    outcome = applied(world, plan)
    assert causes(outcome) == {"child": "what it stands on came out otherwise"}


@pytest.mark.parametrize("reproducible", [True, False])
@pytest.mark.parametrize("forced", [("w/other",), ("w/base",), ("w/base", "w/child")])
def test_what_is_forced_is_built_once(world: World, forced: tuple[str, ...], reproducible: bool) -> None:
    """Whether the same image came out or another one: carried out again, nothing is left to do."""
    applied(world)
    world.builder.reproducible = reproducible
    world.clock.now += 60
    plan = written(world, Options(forced=forced))
    built = len(world.builder.built)
    outcome = applied(world, plan)
    assert {f"w/{name}" for name, status in statuses(outcome).items() if status is Status.DONE} >= set(forced)
    assert exits.of_outcome(outcome) == exits.DONE
    assert len(world.builder.built) > built
    built = len(world.builder.built)
    world.clock.now += 60
    again = applied(world, plan, strict=True)
    assert set(statuses(again).values()) == {Status.NONE}
    assert len(world.builder.built) == built


def test_what_is_forced_before_it_was_ever_built_is_built_once(world: World) -> None:
    plan = written(world, Options(forced=("w/other",)))
    assert plan.bound[MADE[2].name].built == ""
    applied(world, plan)
    built = len(world.builder.built)
    assert set(statuses(applied(world, plan)).values()) == {Status.NONE}
    assert len(world.builder.built) == built


def test_a_forced_build_whose_last_one_could_not_be_read_is_done_again(world: World) -> None:
    """Not known is not done."""
    applied(world)
    world.registry.unreadable.add("records")
    plan = written(world, Options(forced=("w/other",)))
    world.registry.unreadable.clear()
    assert plan.bound[MADE[2].name].built is None
    for _ in range(2):
        assert statuses(applied(world, plan))["other"] is Status.DONE


def test_what_was_held_stays_held(world: World) -> None:
    world.registry.unreadable.add("latest")
    plan = written(world)
    world.registry.unreadable.clear()
    outcome = applied(world, plan)
    assert set(statuses(outcome).values()) == {Status.HELD}
    assert causes(outcome) == {}
    assert {r.problem.code for r in outcome.results if r.problem} == {"plan-held"}


@pytest.mark.parametrize("strict", [False, True])
def test_what_a_limit_held_is_no_staleness(world: World, strict: bool) -> None:
    """It was shown as held: the rest goes on, also where it is to be all or nothing."""
    plan = written(world, Options(max_builds=1))
    outcome = applied(world, plan, strict=strict)
    assert statuses(outcome) == {"base": Status.DONE, "child": Status.HELD, "other": Status.HELD}
    assert {
        r.artifact.artifact: (r.problem.code, r.problem.message) for r in outcome.results if r.problem
    } == dict.fromkeys(("child", "other"), ("plan-held", "the plan itself holds it: max-builds"))


def test_orphans_go_only_if_it_says_so(world: World) -> None:
    heal = Policy(drift=DriftPolicy(orphaned=Response.HEAL))
    world.source.commit = world.source.commit.changed(policy=heal)
    applied(world)
    without = world.source.commit.changed(artifacts=MADE[:2])
    world.source.commit = without
    plan = written(world, Options(orphans=Orphans.TOLD))
    assert plan.orphans
    heard = asyncio.run(reconcile_once(world.ports(), Options(saved=plan, orphans=Orphans.HEALED)))[1]
    assert [r.action for r in heard.results if r.artifact.artifact == "other"] == [Action.PRUNE]


def test_what_it_takes_away_and_the_policy_does_not_any_more_is_not_done(world: World) -> None:
    """`latest` goes, `1.0` is kept: once that is done, the plan has nothing left to do."""
    heal = Policy(drift=DriftPolicy(orphaned=Response.HEAL), prune=PrunePolicy(keep_tags=("1.*",)))
    world.source.commit = world.source.commit.changed(policy=heal)
    applied(world)
    world.source.commit = without = world.source.commit.changed(artifacts=MADE[:2])
    plan = written(world, Options(orphans=Orphans.TOLD))
    world.source.commit = without.changed(policy=replace(heal, drift=DriftPolicy()))
    options = Options(saved=plan, orphans=Orphans.HEALED)
    outcome = asyncio.run(reconcile_once(world.ports(), options))[1]
    assert causes(outcome) == {"other": "the plan takes it away, and lian.ncl leaves it where it is"}
    assert (MADE[2].image, "latest") in world.registry.tags
    world.source.commit = without
    for action in (Action.PRUNE, Action.NONE):
        outcome = asyncio.run(reconcile_once(world.ports(), options))[1]
        assert [r.action for r in outcome.results if r.artifact.artifact == "other"] in ([action], [])
        assert causes(outcome) == {}
    assert (MADE[2].image, "latest") not in world.registry.tags
    assert (MADE[2].image, "1.0") in world.registry.tags


def test_what_it_takes_away_is_held_where_nobody_knows_whether_it_is_wanted(world: World) -> None:
    world.source.commit = world.source.commit.changed(policy=Policy(drift=DriftPolicy(orphaned=Response.HEAL)))
    applied(world)
    world.source.commit = world.source.commit.changed(artifacts=MADE[:2])
    plan = written(world, Options(orphans=Orphans.TOLD))
    wrong = (Problem("dockerfile-syntax", "unknown instruction: RUUN"),)
    world.revisions.refs["refs/heads/odd"] = replace(Commit(MADE, FILES), revision="c" * 40, problems=wrong)
    outcome = asyncio.run(reconcile_once(world.ports(), Options(saved=plan, orphans=Orphans.HEALED)))[1]
    (held,) = [r for r in outcome.results if r.artifact.artifact == "other"]
    assert held.problem is not None
    assert (held.status, held.problem.code) == (Status.HELD, "orphans-unread")
    assert not any("nothing is left to do" in note for note in notes(world))


@pytest.mark.parametrize("strict", [False, True])
def test_what_it_takes_away_is_done_only_where_its_tags_are_gone(world: World, strict: bool) -> None:
    """A branch that wants it again, a tag that was moved, a registry that tells nothing: each is named."""
    world.source.commit = world.source.commit.changed(policy=Policy(drift=DriftPolicy(orphaned=Response.HEAL)))
    applied(world)
    world.source.commit = world.source.commit.changed(artifacts=MADE[:2], files={"w/child/app": b"new"})
    plan = written(world, Options(orphans=Orphans.TOLD))
    options = Options(saved=plan, orphans=Orphans.HEALED, strict=strict)

    def ends() -> str:
        results = asyncio.run(reconcile_once(world.ports(), options))[1].results
        assert ("child" in {r.artifact.artifact for r in results if r.status is Status.HELD}) is strict
        (other,) = [r for r in results if r.artifact.artifact == "other"]
        assert other.status is Status.HELD
        assert other.problem is not None
        return f"{other.problem.code} {other.problem.message.rpartition(': ')[2]}"

    image = MADE[2].image
    world.revisions.refs["refs/heads/b"] = replace(Commit(MADE, FILES), revision="c" * 40)
    assert ends() == "plan-stale the plan takes it away, and a branch or a newer commit wants it"
    del world.revisions.refs["refs/heads/b"]
    world.registry.tags[image, "latest"] = world.registry.tags[image, "lian-applied-acme"]  # any other manifest
    del world.registry.tags[image, "1.0"]
    assert ends() == "plan-stale the tag latest was moved meanwhile"
    world.registry.unreadable.add("latest")
    (other,) = asyncio.run(plan_once(world.ports(), options)).plan.orphans
    assert (other.action, [p.code for p in other.holds]) == (Action.HOLD, ["registry-down"])


@pytest.mark.parametrize("response", [Response.REPORT, Response.HEAL])
def test_what_is_wanted_under_another_image_is_built_there_and_goes_here(world: World, response: Response) -> None:
    """One artifact with two changes."""
    world.source.commit = world.source.commit.changed(policy=Policy(drift=DriftPolicy(orphaned=response)))
    applied(world)
    there = artifact("w/other", image="w/elsewhere", tags=("1.0",))
    world.source.commit = world.source.commit.changed(artifacts=(*MADE[:2], there))
    plan = written(world, Options(orphans=Orphans.TOLD))
    assert (plan.bound[there.name].image, list(plan.orphans)) == (there.image, [(there.name, MADE[2].image)])
    outcome = asyncio.run(reconcile_once(world.ports(), Options(saved=plan, strict=True, orphans=Orphans.HEALED)))[1]
    assert exits.of_outcome(outcome) == exits.DONE
    assert (there.image, "1.0") in world.registry.tags
    assert ((MADE[2].image, "latest") in world.registry.tags) is (response is Response.REPORT)


def test_what_nobody_wants_any_more_since_is_named_and_stays(world: World) -> None:
    """Beside something else that the plan takes away."""
    world.source.commit = world.source.commit.changed(policy=Policy(drift=DriftPolicy(orphaned=Response.HEAL)))
    applied(world)
    world.source.commit = world.source.commit.changed(artifacts=(artifact("w/child"), MADE[2]), files=NEW)
    plan = written(world, Options(orphans=Orphans.TOLD))
    world.source.commit = world.source.commit.changed(artifacts=(artifact("w/child"),))
    outcome = asyncio.run(reconcile_once(world.ports(), Options(saved=plan, orphans=Orphans.HEALED)))[1]
    assert causes(outcome) == {"other": "the commit does not ask for it any more"}
    assert [r.artifact.artifact for r in outcome.results if r.action is Action.PRUNE] == ["base"]
    assert (MADE[2].image, "latest") in world.registry.tags


def test_it_is_about_the_parents_that_it_was_made_with(world: World) -> None:
    """Also where their images are not known yet: neither another parent, nor the same two the other way round."""
    gold, two = artifact("w/gold"), {"base": "artifact:w/base", "gold": "artifact:w/gold"}
    child = artifact("w/child", contexts=two)
    files = {
        **FILES,
        "w/gold/Dockerfile": b"FROM scratch\n",
        "w/child/Dockerfile": b"FROM base\nCOPY --from=gold / /\n",
    }
    world.source.commit = Commit((MADE[0], gold, child), files)
    plan = written(world)
    for contexts, cause in (
        (two | {"gold": "artifact:w/base"}, "named context changed: gold (w/gold → w/base)"),
        (
            {"base": "artifact:w/gold", "gold": "artifact:w/base"},
            "named context changed: base (w/base → w/gold), named context changed: gold (w/gold → w/base)",
        ),
    ):
        world.source.commit = Commit((MADE[0], gold, artifact("w/child", contexts=contexts)), files)
        work = asyncio.run(plan_once(world.ports(), Options(saved=plan)))
        held = next(change for change in work.plan.changes if change.artifact == child.name)
        assert [(p.code, p.cause) for p in held.holds] == [("plan-stale", cause)]


def test_a_tag_that_was_taken_away_since_is_not_put_back(world: World) -> None:
    """Somebody may have withdrawn it; a build would set it again."""
    applied(world)
    world.source.commit = world.source.commit.changed(files=NEW)
    plan = written(world)
    del world.registry.tags[MADE[2].image, "1.0"]
    outcome = applied(world, plan)
    assert causes(outcome) == {"other": "the tag 1.0 was moved meanwhile"}
    assert (MADE[2].image, "1.0") not in world.registry.tags


def test_what_nobody_can_read_is_not_told_as_what_nobody_wants(world: World) -> None:
    plan = written(world)
    wrong = Problem("nickel-syntax", "Nickel cannot read this", "directives/w.ncl", 7, 3)
    unclear = Unclear({"directives/w.ncl": wrong})
    world.source.commit = world.source.commit.changed(artifacts=MADE[:2], problems=(wrong,), unclear=unclear)
    (other,) = [r for r in applied(world, plan).results if r.artifact.artifact == "other"]
    assert other.problem is not None
    assert (other.status, other.problem.code, other.problem.place) == (
        Status.HELD,
        "directive-unread",
        "directives/w.ncl:7:3",
    )


def test_another_fleets_is_refused(world: World) -> None:
    plan = written(world)
    world.source.commit = world.source.commit.changed(fleet="other")
    with pytest.raises(LianError, match="plan-foreign"):
        applied(world, plan)


def test_one_that_was_edited_is_refused(world: World) -> None:
    work = asyncio.run(plan_once(world.ports(), PLAIN))
    document = saved(work.plan, work.resolution, work.observed).to_json()
    document["plan"]["changes"][0]["tags"] = ["evil"]
    with pytest.raises(ValueError, match="seal"):
        SavedPlan.from_json(document)


def test_one_that_was_edited_and_sealed_again_does_nothing_else(world: World) -> None:
    """The plan only narrows what a pass finds by itself."""
    applied(world)
    work = asyncio.run(plan_once(world.ports(), PLAIN))
    plan = saved(work.plan, work.resolution, work.observed)
    assert {bound.action for bound in plan.bound.values()} == {Action.NONE}
    forged = SavedPlan.from_json(plan.to_json())
    for bound in forged.bound.values():
        object.__setattr__(bound, "action", Action.BUILD)
        object.__setattr__(bound, "starts", {tag: Digest.parse("sha256:" + "0" * 64) for tag in bound.tags})
    assert set(statuses(applied(world, forged)).values()) == {Status.NONE}


def test_its_reasons_say_that_it_is_stale(world: World) -> None:
    plan = written(world)
    world.source.commit = world.source.commit.changed(files=NEW)
    work = asyncio.run(plan_once(world.ports(), Options(saved=plan)))
    other = next(change for change in work.plan.changes if change.artifact.artifact == "other")
    assert [reason.code for reason in other.reasons] == [ReasonCode.STALE, ReasonCode.ABSENT, ReasonCode.ABSENT]


def notes(world: World) -> list[str]:
    return [event.text for event in world.recorder.of(Noted) if isinstance(event, Noted)]


def moved(outcome: Outcome) -> dict[str, str | None]:
    """Artifact -> what has moved, of what is out of date."""
    problems = ((result.artifact.artifact, result.problem) for result in outcome.results)
    return {name: problem.cause for name, problem in problems if problem and problem.code == "plan-stale"}


@pytest.mark.parametrize("strict", [False, True])
def test_what_was_reverted_since_was_not_done(world: World, strict: bool) -> None:
    """All is in sync, and not as the plan says: neither what was changed itself, nor what stands on it."""
    applied(world)
    before = world.source.commit
    world.source.commit = before.changed(files={"w/base/Dockerfile": b"FROM scratch\nLABEL a=b\n"})
    plan = written(world)
    assert plan.bound[MADE[1].name].key is None
    world.source.commit = before
    outcome = applied(world, plan, strict=strict)
    assert causes(outcome) == {
        "base": "it is made of something else now",
        "child": "what it stands on is not what the plan says",
    }
    assert "dockerfile changed (" in (moved(outcome)["base"] or "")
    assert moved(outcome)["child"] == "w/base"
    assert exits.of_outcome(outcome) == exits.HELD
    assert not any("has been done" in note for note in notes(world))


def test_what_was_done_and_reverted_since_is_not_done(world: World) -> None:
    applied(world)
    world.source.commit = world.source.commit.changed(files=NEW)
    plan = written(world)
    assert exits.of_outcome(applied(world, plan)) == exits.DONE
    world.source.commit = world.source.commit.changed(files=FILES)
    applied(world)
    assert causes(applied(world, plan)) == {"other": "it is made of something else now"}


def test_tags_that_the_plan_adds_and_the_commit_does_not_want_were_not_set(world: World) -> None:
    applied(world)
    before = world.source.commit
    more = artifact("w/other", tags=("latest", "1.0", "2.0"))
    world.source.commit = before.changed(artifacts=(*MADE[:2], more))
    plan = written(world)
    assert plan.bound[more.name].action is Action.RETAG
    world.source.commit = before
    outcome = applied(world, plan)
    assert causes(outcome) == {"other": "it is wanted under another image, other tags or for other platforms"}
    assert moved(outcome) == {"other": "tags: latest, 1.0, 2.0 → latest, 1.0"}


@pytest.mark.parametrize("strict", [False, True])
def test_what_is_not_wanted_any_more_is_named_where_the_rest_is_in_sync(world: World, strict: bool) -> None:
    applied(world)
    before = world.source.commit
    world.source.commit = before.changed(
        artifacts=(*MADE, artifact("w/new")), files={"w/new/Dockerfile": b"FROM scratch\n"}
    )
    plan = written(world, Options(Selection(("w/new", "w/other"))))
    world.source.commit = before
    outcome = applied(world, plan, strict=strict)
    assert causes(outcome) == {"new": "the commit does not ask for it any more"}
    assert statuses(outcome)["other"] is Status.NONE
    assert exits.of_outcome(outcome) == exits.HELD


def test_what_is_wanted_again_was_not_taken_away(world: World) -> None:
    world.source.commit = world.source.commit.changed(policy=Policy(drift=DriftPolicy(orphaned=Response.HEAL)))
    applied(world)
    before = world.source.commit
    world.source.commit = before.changed(artifacts=MADE[:2])
    plan = written(world, Options(orphans=Orphans.TOLD))
    world.source.commit = before
    outcome = asyncio.run(reconcile_once(world.ports(), Options(saved=plan, orphans=Orphans.HEALED)))[1]
    assert causes(outcome) == {"other": "the plan takes it away, and the commit asks for it"}
    assert (MADE[2].image, "latest") in world.registry.tags
    assert not any("has been done" in note for note in notes(world))


def test_it_says_what_has_moved(world: World) -> None:
    args = artifact("w/other", tags=("latest", "1.0"), args={"VERSION": "1.4", "SAME": "1"})
    world.source.commit = world.source.commit.changed(artifacts=(*MADE[:2], args))
    plan = written(world)
    other = artifact("w/other", tags=("latest", "1.0"), args={"VERSION": "1.5", "SAME": "1"})
    world.source.commit = world.source.commit.changed(
        artifacts=(*MADE[:2], other), files={"w/other/a": b"1", "w/other/Dockerfile": b"FROM scratch\nCOPY a /\n"}
    )
    told = moved(applied(world, plan))["other"] or ""
    assert [part.split(" (")[0] for part in told.split(", ")] == [
        "context changed",
        "dockerfile changed",
        "args changed: VERSION",
    ]
    assert told.endswith("(1.4 → 1.5)")


def test_it_says_where_a_tag_was_and_is(world: World) -> None:
    heal = Policy(drift=DriftPolicy(foreign=Response.HEAL))
    applied(world)
    world.source.commit = world.source.commit.changed(files=NEW, policy=heal)
    plan = written(world)
    base, other = MADE[0].image, MADE[2].image
    was, away = world.registry.tags[other, "1.0"], world.registry.tags[base, "latest"]
    world.registry.manifests[other, away] = world.registry.manifests[base, away]
    world.registry.tags[other, "1.0"] = away
    assert moved(applied(world, plan)) == {"other": f"{was.hex[:12]} → {away.hex[:12]}"}


def test_what_looks_like_a_secret_is_not_in_it(world: World) -> None:
    token = "npm_" + "a1B2" * 9
    args = {"NPM": token, "VERSION": "1"}
    world.source.commit = Commit((artifact("w/other", args=args, labels={"my.password": "hunter22"}),), FILES)
    plan = written(world)
    assert not {token, "hunter22"} & set(json.dumps(plan.to_json()).split('"'))
    assert statuses(applied(world, plan)) == {"other": Status.DONE}, "what is hidden decides nothing"
    plan = written(world, Options(forced=("w/other",)))
    world.source.commit = world.source.commit.changed(artifacts=(artifact("w/other", args={**args, "VERSION": "2"}),))
    (cause,) = moved(applied(world, plan)).values()
    assert cause is not None
    assert "args changed: VERSION (1 → 2)" in cause
    assert token not in cause
