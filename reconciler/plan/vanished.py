"""If most of what was applied is gone at once, nobody removed it image by image: a wrong address, an account that may
not see, a registry restored from an old copy. Then all holds (design section 5)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.applied import Applied
from reconciler.model.observed import Absent, Found
from reconciler.model.plan import Action, Reason, ReasonCode
from reconciler.model.problem import Problem
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from reconciler.model.observed import Observed, Sighting
    from reconciler.model.plan import Change, Plan

FEWEST = 3
"""Fewer than that may well be meant to go, though they are most."""
_EFFECTS = {Action.BUILD, Action.RETAG, Action.PRUNE}


def some_are_gone(plan: Plan, observed: Observed) -> bool:
    """True if enough is absent for it to matter what was there before."""
    return sum(_is_there(change, observed) is False for change in plan.changes) >= FEWEST


def unless_vanished(plan: Plan, observed: Observed, remembered: Collection[str]) -> Plan:
    """The plan, or one that holds everything. What was applied before is told by what is still there, by the applied
    documents of the fleet, and by this machine, which has seen images of the `remembered` repositories in sync. What
    nobody knows of speaks neither for nor against it."""
    gone, there = [], 0
    for change in plan.changes:
        is_there, last = _is_there(change, observed), _last_tags(change, observed)
        if is_there or any(isinstance(head, Found) for head in _heads(change, last, observed)):
            there += 1
        elif is_there is False and (last or str(change.image) in remembered):
            gone.append(change)
    if len(gone) < FEWEST or len(gone) <= there:
        return plan
    problem = _problem(len(gone), len(gone) + there, str(gone[0].image))
    return replace(
        plan,
        changes=tuple(_held(change, problem) for change in plan.changes),
        orphans=tuple(_held(change, problem) for change in plan.orphans),
    )


def _last_tags(change: Change, observed: Observed) -> tuple[str, ...]:
    """What the artifact's tags were when lian last moved them."""
    document = observed.applied.get(change.image)
    if not isinstance(document, Applied):
        return ()
    return document.last_of(str(change.artifact))


def _is_there(change: Change, observed: Observed) -> bool | None:
    """Whether its content or one of its wanted tags is there; None if nobody knows. Of what is held one can know only
    that it is: where nothing was found, not all that might be there was asked for."""
    heads = _heads(change, change.tags, observed)
    if change.digest is not None or any(isinstance(head, Found) for head in heads):
        return True
    return False if change.action is not Action.HOLD and all(isinstance(head, Absent) for head in heads) else None


def _heads(change: Change, tags: Iterable[str], observed: Observed) -> list[Sighting | None]:
    """What these tags name; None where nobody has asked."""
    return [observed.heads.get(Reference(change.image, tag)) for tag in tags]


def _held(change: Change, problem: Problem) -> Change:
    if change.action not in _EFFECTS:
        return change
    reason = Reason(ReasonCode.UNKNOWN, None, problem.code)
    return change.held((reason, *change.reasons), [problem.of(str(change.artifact))])


def _problem(gone: int, before: int, example: str) -> Problem:
    return Problem(
        "mostly-vanished",
        f"{gone:,} of the {before:,} images that were applied before are gone, such as {example}",
        cause="so many at once look like a wrong registry, or an account that may not see them",
        hint="check the registry's address and account; if they were removed on purpose, give --allow-vanished",
    )
