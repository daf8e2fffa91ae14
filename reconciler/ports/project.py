"""Ports: the folder that lian is begun in, and the tools that tell what its files mean."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Base:
    """An image that a Dockerfile stands on: as it is written there, and as BuildKit asks for it
    (`docker.io/library/python:3.12`)."""

    written: str
    reference: str


class Project(Protocol):
    """The folder. Paths are POSIX and relative to it; links that lead out of it are not followed."""

    @property
    def name(self) -> str:
        """What the folder is called."""
        ...

    @property
    def in_git(self) -> bool:
        """Whether it is a git repository's working tree; only commits are desired."""
        ...

    @property
    def has_commit(self) -> bool:
        """Whether anything is committed there yet."""
        ...

    def find(self, wanted: Callable[[str], bool]) -> tuple[str, ...]:
        """The files whose names are wanted, sorted; not those of hidden folders, of folders that hold what others have
        made (node_modules, vendor), of repositories within, and of what git ignores. Raises LianError
        `project-unreadable`, `project-too-large`."""
        ...

    def read(self, path: str) -> bytes | None:
        """A file's content, None if there is no such file. Raises LianError `project-unreadable`."""
        ...

    def has_folder(self, path: str) -> bool:
        """Whether there is such a folder."""
        ...

    def taken(self, paths: Collection[str]) -> tuple[str, ...]:
        """Those of the paths at which something is already, or that something stands in the way of."""
        ...

    def write(self, files: Mapping[str, bytes]) -> None:
        """Make these files, and the folders on the way; all, or none. Raises LianError `project-taken` for one that is
        there, `project-unwritable`."""
        ...


class Dockerfiles(Protocol):
    """What Dockerfiles say."""

    def bases(
        self, content: bytes, path: str, target: str | None, args: Mapping[str, str], named: Collection[str]
    ) -> tuple[Base, ...]:
        """The images that a target stands on, but those that a named context stands for. Empty where that cannot be
        told: the commit's own check tells why. Raises nothing."""
        ...


class Grammar(Protocol):
    """What a directive may say."""

    def faults(self, directives: Mapping[str, Any]) -> Sequence[tuple[tuple[str | int, ...], str]]:
        """What is wrong with the value of a directive file: the field's path, and a sentence."""
        ...


class Bake(Protocol):
    """buildx, where it is."""

    def printed(self, file: str, names: Collection[str]) -> Any:
        """The document of `buildx bake --print` for a bake file, of these targets and groups, or of the default ones;
        texts are as they are meant. Raises LianError: `buildx-missing`, `bake-invalid` with the place that buildx
        tells, `buildx-failed`."""
        ...
