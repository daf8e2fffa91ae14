"""Exit codes: one table, one precedence."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest

from reconciler.cli import exits
from reconciler.model.name import ArtifactName
from reconciler.model.outcome import Outcome, Result, Status
from reconciler.model.plan import Action, Change, Merge, Plan, Reason, ReasonCode
from reconciler.model.problem import Problem
from tests.commits import artifact

PROBLEM = Problem("cycle", "a circle", artifact="shop/bad")


def change(action: Action, name: str = "shop/api") -> Change:
    a = artifact(name)
    return Change(a.name, a.image, a.tags, a.platforms, action, (Reason(ReasonCode.IN_SYNC),))


@pytest.mark.parametrize(
    ("actions", "problems", "code"),
    [
        ([], [], 0),
        ([Action.NONE], [], 0),
        ([Action.BUILD], [], 2),
        ([Action.RETAG, Action.NONE], [], 2),
        ([Action.PRUNE], [], 2),
        ([Action.HOLD], [], 4),
        ([Action.HOLD, Action.BUILD], [], 4),
        ([Action.NONE], [PROBLEM], 1),
        ([Action.HOLD, Action.BUILD], [PROBLEM], 1),
    ],
)
def test_diff_ends_with(actions: list[Action], problems: list[Problem], code: int) -> None:
    plan = Plan("0" * 40, tuple(change(action) for action in actions), tuple(problems))
    assert exits.of_plan(plan) == code


@pytest.mark.parametrize(
    ("statuses", "problems", "code"),
    [
        ([], [], 0),
        ([Status.DONE, Status.NONE], [], 0),
        ([Status.FAILED, Status.DONE], [], 3),
        ([Status.SKIPPED], [], 3),
        ([Status.HELD, Status.DONE], [], 4),
        ([Status.HELD, Status.FAILED], [], 3),
        ([Status.DONE], [PROBLEM], 1),
        ([Status.FAILED, Status.HELD], [PROBLEM], 1),
    ],
)
def test_reconcile_ends_with(statuses: list[Status], problems: list[Problem], code: int) -> None:
    name = ArtifactName("shop", "api")
    results = tuple(Result(name, Action.BUILD, status) for status in statuses)
    assert exits.of_outcome(Outcome("0" * 40, results, tuple(problems))) == code


def test_what_is_invalid_counts_as_an_error_alone() -> None:
    plan = Plan("0" * 40, (change(Action.HOLD, "shop/bad"),), (PROBLEM,))
    assert exits.of_plan(plan) == 1
    assert exits.of_plan(replace(plan, problems=())) == 4


def held(*codes: str) -> Change:
    return replace(change(Action.HOLD), holds=tuple(Problem(code, "held") for code in codes))


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ([held("registry-proposed")], 2),
        ([held("git-proposed", "registry-proposed"), change(Action.BUILD)], 2),
        ([held("git-proposed", "registry-unreachable")], 4),
        ([held("git-proposed"), held("registry-unreachable")], 4),
        ([change(Action.HOLD)], 4),
    ],
)
def test_what_waits_for_the_merge_alone_is_no_failure_of_a_preview(changes: list[Change], code: int) -> None:
    plan = Plan("0" * 40, tuple(changes), merge=Merge("a" * 40, "b" * 40, "main", "topic"))
    assert exits.of_plan(plan) == code
    assert exits.of_plan(replace(plan, problems=(PROBLEM,))) == 1
    assert exits.of_plan(replace(plan, merge=None)) == 4  # nothing is merged, so nothing ends the wait


@pytest.mark.parametrize("codes", list(itertools.permutations([130, 1, 3, 4, 2])))
def test_the_precedence_is_130_1_3_4_2(codes: tuple[int, ...]) -> None:
    order = [130, 1, 3, 4, 2]
    for count in range(len(codes) + 1):
        assert exits.worst(codes[:count]) == next((code for code in order if code in codes[:count]), 0)
