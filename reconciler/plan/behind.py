"""What is built behind parents that it stands on, or that its checks do: it waits for them, and is held if they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.identity.ancestry import parents_of_checks
from reconciler.identity.held import Held
from reconciler.model.plan import Action, Reason, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.identity.resolve import Resolution
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Observed
    from reconciler.model.plan import Change
    from reconciler.plan.holding import Holding


def behind(change: Change, changes: Mapping[ArtifactName, Change]) -> Change:
    """The change, held if a parent it waits for is: that one will not be built in this pass."""
    for parent in change.waits_for:
        held = changes.get(parent)
        if held is not None and held.action is Action.HOLD:
            reasons = [
                Reason(ReasonCode.UNKNOWN, None, problem.code, subject=str(parent)) for problem in held.holds[:1]
            ]
            return change.held(reasons, held.holds[:1])
    return change


def behind_checks(
    change: Change,
    holding: Holding,
    resolution: Resolution,
    observed: Observed,
    changes: Mapping[ArtifactName, Change],
) -> Change:
    """A build that is checked first: it waits for what its checks stand on too, and is held if that is, or if nobody
    can tell what is there of it."""
    wanted = holding.wanted
    parents = parents_of_checks(wanted.artifact, wanted.materials) if wanted.materials else ()
    for parent in parents:
        outputs = resolution.outputs(parent, wanted.artifact.platforms, observed)
        if isinstance(outputs, Held):
            return holding.change(outputs.problems, holding.desired.wanted[parent])
    due = [parent for parent in parents if changes[parent].action is not Action.NONE]
    return behind(replace(change, waits_for=tuple(dict.fromkeys((*change.waits_for, *due)))), changes)
