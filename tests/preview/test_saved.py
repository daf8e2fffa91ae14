"""A plan of a merge that is written down, and carried out after the merge."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.cli import exits
from reconciler.model.event import Noted
from reconciler.model.outcome import Status
from reconciler.model.policy import DriftPolicy, Policy, Response
from reconciler.model.saved_plan import SavedPlan
from reconciler.plan.saved import saved
from reconciler.reconcile import Options, Orphans, reconcile_once
from tests.fakes import World
from tests.preview.test_once import BASE, CHANGED, CHILD, MAIN, applied, previewed

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.outcome import Outcome
    from tests.commits import Commit

HEAL = Policy(drift=DriftPolicy(orphaned=Response.HEAL))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(MAIN.changed(policy=HEAL), tmp_path)


def merged(world: World, head: Commit, *, strict: bool = False) -> Outcome:
    """Of a pass after the merge that follows the plan that was made before it."""
    work = previewed(world, head)
    plan = SavedPlan.from_json(saved(work.plan, work.resolution, work.observed).to_json())
    world.source.commit = head
    options = Options(saved=plan, strict=strict, orphans=Orphans.HEALED)
    return asyncio.run(reconcile_once(world.ports(), options))[1]


@pytest.mark.parametrize("strict", [False, True])
def test_what_is_taken_out_is_left_to_the_next_whole_pass(world: World, strict: bool) -> None:
    applied(world)
    head = world.source.commit.changed(artifacts=(BASE, CHILD), files=dict(CHANGED.files))
    outcome = merged(world, head, strict=strict)
    assert {r.artifact.artifact: r.status for r in outcome.results} == {"base": Status.DONE, "child": Status.DONE}
    assert exits.of_outcome(outcome) == exits.DONE
    notes = [event.text for event in world.recorder.of(Noted) if isinstance(event, Noted)]
    assert "what is no longer wanted is left to the next pass without a plan, which takes it away: w/other" in notes
    whole = asyncio.run(reconcile_once(world.ports(), Options(orphans=Orphans.HEALED)))[1]
    assert [(r.artifact.artifact, r.action) for r in whole.results if r.status is Status.DONE] == [("other", "prune")]


@pytest.mark.parametrize("strict", [False, True])
def test_before_the_merge_nothing_of_it_was_done(world: World, strict: bool) -> None:
    applied(world)
    work = previewed(world, world.source.commit.changed(files=dict(CHANGED.files)))
    plan = SavedPlan.from_json(saved(work.plan, work.resolution, work.observed).to_json())
    outcome = asyncio.run(reconcile_once(world.ports(), Options(saved=plan, strict=strict)))[1]
    assert exits.of_outcome(outcome) == exits.HELD
    stale = [result.problem for result in outcome.results if result.problem]
    assert {problem.code for problem in stale} == {"plan-stale"}
    assert {(problem.hint or "").partition(":")[0] for problem in stale} == {"merge what the plan is of first"}
    notes = [event.text for event in world.recorder.of(Noted) if isinstance(event, Noted)]
    assert not any("has been done" in note for note in notes)
