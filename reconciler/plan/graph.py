"""What is wrong with a set of artifacts although each is right by itself: clashes, unknown parents, cycles."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.cache.home import cache_layout, reserved, session_layout
from reconciler.model.problem import Problem
from reconciler.model.wording import meant, some
from reconciler.plan.unclear import unread_parents

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired, Wanted
    from reconciler.model.name import ArtifactName

_ON_A_RING = 20
"""Artifacts on a circle that are named: each of them is told of all."""


def checked(desired: Desired) -> Desired:
    """The same desired state, with every artifact held that cannot stand beside the others.

    The problems found are added to `Desired.problems`; artifacts that no problem names are left as they are. What
    stands on what nobody can tell of is held only: it is not wrong itself.
    """
    found = [*_clashes(desired), *_mixed(desired), *_reserved(desired), *_parents(desired), *_cycles(desired)]
    unsure = list(unread_parents(desired))
    if not found and not unsure:
        return desired
    wanted = dict(desired.wanted)
    for name, problem in unsure:
        wanted[name] = replace(wanted[name], materials=None, holds=(*wanted[name].holds, problem))
    for name, problem in found:
        wanted[name] = invalid(wanted[name].held(problem))
    return replace(desired, wanted=wanted, problems=(*desired.problems, *(problem for _, problem in found)))


def invalid(wanted: Wanted) -> Wanted:
    """The same without materials: nothing is asked of the registry for it, and its parents do not matter."""
    return replace(wanted, materials=None, artifact=replace(wanted.artifact, contexts={}))


def _problem(artifact: Artifact, code: str, message: str, hint: str) -> tuple[ArtifactName, Problem]:
    return artifact.name, Problem(code, message, artifact=str(artifact.name), hint=hint).at(artifact.place)


def _clashes(desired: Desired) -> Iterator[tuple[ArtifactName, Problem]]:
    """Two artifacts that want the same tag of the same repository: neither is built."""
    claims: dict[tuple[str, str], list[Artifact]] = defaultdict(list)
    for name in sorted(desired.wanted):
        artifact = desired.wanted[name].artifact
        for tag in dict.fromkeys(artifact.tags):
            claims[str(artifact.image), tag].append(artifact)
    for (image, tag), artifacts in sorted(claims.items()):
        if len(artifacts) == 1:
            continue
        told, both = [f"{a.name} ({a.place.file})" for a in artifacts], "both" if len(artifacts) == 2 else "all"
        for place, artifact in enumerate(artifacts):
            others = some(told[:place] + told[place + 1 :])
            yield _problem(
                artifact,
                "tag-conflict",
                f"{artifact.name} and {others} {both} want {image}:{tag}",
                "give one of them another image or another tag",
            )


def _mixed(desired: Desired) -> Iterator[tuple[ArtifactName, Problem]]:
    """Prefixes that would have sessions write where CI reads: nothing of that registry is built."""
    hosts = {host for host in desired.registries if cache_layout(desired, host).meets(session_layout(desired, host))}
    for name in sorted(desired.wanted) if hosts else ():
        artifact = desired.wanted[name].artifact
        if artifact.cache_host in hosts:
            message = "`cache_prefix` and `images_prefix` would have the images of sessions lie among the caches"
            hint = "give them prefixes of which neither begins with the other"
            yield name, Problem("cache-prefix-mixed", message, file="lian.ncl", artifact=str(name), hint=hint)


def _reserved(desired: Desired) -> Iterator[tuple[ArtifactName, Problem]]:
    """Images that would lie where only caches or sessions may write: whoever wrote the directive would write there."""
    for name in sorted(desired.wanted):
        artifact = desired.wanted[name].artifact
        if (whose := reserved(desired, artifact.image)) is not None:
            message = f"{artifact.image.path} lies where {whose} are kept"
            yield _problem(artifact, "image-reserved", message, "give the image another path")


def _parents(desired: Desired) -> Iterator[tuple[ArtifactName, Problem]]:
    names = [str(name) for name in desired.wanted]
    for name in sorted(desired.wanted):
        artifact = desired.wanted[name].artifact
        for parent in artifact.parents:
            if parent not in desired.wanted:
                if desired.unclear.may_declare(parent):
                    continue  # it is held, and not for a mistake of its own
                hint = meant(str(parent), names, "name an artifact of some directive")
                message = f"{name} stands on {parent}, and no directive declares that artifact"
                yield _problem(artifact, "parent-unknown", message, hint)
                continue
            lacking = set(artifact.platforms) - set(desired.wanted[parent].artifact.platforms)
            if lacking:
                platforms = ", ".join(map(str, sorted(lacking)))
                message = f"{name} wants {platforms}, and its parent {parent} is not built for that"
                yield _problem(artifact, "parent-platform-missing", message, f"add {platforms} to {parent}")


def _cycles(desired: Desired) -> Iterator[tuple[ArtifactName, Problem]]:
    """Circles, said of every artifact on them. Of two that meet in an artifact one is told: it has to be cut anyway."""
    graph = {name: [p for p in w.artifact.parents if p in desired.wanted] for name, w in desired.wanted.items()}
    for ring in _rings(graph):
        start = ring.index(min(ring))
        ring = [*ring[start:], *ring[:start]]  # noqa: PLW2901 - the same, from its first name
        more = [f"{len(ring) - _ON_A_RING:,} more"] if len(ring) > _ON_A_RING else []
        path = " → ".join(map(str, (*ring[:_ON_A_RING], *more, ring[0])))
        message = f"artifacts stand on one another in a circle: {path}"
        for name in ring:
            yield _problem(desired.wanted[name].artifact, "cycle", message, "cut one of them")


def _rings(graph: Mapping[ArtifactName, Sequence[ArtifactName]]) -> Iterator[list[ArtifactName]]:
    """Circles of which no two meet, and without whose artifacts there is none; each from child to parent. One walk that
    goes on from before each circle it finds, so linear in artifacts and edges."""
    seen: set[ArtifactName] = set()
    for root in sorted(graph):
        path = {} if root in seen else {root: iter(graph[root])}  # each with the parents that are still to be visited
        seen.add(root)
        while path:
            parent = next(path[next(reversed(path))], None)
            if parent is None:
                path.popitem()
            elif parent in path:
                yield _cut_off(path, parent)
            elif parent not in seen:
                seen.add(parent)
                path[parent] = iter(graph[parent])


def _cut_off(path: dict[ArtifactName, Iterator[ArtifactName]], first: ArtifactName) -> list[ArtifactName]:
    """The end of the path, from this one on; it is taken off."""
    ring: list[ArtifactName] = []
    while not ring or ring[-1] != first:
        ring.append(path.popitem()[0])
    return ring[::-1]
