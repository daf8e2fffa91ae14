"""No more builds than a person allows for one pass: the rest is held, and named."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.plan import Action, Reason, ReasonCode
from reconciler.model.problem import Next, Problem

if TYPE_CHECKING:
    from reconciler.model.desired import Desired
    from reconciler.model.name import ArtifactName
    from reconciler.model.plan import Change, Plan


def may_build(plan: Plan, desired: Desired) -> tuple[ArtifactName, ...]:
    """What the plan builds, and what is to be copied, if it may turn out that it must not be."""
    signed = desired.fleet.policy.sign is not None
    return tuple(
        c.artifact
        for c in plan.changes
        if c.action is Action.BUILD or (signed and c.action is Action.RETAG and c.source is not None)
    )


def limited(plan: Plan, desired: Desired, builds: int | None) -> Plan:
    """The plan with the first `builds` of what it may build, those that may turn out not to be needed included; the
    others are held, and all that waits for them."""
    if builds is None:
        return plan
    changes: list[Change] = []
    held: set[ArtifactName] = set()
    counted = frozenset(may_build(plan, desired))
    for change in plan.changes:
        if change.artifact in counted:
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
