"""If most of what was applied is gone at once, nobody removed it image by image: a wrong address, an account that may
not see, a registry restored from an old copy. Then all holds (design section 5)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.applied import Applied
from reconciler.model.observed import Absent
from reconciler.model.plan import Action, Reason, ReasonCode
from reconciler.model.problem import Problem
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.model.observed import Observed
    from reconciler.model.plan import Change, Plan

FEWEST = 3
"""Fewer images than that may well be gone on purpose."""
_EFFECTS = {Action.BUILD, Action.RETAG, Action.PRUNE}


def some_are_gone(plan: Plan, observed: Observed) -> bool:
    """True if enough is absent for it to matter what was there before."""
    return sum(_gone(change, observed) for change in plan.changes) >= FEWEST


def unless_vanished(plan: Plan, observed: Observed, fleet: str, remembered: Collection[str]) -> Plan:
    """The plan, or one that holds everything. What was applied before is told by the applied documents of the fleet,
    and by this machine, which has seen images of the `remembered` repositories in sync."""
    applied = _applied(observed, fleet)
    before = [c for c in plan.changes if str(c.artifact) in applied or str(c.image) in remembered]
    gone = [change for change in before if _gone(change, observed)]
    if len(gone) < FEWEST or 2 * len(gone) <= len(before):
        return plan
    problem = _problem(len(gone), len(before), str(gone[0].image))
    return replace(
        plan,
        changes=tuple(_held(change, problem) for change in plan.changes),
        orphans=tuple(_held(change, problem) for change in plan.orphans),
    )


def _applied(observed: Observed, fleet: str) -> set[str]:
    documents = [a for a in observed.applied.values() if isinstance(a, Applied) and a.fleet == fleet]
    return {tag.artifact for document in documents for tag in document.tags.values()}


def _gone(change: Change, observed: Observed) -> bool:
    """Neither its content nor any of its tags is there."""
    if change.digest is not None or change.action is Action.HOLD:
        return False
    return all(isinstance(observed.heads.get(Reference(change.image, tag)), Absent) for tag in change.tags)


def _held(change: Change, problem: Problem) -> Change:
    if change.action not in _EFFECTS:
        return change
    said = problem.of(str(change.artifact))
    reason = Reason(ReasonCode.UNKNOWN, None, problem.code)
    return replace(change, action=Action.HOLD, reasons=(reason, *change.reasons), holds=(said,), conditional=False)


def _problem(gone: int, before: int, example: str) -> Problem:
    return Problem(
        "mostly-vanished",
        f"{gone:,} of the {before:,} images that were applied before are gone, such as {example}",
        cause="so many at once look like a wrong registry, or an account that may not see them",
        hint="check the registry's address and account; if they were removed on purpose, give --allow-vanished",
    )
