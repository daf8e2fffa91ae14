"""What one commit asks for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.model.applied import History

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.artifact import Artifact
    from reconciler.model.cache import CacheMount
    from reconciler.model.fleet import Fleet, RegistrySettings
    from reconciler.model.lock import Lock
    from reconciler.model.moving import Part
    from reconciler.model.name import ArtifactName
    from reconciler.model.platform import Platform
    from reconciler.model.problem import Problem
    from reconciler.model.reference import Reference
    from reconciler.model.tier import BuildSpec


@dataclass(frozen=True, slots=True)
class SentFolder:
    """A context folder after `include` and the ignore file: its Merkle root, and what is needed to export it."""

    root: str
    path: str
    include: tuple[str, ...] = ()
    ignore: str | None = None
    """Path (in the repo) of the ignore file in force, if there is one."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """What an ADD fetches from outside, where nothing in the Dockerfile says what it has to be."""

    location: str
    """As BuildKit is told it, variables put in."""
    part: Part
    """Under this name lian.lock pins it."""
    line: int
    pin: str | None = None
    """What it is pinned to: the digest of its content, or a commit."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What a Dockerfile asks from outside for one platform, of the stages that its target reaches."""

    images: Mapping[str, Reference] = field(default_factory=dict)
    """As written in the Dockerfile (arguments filled in) -> the image it means."""
    contexts: tuple[str, ...] = ()
    """Names of the named contexts in use."""
    mounts: tuple[CacheMount, ...] = ()
    """The cache mounts that are kept between builds; none unless the artifact's cache policy says so. No part of a
    key."""
    fetched: tuple[Fetched, ...] = ()
    """By location. Those that are pinned are part of the key."""
    frontend: Reference | None = None
    """The image that its `# syntax=` line names, where that is not what BuildKit has inside."""


@dataclass(frozen=True, slots=True)
class Materials:
    """What the commit holds for one artifact."""

    context: SentFolder
    dockerfile_path: str
    """Path in the repo."""
    dockerfile: str
    """sha256 of its bytes, 64 hex."""
    folders: Mapping[str, SentFolder] = field(default_factory=dict)
    """Named contexts that are folders of the commit."""
    needs: Mapping[Platform, Needs] = field(default_factory=dict)
    check_needs: Mapping[Platform, Needs] = field(default_factory=dict)
    """The same for the `checks` targets: pinned when they run, never part of a key."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """One artifact of the commit; `materials` is None exactly when `holds` says why nothing can be decided."""

    artifact: Artifact
    materials: Materials | None
    holds: tuple[Problem, ...] = ()
    spec: BuildSpec | None = None
    """What the `.build-spec.ncl` of its context says; no input of anything but its runner's size."""

    def held(self, problem: Problem) -> Wanted:
        """The same artifact, held for this reason too."""
        return replace(self, holds=(*self.holds, problem.of(str(self.artifact.name))))


@dataclass(frozen=True, slots=True)
class Desired:
    """Everything one commit asks for. `problems` are what is invalid in it; the rest stands all the same."""

    revision: str
    """Empty where a folder that lies in no repository stands for a commit."""
    fleet: Fleet
    wanted: Mapping[ArtifactName, Wanted] = field(default_factory=dict)
    registries: Mapping[str, RegistrySettings] = field(default_factory=dict)
    """host (see model.reference.Repository) -> settings, for the fleet's and the directives' registries."""
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    """Sentences for stderr, such as the count of uncommitted changes."""
    history: History = field(default_factory=lambda: History(""))
    """Where the commit stands among others."""
    source: str | None = field(default=None, repr=False)
    """The URL of the desired repo, None where it has none. It may hold a password: `provenance.repository_uri` leaves
    that out."""
    others: Mapping[ArtifactName, Wanted] = field(default_factory=dict, repr=False)
    """What the commit asks for beside, where a pass is about a part of it."""
    lock: Lock | None = field(default=None, repr=False)
    """What pins the commit's moving parts, where it has such a file and it is heeded; `wanted` is pinned already."""

    @property
    def committed(self) -> bool:
        """False for a folder that lies in no repository."""
        return bool(self.revision)
