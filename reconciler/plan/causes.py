"""What is at the root of changes, so that those of one cause can be told together, however far they are from it."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeAlias

from reconciler.model.plan import Action, Reason, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.name import ArtifactName
    from reconciler.model.plan import Change, Plan

Causes: TypeAlias = "tuple[Reason, ...]"
"""Reasons without what is one artifact's alone."""

_ABOUT_A_PARENT = {ReasonCode.PARENT_CHANGED, ReasonCode.UNKNOWN, ReasonCode.INVALID, ReasonCode.UNSUPPORTED}
_OWN_VALUES = {ReasonCode.ABSENT, ReasonCode.TAG_DIFFERS}
"""Each artifact has its own tags and digests."""
_OF_THE_PASS = {ReasonCode.LIMITED, ReasonCode.STALE}
"""A person chose that the pass does not do it: no cause for there being something to do."""


@dataclass(frozen=True, slots=True)
class Group:
    """Changes of one action with the same causes. `behind` are those that have a cause only because something that they
    stand on has it."""

    action: Action
    causes: Causes
    own: tuple[Change, ...] = ()
    behind: tuple[Change, ...] = ()

    @property
    def waits(self) -> bool:
        """True if there is no cause but parents whose changes are not told here, and that may come out identical."""
        return all(cause.code is ReasonCode.PARENT_CHANGED and cause.new is None for cause in self.causes)

    @property
    def changes(self) -> tuple[Change, ...]:
        """All of them."""
        return (*self.own, *self.behind)


def grouped(plan: Plan) -> tuple[Group, ...]:
    """The changes that do something, or are held, by their causes; each where the plan has the first of it. Linear in
    changes and reasons."""
    roots: dict[ArtifactName, Causes] = {}
    groups: dict[tuple[Action, Causes], tuple[list[Change], list[Change]]] = defaultdict(lambda: ([], []))
    by_name = {str(change.artifact): change.artifact for change in plan.changes}
    for change in plan.changes:
        if change.action is Action.NONE:
            continue
        roots[change.artifact], is_behind = _roots(change, roots, by_name)
        groups[change.action, roots[change.artifact]][is_behind].append(change)
    return tuple(Group(action, causes, tuple(own), tuple(rest)) for (action, causes), (own, rest) in groups.items())


def inherited(plan: Plan, name: ArtifactName) -> tuple[tuple[ArtifactName, Reason], ...]:
    """Why there is something to do for what an artifact stands on, down to the root: of each such artifact that the
    plan changes the reasons of its own, the nearest first."""
    changes = {change.artifact: change for change in plan.changes if change.action is not Action.NONE}
    by_name = {str(change.artifact): change.artifact for change in plan.changes}
    found: dict[tuple[ArtifactName, Reason], None] = {}
    seen, open_ = {name}, [name]
    for one in open_:  # grows as parents are found
        for reason in changes[one].reasons if one in changes else ():
            parent = by_name.get(reason.subject or "") if reason.code in _ABOUT_A_PARENT else None
            if parent is None or parent not in changes:
                if one != name:
                    found[one, reason] = None
            elif parent not in seen:
                seen.add(parent)
                open_.append(parent)
    return tuple(found)


def _roots(
    change: Change, known: Mapping[ArtifactName, Causes], by_name: Mapping[str, ArtifactName]
) -> tuple[Causes, bool]:
    """Its causes, those of a parent that changes in the same plan being the parent's; and whether it has none but such.
    Parents come first in a plan."""
    found: dict[Reason, None] = {}
    followed = 0
    for reason in change.reasons:
        parent = by_name.get(reason.subject or "") if reason.code in _ABOUT_A_PARENT else None
        causes = known.get(parent) if parent else None
        followed += causes is not None
        found |= dict.fromkeys((_shared(reason),) if causes is None else causes)
    return tuple(found), 0 < followed == sum(reason.code not in _OF_THE_PASS for reason in change.reasons)


def _shared(reason: Reason) -> Reason:
    """What others may have in common with it: a file that differs is the same whatever else is in a context."""
    if reason.files:
        return replace(reason, old=None, new=None)
    if reason.code in _OWN_VALUES:
        return Reason(reason.code)
    return reason
