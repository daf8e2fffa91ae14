"""An artifact as its directive declares it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from reconciler.model.cache import CachePolicy

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.name import ArtifactName
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Reference, Repository
    from reconciler.model.tier import RunnerOverride


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is written: a path in the desired repo; line and column start at 1, 0 if not known."""

    file: str
    line: int = 0
    column: int = 0


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder of the desired commit; `include` (paths below it) narrows what is sent, empty means all."""

    path: str = "."
    include: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GitFolder:
    """A folder of another repository."""

    url: str
    rev: str = "HEAD"
    path: str = "."


@dataclass(frozen=True, slots=True)
class ParentImage:
    """The output of another artifact of the fleet."""

    artifact: ArtifactName


@dataclass(frozen=True, slots=True)
class BaseImage:
    """An image of some registry."""

    reference: Reference


NamedContext: TypeAlias = "Folder | GitFolder | ParentImage | BaseImage"


@dataclass(frozen=True, slots=True)
class Artifact:
    """One image that is wanted. Mappings are read-only by convention; their order carries no meaning."""

    name: ArtifactName
    image: Repository
    place: Place
    tags: tuple[str, ...]
    platforms: tuple[Platform, ...]
    context: Folder | GitFolder = field(default_factory=Folder)
    dockerfile: str = "Dockerfile"
    target: str | None = None
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, NamedContext] = field(default_factory=dict)
    secrets: Mapping[str, str] = field(default_factory=dict)
    """BuildKit's secret id -> logical secret name."""
    checks: tuple[str, ...] = ()
    language: str | None = None
    max_age: int | None = None
    """Seconds."""
    os_epoch: str | None = None
    source_date_epoch: int = 0
    runner: RunnerOverride | None = None
    cache: CachePolicy = field(default_factory=CachePolicy)
    registry: str | None = None
    """Host of the registry that its file or the fleet chooses, where its cache lies; the image may name another one.
    None is the image's own."""

    @property
    def cache_host(self) -> str:
        """Where its cache lies, see model.reference.Repository."""
        return self.image.host if self.registry is None else self.registry

    @property
    def parents(self) -> tuple[ArtifactName, ...]:
        """The artifacts this one names as contexts, sorted, each once."""
        found = {c.artifact for c in self.contexts.values() if isinstance(c, ParentImage)}
        return tuple(sorted(found) if len(found) > 1 else found)
