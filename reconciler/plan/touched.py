"""Which artifacts two commits ask for differently, whatever a registry holds."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.model.artifact import Place
from reconciler.plan.select import with_dependants

if TYPE_CHECKING:
    from reconciler.model.desired import Desired, Materials, Wanted
    from reconciler.model.name import ArtifactName

_NOWHERE = Place("")


def touched(before: Desired, after: Desired) -> frozenset[ArtifactName]:
    """The artifacts of `after` that are new, or made of something else than in `before`, and all that stands on them.
    Where they are written does not count. Linear in artifacts and edges."""
    if before.fleet.builder != after.fleet.builder:  # a part of every key
        return frozenset(after.wanted)
    own = {name for name, wanted in after.wanted.items() if _asks(wanted) != _asks(before.wanted.get(name))}
    return frozenset(with_dependants(after, own))


def dropped(before: Desired, after: Desired) -> frozenset[ArtifactName]:
    """The artifacts that only `before` asks for."""
    return frozenset(before.wanted.keys() - after.wanted.keys())


def _asks(wanted: Wanted | None) -> Any:
    if wanted is None:
        return None
    holds = tuple((problem.code, problem.message) for problem in wanted.holds)
    return replace(wanted.artifact, place=_NOWHERE), _content(wanted.materials), wanted.spec, holds


def _content(materials: Materials | None) -> Materials | None:
    """Without the commits of other repositories, which decide nothing: what they hold does."""
    if materials is None or not materials.origins:
        return materials
    folders = {name: replace(folder, origin=None) for name, folder in materials.folders.items()}
    return replace(materials, context=replace(materials.context, origin=None), folders=folders)
