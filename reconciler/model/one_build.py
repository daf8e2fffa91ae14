"""One build as a person asks for it: by flags, or by a directive file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from reconciler.model.name import ArtifactName
    from reconciler.model.reference import Repository

DOCKERFILE = "Dockerfile"


@dataclass(frozen=True, slots=True)
class ByFlags:
    """Paths as they were given: `context` on disk, `dockerfile` below it."""

    name: ArtifactName
    image: Repository
    tag: str
    context: str
    dockerfile: str = DOCKERFILE
    language: str | None = None

    @property
    def where(self) -> str:
        """The path that says which repo or folder is read."""
        return self.context


@dataclass(frozen=True, slots=True)
class ByFile:
    """What a directive file on disk declares."""

    file: str

    @property
    def where(self) -> str:
        """The path that says which repo or folder is read."""
        return self.file


Asked: TypeAlias = "ByFlags | ByFile"
