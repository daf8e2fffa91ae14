"""What artifacts stand on: images of others, and artifacts of the fleet, their parents."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from reconciler.model.artifact import BaseImage, ParentImage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired, Materials, Needs, Wanted
    from reconciler.model.name import ArtifactName
    from reconciler.model.reference import Reference


def images_of(artifact: Artifact, materials: Materials) -> set[Reference]:
    """The images by tag whose digests are inputs: bases, frontends and named image contexts in use."""
    found: set[Reference] = set()
    for needs in materials.needs.values():
        found.update(needs.images.values())
        if needs.frontend:
            found.add(needs.frontend)
        for name in needs.contexts:
            context = artifact.contexts[name]
            if isinstance(context, BaseImage):
                found.add(context.reference)
    return {reference for reference in found if reference.digest is None}


def parents_in_use(artifact: Artifact, materials: Materials) -> tuple[ArtifactName, ...]:
    """Parents that the Dockerfile really uses, on any platform, sorted."""
    return _parents(artifact, materials.needs.values())


def parents_of_checks(artifact: Artifact, materials: Materials) -> tuple[ArtifactName, ...]:
    """Parents that its checks use, likewise: they are no input of its key, and are waited for all the same."""
    return _parents(artifact, materials.check_needs.values())


def parents_of_build(wanted: Wanted) -> set[ArtifactName]:
    """Parents whose images a build takes in: in its own stages, and in those of its checks. None are known of what is
    held."""
    artifact, materials = wanted.artifact, wanted.materials
    return {*parents_in_use(artifact, materials), *parents_of_checks(artifact, materials)} if materials else set()


def _parents(artifact: Artifact, needs: Iterable[Needs]) -> tuple[ArtifactName, ...]:
    names = {name for one in needs for name in one.contexts}
    contexts = (artifact.contexts[name] for name in names)
    return tuple(sorted({c.artifact for c in contexts if isinstance(c, ParentImage)}))


def parents_first(desired: Desired) -> list[ArtifactName]:
    """Every artifact once, parents before children, else by name. The graph has no cycle (plan.graph refuses them)."""
    names = sorted(desired.wanted)
    graph = {n: [p for p in desired.wanted[n].artifact.parents if p in desired.wanted] for n in names}
    if not any(graph.values()):
        return names
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    order: list[ArtifactName] = []
    while ready := sorted(sorter.get_ready()):
        order.extend(ready)
        sorter.done(*ready)
    return order
