"""What one commit asks for."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, NamedTuple

from reconciler.model.applied import History
from reconciler.model.rule import Rulebook
from reconciler.model.wording import short

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
    from reconciler.model.tier import BuildSpec, Ladder


@dataclass(frozen=True, slots=True)
class Origin:
    """Another repository's commit that a folder is read from. No part of a key: what the folder holds decides."""

    url: str
    """Without credentials."""
    rev: str
    """What the directive asks for."""
    commit: str

    def shown(self, path: str) -> str:
        """A path of it as people are told of it."""
        return f"{self.url}@{short(self.commit)}:{path}"

    def to_json(self) -> dict[str, str]:
        """As build records have it."""
        return {"url": self.url, "rev": self.rev, "commit": self.commit}

    @classmethod
    def from_json(cls, document: Mapping[str, object]) -> Origin:
        """Raises KeyError, TypeError or ValueError for anything else."""
        url, rev, commit = (document[name] for name in ("url", "rev", "commit"))
        if not (isinstance(url, str) and isinstance(rev, str) and isinstance(commit, str)):
            raise ValueError("not where a folder is from")
        return cls(url, rev, commit)


@dataclass(frozen=True, slots=True)
class SentFolder:
    """A context folder after `include` and the ignore file: its Merkle root, and what is needed to export it."""

    root: str
    path: str
    include: tuple[str, ...] = ()
    ignore: str | None = None
    """Path (in the repo) of the ignore file in force, if there is one."""
    origin: Origin | None = None
    """Where it is from, if not from the desired commit; then paths are that repository's."""

    def shown(self, path: str) -> str:
        """A path of its repository as people are told of it."""
        return self.origin.shown(path) if self.origin else path


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


class Remote(NamedTuple):
    """What an ADD fetches from a URL or from git, whether or not anything pins it."""

    location: str | None
    """As BuildKit is told it; None where only the build will know."""
    written: str
    """As in the Dockerfile."""
    line: int
    pinned: bool
    """Whether the Dockerfile itself says what it has to be."""


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
    stages: tuple[str, ...] = ()
    """Names of the Dockerfile's stages: an image that nobody has may be one of them, mistyped. No part of a key."""
    remotes: tuple[Remote, ...] = ()
    """Those of `fetched` and all others: what rules are about. No part of a key."""

    @property
    def taken_in(self) -> dict[str, Reference]:
        """Every image that the Dockerfile names, with what reads it: as written -> what it means."""
        return {**self.images, **({str(self.frontend): self.frontend} if self.frontend else {})}


@dataclass(frozen=True, slots=True)
class Materials:
    """What the commit holds for one artifact."""

    context: SentFolder
    dockerfile_path: str
    """Path in the repo that the context is of."""
    dockerfile: str
    """sha256 of its bytes, 64 hex."""
    folders: Mapping[str, SentFolder] = field(default_factory=dict)
    """Named contexts that are folders, of the commit or of other repositories."""
    needs: Mapping[Platform, Needs] = field(default_factory=dict)
    check_needs: Mapping[Platform, Needs] = field(default_factory=dict)
    """The same for the `checks` targets: pinned when they run, never part of a key."""

    @property
    def origins(self) -> dict[str, Origin]:
        """Of contexts from other repositories, by name: the main one's is empty."""
        folders = {"": self.context, **self.folders}
        return {name: folder.origin for name, folder in sorted(folders.items()) if folder.origin}


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
class Unclear:
    """What of a commit's directives is so wrong that nobody can say what they ask for."""

    files: Mapping[str, Problem] = field(default_factory=dict)
    """Directive files that cannot be read, sorted -> what is wrong first with each. They may declare anything."""
    artifacts: Mapping[ArtifactName, Problem] = field(default_factory=dict)
    """Declared by files that can be read, and in no `Desired.wanted` -> what is wrong with each."""

    def may_declare(self, name: ArtifactName) -> bool:
        """Whether an artifact that is not wanted, as far as can be told, may be asked for all the same."""
        return bool(self.files) or name in self.artifacts


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
    rules: Rulebook = field(default_factory=Rulebook, repr=False)
    """What artifacts have to keep. It is here as it was read; `plan.rules` judges."""
    ladder: Ladder | None = field(default=None, repr=False)
    """What runners may be, where anything names a tier."""
    unclear: Unclear = field(default_factory=Unclear, repr=False)
    """What is not in `wanted` and may be asked for all the same."""
    unread: frozenset[str] = field(default=frozenset(), repr=False)
    """Names of what the commit asks for beside, where a part of its directives was read."""
    others: Mapping[ArtifactName, Wanted] = field(default_factory=dict, repr=False)
    """What the commit asks for beside, where a pass is about a part of it."""
    lock: Lock | None = field(default=None, repr=False)
    """What pins the commit's moving parts, where it has such a file and it is heeded; `wanted` is pinned already."""

    @property
    def committed(self) -> bool:
        """False for a folder that lies in no repository."""
        return bool(self.revision)
