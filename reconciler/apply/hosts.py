"""Which registries the builds of a workspace speak to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.artifact import BaseImage, ParentImage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.desired import Desired, Wanted
    from reconciler.model.name import ArtifactName


def hosts_of_workspaces(desired: Desired, building: Iterable[ArtifactName]) -> Mapping[str, frozenset[str]]:
    """Workspace -> the hosts of everything that builds of these artifacts pull or push, checks included."""
    found: dict[str, frozenset[str]] = {}
    for name in building:
        found[name.workspace] = found.get(name.workspace, frozenset()).union(_hosts(desired.wanted[name], desired))
    return found


def _hosts(wanted: Wanted, desired: Desired) -> set[str]:
    artifact, materials = wanted.artifact, wanted.materials
    hosts = {artifact.image.host}
    if (sign := desired.fleet.policy.sign) and sign.scanner:
        hosts.add(sign.scanner.repository.host)
    for context in artifact.contexts.values():
        if isinstance(context, BaseImage):
            hosts.add(context.reference.repository.host)
        elif isinstance(context, ParentImage) and (parent := desired.wanted.get(context.artifact)):
            hosts.add(parent.artifact.image.host)
    if materials is not None:
        for needs in (*materials.needs.values(), *materials.check_needs.values()):
            hosts |= {reference.repository.host for reference in needs.images.values()}
    return hosts
