"""No more builds than a person allows for one pass: the rest is held, and named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.plan import Action, Reason, ReasonCode
from reconciler.model.problem import Next, Problem

if TYPE_CHECKING:
    from reconciler.model.name import ArtifactName
    from reconciler.model.plan import Change, Plan


def limited(plan: Plan, builds: int | None) -> Plan:
    """The plan with the first `builds` of its builds, those that may turn out not to be needed included; the others are
    held, and all that waits for them."""
    if builds is None:
        return plan
    changes: list[Change] = []
    held: set[ArtifactName] = set()
    for change in plan.changes:
        if change.action is Action.BUILD:
            over = builds <= 0 or not held.isdisjoint(change.waits_for)
            builds -= not over
            if over:
                held.add(change.artifact)
                change = _held(change)  # noqa: PLW2901 - the same change, held
        changes.append(change)
    return replace(plan, changes=tuple(changes))


def _held(change: Change) -> Change:
    hint = "the next pass goes on; --max-builds says how many"
    problem = Problem(
        "max-builds",
        "it is not built: this pass makes no more builds",
        artifact=str(change.artifact),
        hint=hint,
        next=Next.HOLD,
    )
    return change.held((Reason(ReasonCode.LIMITED, None, problem.code), *change.reasons), [problem])
