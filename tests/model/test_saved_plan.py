"""A saved plan is read as it was written, or refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.plan import Plan
from reconciler.model.saved_plan import Bound, SavedPlan
from tests import strategies as some
from tests.schemas.evaluation import validator


@st.composite
def saved_plans(draw: st.DrawFn) -> SavedPlan:
    plan = draw(some.plans)
    changes = {change.artifact: change for change in plan.changes}
    plan = Plan(plan.revision, tuple(changes.values()), plan.problems)
    bound = {
        name: Bound(
            c.action,
            c.image,
            c.tags,
            c.platforms,
            c.key,
            draw(st.none() | some.hexes(64)),
            c.digest,
            {tag: draw(st.none() | some.digests) for tag in c.tags},
            any(reason.code == "forced" for reason in c.reasons),
            next((problem.code for problem in c.holds), None),
            draw(st.sampled_from([None, "", "2026-11-29T12:00:00.000000Z"])),
            draw(st.none() | st.just({p: {"context": "a", "args": {"A": "1"}, "fresh": 3} for p in c.platforms})),
            c.left,
        )
        for name, c in changes.items()
    }
    left = {n for n, c in changes.items() if any(reason.code == "orphaned" for reason in c.reasons)}
    orphans = {(name, bound[name].image): bound.pop(name) for name in left}
    return SavedPlan(draw(st.sampled_from(["acme", "default"])), plan.to_json(), bound, orphans)


@given(saved_plans())
def test_a_round_trip(plan: SavedPlan) -> None:
    document = json.loads(json.dumps(plan.to_json()))
    validator("saved_plan").validate(document)
    assert SavedPlan.from_json(document) == plan


@given(saved_plans(), st.data())
def test_any_edit_breaks_the_seal(plan: SavedPlan, data: st.DataObject) -> None:
    document: Any = json.loads(json.dumps(plan.to_json()))
    where = data.draw(st.sampled_from(["fleet", "bound", "plan", "version"]))
    edit: Any = {"fleet": "evil", "bound": {"a/b": None}, "plan": {"changes": []}, "version": 0}
    document[where] = edit[where]
    with pytest.raises(ValueError, match="seal"):
        SavedPlan.from_json(document)
