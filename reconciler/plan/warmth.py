"""Whether a build will find a cache, as far as that can be known before it looks: one HEAD for each platform of what is
to be built, and the records that the plan was made from.

A cache that is there may still be of no use to a build: what it holds, and whether it is whole, is not read here. Of
one that stands on something new nobody can say: its steps have to run again from there on, and others may not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cache.home import place_of
from reconciler.cache.rules import export
from reconciler.identity.inputs import freshness_leaves
from reconciler.model.cache import CacheMode, Ci
from reconciler.model.forecast import Warmth
from reconciler.model.observed import Absent, Found
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.problem import LianError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.identity.resolve import Resolution
    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Observed
    from reconciler.model.plan import Change, Plan
    from reconciler.model.reference import Reference


_BELOW = {ReasonCode.BASE_MOVED, ReasonCode.PARENT_CHANGED}
"""What an image stands on is another one."""


def caches_of(plan: Plan, desired: Desired) -> dict[ArtifactName, tuple[Reference, ...]]:
    """Build -> where CI's caches of it lie; nowhere for one that reads none: it keeps none, or is made anew."""
    builds = [change for change in plan.changes if change.action is Action.BUILD]
    return {c.artifact: () if c.replaces else _places(desired.wanted[c.artifact].artifact, desired) for c in builds}


def warmth(
    plan: Plan, caches: Mapping[ArtifactName, tuple[Reference, ...]], resolution: Resolution, observed: Observed
) -> dict[ArtifactName, Warmth]:
    """What to expect of each. Warm needs a cache of every platform: the coldest decides how long a build takes."""
    builds = [change for change in plan.changes if change.artifact in caches]
    return {c.artifact: _warmth(c, caches[c.artifact], resolution, observed) for c in builds}


def _places(artifact: Artifact, desired: Desired) -> tuple[Reference, ...]:
    if artifact.cache.mode is CacheMode.OFF:
        return ()
    workspace, own = artifact.name.workspace, artifact.cache.instead or artifact.name.artifact
    try:
        return tuple(
            place_of(desired, artifact, export(Ci(), workspace, own, platform)) for platform in artifact.platforms
        )
    except LianError:
        return ()  # its registry has no place for a cache; a build says so


def _warmth(change: Change, places: tuple[Reference, ...], resolution: Resolution, observed: Observed) -> Warmth:
    heads = [observed.heads.get(place) for place in places]
    if not heads or any(isinstance(head, Absent) for head in heads):
        return Warmth.COLD
    moved = change.key is None or any(reason.code in _BELOW for reason in change.reasons)
    if moved or not all(isinstance(head, Found) for head in heads):
        return Warmth.UNKNOWN
    return _fresh(resolution.desired.wanted[change.artifact].artifact, resolution, observed)


def _fresh(artifact: Artifact, resolution: Resolution, observed: Observed) -> Warmth:
    """Of caches that are there: a build that is asked to be fresh reads those alone that were made under the same
    freshness, which is that of the last build."""
    leaves = freshness_leaves(artifact, builder=resolution.desired.fleet.builder, moment=resolution.moment)
    if not leaves:
        return Warmth.WARM
    mine = (str(artifact.name), resolution.desired.fleet.name)
    records = observed.records_behind(artifact.image, artifact.tags)
    last = max((r for r in records if (r.artifact, r.fleet) == mine), key=lambda r: r.started, default=None)
    if last is None:
        return Warmth.UNKNOWN
    same = all(b.inputs.get(leaf) == value for b in last.platforms.values() for leaf, value in leaves.items())
    return Warmth.WARM if same else Warmth.COLD
