"""Which builds may share a runner, and which registries these speak to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.identity.inputs import freshness_leaves
from reconciler.model.artifact import BaseImage, ParentImage
from reconciler.model.cache import CacheMode
from reconciler.model.canonical import canonical

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.identity.resolve import Resolution
    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired, Wanted
    from reconciler.model.name import ArtifactName
    from reconciler.model.reference import Repository


def freshness_of(artifact: Artifact, resolution: Resolution) -> str:
    """How fresh an artifact's builds are asked to be, as a text; empty where they are not. One that is forced takes
    nothing from before this pass, and another pass may well go on from what it leaves."""
    leaves = freshness_leaves(artifact, builder=resolution.desired.fleet.builder, moment=resolution.moment)
    text = canonical(leaves).decode() if leaves else ""
    return f"{text} forced {resolution.moment:.0f}".lstrip() if artifact.name in resolution.forced else text


def share_of(name: ArtifactName, resolution: Resolution, machine: str = "") -> str:
    """What its builds share a runner with: those of its workspace that are asked to be as fresh, and where machines
    have sizes those that need the same `machine`. A builder's own cache would give a build that is to be fresh what
    another one has just read of an old cache (ADR 054). Windows of `max_age` begin for each artifact at another time,
    so such an artifact shares with nobody."""
    artifact = resolution.desired.wanted[name].artifact
    own = f" {name.artifact}" if artifact.max_age else ""
    size = f" on {machine}" if machine else ""
    return f"{name.workspace} {freshness_of(artifact, resolution)}{own}{size}".rstrip()


def hosts_of_shares(desired: Desired, shares: Iterable[tuple[ArtifactName, str]]) -> Mapping[str, frozenset[str]]:
    """Share -> the hosts of everything that builds of these artifacts pull or push, checks and caches included."""
    found: dict[str, frozenset[str]] = {}
    for name, share in shares:
        found[share] = found.get(share, frozenset()).union(_hosts(desired.wanted[name], desired))
    return found


def _hosts(wanted: Wanted, desired: Desired) -> set[str]:
    artifact, materials = wanted.artifact, wanted.materials
    hosts = {artifact.image.host}
    if artifact.cache.mode is not CacheMode.OFF or artifact.cache.mounts:
        hosts.add(artifact.cache_host)
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
            if needs.frontend:
                hosts.add(needs.frontend.repository.host)
    return hosts


def frontends_of_shares(
    desired: Desired, shares: Iterable[tuple[ArtifactName, str]]
) -> Mapping[str, frozenset[Repository]]:
    """Share -> the repositories of the frontends that its builds run; shares that run none are left out."""
    found: dict[str, frozenset[Repository]] = {}
    for name, share in shares:
        materials = desired.wanted[name].materials
        used = (*materials.needs.values(), *materials.check_needs.values()) if materials else ()
        if repositories := {needs.frontend.repository for needs in used if needs.frontend}:
            found[share] = found.get(share, frozenset()) | repositories
    return found
