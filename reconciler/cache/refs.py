"""Which caches a build of an artifact reads and writes, as references."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.cache import rules
from reconciler.cache.home import cache_layout
from reconciler.model.cache import CacheMode, Session
from reconciler.model.problem import LianError, Problem
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.cache.namespace import Layout
    from reconciler.model.cache import BuildMode, CachePolicy
    from reconciler.model.desired import Desired
    from reconciler.model.name import ArtifactName
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Reference


@dataclass(frozen=True, slots=True)
class PlatformRefs:
    """Of a build for one platform, in the order in which they are looked at."""

    platform: Platform
    reads: tuple[Reference, ...] = ()
    writes: tuple[Reference, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Part of schemas/json/cache_refs.json."""
        return {
            "platform": str(self.platform),
            "reads": list(map(str, self.reads)),
            "writes": list(map(str, self.writes)),
        }


@dataclass(frozen=True, slots=True)
class Refs:
    """What `lian cache refs` tells. `admitted_*` were asked for by whoever runs it, and the rules allow them."""

    artifact: ArtifactName
    mode: BuildMode
    revision: str
    policy: CachePolicy
    platforms: tuple[PlatformRefs, ...]
    admitted_imports: tuple[Reference, ...] = ()
    admitted_export: Reference | None = None

    def to_json(self) -> dict[str, Any]:
        """The form of schemas/json/cache_refs.json."""
        return {
            "kind": "cache_refs",
            "version": 1,
            "artifact": str(self.artifact),
            "revision": self.revision,
            "actor": self.mode.actor if isinstance(self.mode, Session) else None,
            "mode": self.policy.mode.value,
            "mounts": self.policy.mounts,
            "platforms": [each.to_json() for each in self.platforms],
            "cache_from": list(map(str, self.admitted_imports)),
            "cache_to": None if self.admitted_export is None else str(self.admitted_export),
        }


def _unknown(desired: Desired, name: ArtifactName) -> Problem:
    hint = meant(str(name), map(str, desired.wanted), "`lian diff --detailed` lists all artifacts")
    return Problem("artifact-unknown", f"this commit has no artifact {name}", hint=hint)


def refs_of(
    desired: Desired, name: ArtifactName, mode: BuildMode, cache_from: Sequence[str] = (), cache_to: str | None = None
) -> Refs:
    """Raises LianError for an artifact that the commit has not, an actor who has no sessions there, a cache that the
    rules do not admit, a namespace that has no place in the registry."""
    wanted = desired.wanted.get(name)
    if wanted is None:
        raise LianError((*desired.problems, _unknown(desired, name)))  # it may be in a directive that is invalid
    if problem := _not_an_actor(desired, name, mode):
        raise LianError(problem)
    artifact, host = wanted.artifact, wanted.artifact.cache_host
    layout = cache_layout(desired, host)
    imports, export = admitted(cache_from, cache_to, mode, name.workspace, host, layout)
    try:
        platforms = [_of_platform(artifact.cache, name, each, mode, host, layout) for each in artifact.platforms]
    except ValueError as error:
        hint = "rename the artifact, its workspace or the actor, or shorten registry.cache_prefix"
        message = f"a cache of {name} has no place in {host}"
        raise LianError(Problem("cache-name", message, cause=str(error), hint=hint)) from error
    return Refs(name, mode, desired.revision, artifact.cache, tuple(platforms), imports, export)


def _of_platform(
    policy: CachePolicy, name: ArtifactName, platform: Platform, mode: BuildMode, host: str, layout: Layout
) -> PlatformRefs:
    """With the policy off nothing is read or written but mounts, if these are kept."""
    place = (mode, name.workspace, name.artifact, platform)
    reads, writes = list[rules.Slot](), list[rules.Slot]()
    if policy.mode is not CacheMode.OFF:
        export = rules.export(*place)
        reads += rules.imports(*place)
        writes += (export, rules.previous(export))
    if policy.mounts:
        reads += rules.mounts_read(*place)
        writes.append(rules.mounts_written(*place))
    return PlatformRefs(
        platform, tuple(slot.at(host, layout) for slot in reads), tuple(slot.at(host, layout) for slot in writes)
    )


def _not_an_actor(desired: Desired, name: ArtifactName, mode: BuildMode) -> Problem | None:
    if not isinstance(mode, Session):
        return None
    access = desired.fleet.access.actors.get(mode.actor)
    if access is None:
        hint = "name the actor in policy.access.actors of lian.ncl"
        return Problem("actor-unknown", f"the fleet has no actor {mode.actor}", file="lian.ncl", hint=hint)
    if access.workspaces is not None and name.workspace not in access.workspaces:
        message = f"{mode.actor} has no sessions of {name.workspace}"
        hint = f"add it to policy.access.actors.{mode.actor}.workspaces of lian.ncl"
        return Problem("actor-workspace", message, file="lian.ncl", hint=hint)
    return None


def admitted(
    cache_from: Sequence[str], cache_to: str | None, mode: BuildMode, workspace: str, host: str, layout: Layout
) -> tuple[tuple[Reference, ...], Reference | None]:
    """What someone asks to read and to write, as the rules admit it. Raises LianError: all that is wrong together."""
    problems: list[Problem] = []
    imports: list[Reference] = []
    export = None
    for text in cache_from:
        try:
            imports.append(rules.admit_import(text, mode, workspace, host, layout))
        except LianError as error:
            problems += error.problems
    if cache_to is not None:
        try:
            export = rules.admit_export(cache_to, mode, workspace, host, layout)
        except LianError as error:
            problems += error.problems
    if problems:
        raise LianError(problems)
    return tuple(imports), export
