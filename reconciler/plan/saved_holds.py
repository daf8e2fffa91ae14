"""How a pass that follows a saved plan holds what it finds otherwise than the plan says."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.plan import Action, Change, Reason, ReasonCode
from reconciler.model.problem import Next, Problem

if TYPE_CHECKING:
    from reconciler.model.name import ArtifactName
    from reconciler.model.saved_plan import Bound
    from reconciler.plan.stale import Stale

IDLE = {Action.NONE, Action.HOLD}


def gone(name: ArtifactName, bound: Bound) -> Change:
    """What the plan says of one that a pass does not find any more."""
    reasons = (Reason(ReasonCode.ORPHANED, subject=str(name)),)
    return Change(name, bound.image, bound.tags, bound.platforms, bound.action, reasons)


def held(change: Change, why: Stale, hint: str) -> Change:
    """Of what is not as the plan says; `hint` tells what to try."""
    message = f"the plan is out of date: {why.message}"
    return holding(change, Problem("plan-stale", message, cause=why.moved, hint=hint))


def held_by_plan(change: Change, bound: Bound) -> Change:
    """What was held when the plan was made was not decided on: that is as it was shown, and nothing is out of date."""
    hint = "make a new plan once that is settled: lian diff --out"
    return holding(change, Problem("plan-held", f"the plan itself holds it: {bound.held}", hint=hint))


def held_by_others(change: Change, stale: str) -> Change:
    """Where the plan is to be all or nothing, and is out of date for those that `stale` names."""
    if change.action in IDLE:
        return change
    message = f"the plan is out of date for {stale}, and it is to be all or nothing"
    return holding(change, Problem("plan-strict", message, hint="make a new plan, or leave --strict out"))


def holding(change: Change, problem: Problem, code: ReasonCode = ReasonCode.STALE) -> Change:
    """The change, held for a problem that a person has to see to."""
    told = replace(problem, artifact=str(change.artifact), next=Next.PERSON)
    own = (reason for reason in change.reasons if reason.code is not ReasonCode.IN_SYNC)
    return change.held((Reason(code, None, problem.code), *own), [told])


def is_stale(change: Change) -> bool:
    """Whether it is held since the plan is out of date for it, or that cannot be told."""
    return any(problem.code in {"plan-stale", "orphans-unread"} for problem in change.holds)
