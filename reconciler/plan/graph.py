"""What is wrong with a set of artifacts although each is right by itself: clashes, unknown parents, cycles."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from reconciler.cache.home import cache_layout, reserved, session_layout
from reconciler.model.problem import Problem
from reconciler.model.wording import meant
from reconciler.plan.unclear import unread_parents

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired, Wanted
    from reconciler.model.name import ArtifactName


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
        for artifact in artifacts if len(artifacts) > 1 else ():
            others = ", ".join(f"{a.name} ({a.place.file})" for a in artifacts if a.name != artifact.name)
            yield _problem(
                artifact,
                "tag-conflict",
                f"{artifact.name} and {others} both want {image}:{tag}",
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
    """Each cycle once, said of every artifact on it."""
    graph = {n: {p for p in w.artifact.parents if p in desired.wanted} for n, w in desired.wanted.items()}
    while any(graph.values()):
        try:
            TopologicalSorter(graph).prepare()
        except CycleError as error:
            cycle: list[ArtifactName] = list(reversed(error.args[1]))
            start = cycle.index(min(cycle[:-1]))
            ring = [*cycle[start:-1], *cycle[:start], cycle[start]]
            path = " → ".join(map(str, ring))
            for name in ring[:-1]:
                artifact = desired.wanted[name].artifact
                yield _problem(
                    artifact, "cycle", f"artifacts stand on one another in a circle: {path}", "cut one of them"
                )
                graph[name] = set()
        else:
            return
