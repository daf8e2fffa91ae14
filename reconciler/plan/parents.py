"""Inputs with the names of parents: an image does not tell of which artifact it is, and may not be known yet."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from reconciler.model.artifact import ParentImage
from reconciler.model.plan import Reason, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.identity.inputs import Inputs
    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Needs
    from reconciler.model.platform import Platform

_NAME = "artifact"
"""The key of a parent's name in the leaf of its context."""


def with_parents(artifact: Artifact, needs: Needs, inputs: Inputs) -> Inputs:
    """The inputs of a platform with the name of the artifact in each leaf of a parent, beside its image if that is
    known."""
    used = ((name, artifact.contexts[name]) for name in needs.contexts)
    parents = {name: str(context.artifact) for name, context in used if isinstance(context, ParentImage)}
    if not parents:
        return inputs
    contexts = inputs.get("contexts", {})
    named = {name: {**contexts.get(name, {}), _NAME: parent} for name, parent in parents.items()}
    return {**inputs, "contexts": {**contexts, **named}}


def by_name(inputs: Inputs) -> Inputs:
    """Such inputs without the images of parents."""
    contexts = inputs.get("contexts", {})
    return {**inputs, "contexts": {name: _parent(leaf) or leaf for name, leaf in contexts.items()}}


def other_parents(
    old: Mapping[Platform, Mapping[str, Any]], new: Mapping[Platform, Mapping[str, Any]]
) -> tuple[Reason, ...]:
    """Where a context means another artifact, or means one now or no more, by name; `old` and `new` are such inputs."""
    found: dict[Reason, None] = {}
    for platform in sorted(old.keys() & new.keys()):
        before, after = (made[platform].get("contexts", {}) for made in (old, new))
        for name in sorted(before.keys() | after.keys()):
            was, now = before.get(name, {}), after.get(name, {})
            if was.get(_NAME) != now.get(_NAME):
                found[Reason(ReasonCode.NAMED_CONTEXT_CHANGED, _told(was), _told(now), subject=name)] = None
    return tuple(found)


def _parent(leaf: Mapping[str, str]) -> dict[str, str]:
    return {_NAME: leaf[_NAME]} if _NAME in leaf else {}


def _told(leaf: Mapping[str, str]) -> str | None:
    """The artifact's name, else the one digest that there is."""
    return leaf.get(_NAME) or next(iter(leaf.values()), None)
