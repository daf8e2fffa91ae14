"""The planner's cases: what was applied, what is wanted now, what the registry was made to say, and the plan."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.plan import Action, ReasonCode
from reconciler.plan.compare import Overrides
from tests.plan.evidence import MOMENT, Evidence, commit_of, plan

_FILES = sorted((Path(__file__).parent / "cases").glob("*.json"))
CASES = {f"{file.stem}: {name}": case for file in _FILES for name, case in json.loads(file.read_text("utf-8")).items()}
NOT_PLANNED_YET = {Action.PRUNE}
GIVEN_ELSEWHERE = {ReasonCode.FORCED, ReasonCode.LIMITED, ReasonCode.ORPHANED, ReasonCode.STALE}
"""By what a person chooses, and by what no commit wants."""


def _evidence(case: dict[str, Any]) -> Evidence:
    evidence = Evidence()
    for applied in ("before", "also"):
        if applied in case:
            evidence.apply(commit_of(case[applied]).desired)
    for what, state in case.get("registry", {}).items():
        if what.startswith("platforms of "):
            _without_platforms(evidence, what.removeprefix("platforms of "))
        else:
            evidence.set(what, state)
    return evidence


def _without_platforms(evidence: Evidence, image: str) -> None:
    whole = next(h for r, h in evidence.heads.items() if r.repository.path == image and r.tag == "latest")
    for reference, head in evidence.heads.items():
        if reference.repository.path == image and head != whole:
            evidence.heads[reference] = None


def _shows(expected: Any, got: Any) -> bool:
    """Every field that the case names is as it says."""
    if isinstance(expected, dict):
        return isinstance(got, dict) and all(_shows(value, got.get(key)) for key, value in expected.items())
    if isinstance(expected, list):
        return isinstance(got, list) and len(expected) == len(got) and all(map(_shows, expected, got))
    return bool(expected == got)


@pytest.mark.parametrize("name", CASES)
def test_the_plan_is(name: str) -> None:
    case = CASES[name]
    evidence = _evidence(case)
    evidence.lineage.update(case.get("lineage", {}))
    overrides = Overrides(**case.get("overrides", {}))
    moment = MOMENT + case.get("later", 0)
    made = plan(commit_of(case["now"]), evidence, moment, overrides, case.get("remembered", ()))
    document = made.to_json()
    shown = json.dumps(document, indent=1, ensure_ascii=False)
    assert _shows(case["plan"], document["changes"]), shown
    assert [p["code"] for p in document["problems"]] == case.get("problems", []), shown
    assert all(any(hint == p.hint for p in made.problems) for hint in case.get("hints", ())), shown
    assert all(any(text in p.message for p in made.problems) for text in case.get("messages", ())), shown
    assert all(p.file and p.line and p.column and p.hint for p in made.problems)
    assert all(change.reasons for change in made.changes)
    assert all(bool(c.holds) == (c.action is Action.HOLD) for c in made.changes)
    assert not any(c.conditional or c.replaces for c in made.changes if c.action is Action.HOLD)
    holds = [problem for change in made.changes for problem in change.holds]
    assert all(any(hint in (p.hint or "") for p in holds) for hint in case.get("hold_hints", ())), shown


def test_every_action_and_every_reason_has_a_case() -> None:
    changes = [change for case in CASES.values() for change in case["plan"]]
    assert {change["action"] for change in changes} == {a.value for a in set(Action) - NOT_PLANNED_YET}
    codes = {reason["code"] for change in changes for reason in change.get("reasons", ())}
    assert codes == {code.value for code in set(ReasonCode) - GIVEN_ELSEWHERE}


def test_a_content_tag_is_never_asked_for_before_its_key_is_known() -> None:
    evidence = Evidence()
    plan(commit_of({"artifacts": {"shop/api": {}}}), evidence)
    assert evidence.rounds == 2, "one for tags, one for who applied what"
