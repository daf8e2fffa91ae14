"""One image as another tool's file defines it, in words that all of them share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from reconciler.adopt.remark import Weight
from reconciler.model.artifact import Folder, GitFolder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.adopt.remark import Remark
    from reconciler.model.artifact import Place


@dataclass(frozen=True, slots=True)
class FromBuild:
    """What another build of the same file makes, by the name that it has there."""

    name: str


@dataclass(frozen=True, slots=True)
class FromImage:
    """An image of some registry, as written."""

    reference: str


Source: TypeAlias = "Folder | GitFolder | FromBuild | FromImage"


@dataclass(frozen=True, slots=True)
class SecretFrom:
    """Where a secret came from: a variable, or a file (both None where the file does not say)."""

    name: str
    variable: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True)
class Build:
    """Paths of contexts are from the repository's root, that of the Dockerfile from its context."""

    name: str
    place: Place
    context: Folder | GitFolder = field(default_factory=Folder)
    dockerfile: str = "Dockerfile"
    target: str | None = None
    references: tuple[str, ...] = ()
    """`[HOST/]PATH[:TAG]`, as it is pushed; the first names the repository. Empty: nothing says how it is called."""
    platforms: tuple[str, ...] = ()
    args: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    contexts: Mapping[str, Source] = field(default_factory=dict)
    secrets: Mapping[str, SecretFrom] = field(default_factory=dict)
    """By BuildKit's id."""
    known_as: tuple[str, ...] = ()
    """References by which other Dockerfiles may stand on it, beside `references`."""
    remarks: tuple[Remark, ...] = ()

    @property
    def left_out(self) -> bool:
        """Whether no directive can build it as it is defined."""
        return any(remark.weight is Weight.LEFT_OUT for remark in self.remarks)


@dataclass(frozen=True, slots=True)
class Found:
    """What one source says: its builds in its order, and what is to be said of it as a whole."""

    kind: str
    """`compose`, `bake` or `dockerfiles`."""
    file: str | None
    workspace: str
    """The name of all of it, as written."""
    builds: tuple[Build, ...]
    remarks: tuple[Remark, ...] = ()
