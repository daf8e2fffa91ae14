"""The folder that `lian init` begins in, and what its Dockerfiles and the contracts say: ports of ports/project.py."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.desired import git
from reconciler.desired.dockerfile import read_dockerfile, requirements
from reconciler.desired.nickel.twin import Twin
from reconciler.desired.packaged import find as find_packaged
from reconciler.model.problem import LianError, Problem
from reconciler.ports.project import Base

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    import pygit2

MAX_FILES = 1_000_000
MAX_BYTES = 16 << 20
"""Of one file: none that is read here is near it."""
MADE_BY_OTHERS = frozenset({"node_modules", "vendor", "venv", "__pycache__", "site-packages", "bower_components"})
"""Folders of what was fetched or built: Dockerfiles in them are other people's."""
_TWIN = "schemas/json/build_directives.json"


class FolderProject:
    """A folder of this machine."""

    def __init__(self, root: Path, repository: pygit2.Repository | None) -> None:
        self.root = root
        self._repository = repository

    @classmethod
    def at(cls, given: str) -> FolderProject:
        """The folder that is named. Raises LianError `project-missing`, `project-within` for one inside a repository,
        `repo-untrusted`, `repo-unreadable`."""
        root = Path(given).expanduser().resolve()
        if not root.is_dir():
            what = "is a file, not a folder" if root.exists() else "does not exist"
            hint = f"make it: mkdir -p {given}"
            raise LianError(Problem("project-missing", f"{given} {what}", hint=None if root.exists() else hint))
        repository = git.discover(root)
        if repository is None:
            return cls(root, None)
        if repository.is_bare:
            message = f"{given} is a bare repository, and files are written to a working tree"
            raise LianError(Problem("project-bare", message, hint="clone it, and run `lian init` there"))
        top = Path(repository.workdir).resolve()
        if top != root:
            message = f"{given} is a folder of the repository {top}, and a desired repo is a whole one"
            raise LianError(Problem("project-within", message, hint=f"run `lian init {top}`"))
        return cls(root, repository)

    @property
    def name(self) -> str:
        """The folder's own."""
        return self.root.name

    @property
    def in_git(self) -> bool:
        """Whether there is a repository."""
        return self._repository is not None

    @property
    def has_commit(self) -> bool:
        """See Project."""
        return self._repository is not None and not self._repository.head_is_unborn

    def find(self, wanted: Callable[[str], bool]) -> tuple[str, ...]:
        """See Project."""
        seen, found = 0, []
        for folder, folders, files in os.walk(self.root, onerror=_unreadable):
            within = Path(folder).relative_to(self.root)
            folders[:] = [name for name in folders if self._is_own(within / name)]
            seen += len(files)
            if seen > MAX_FILES:
                message = f"the folder has more than {MAX_FILES:,} files"
                raise LianError(Problem("project-too-large", message, hint="name what to read by --from"))
            paths = (within / name for name in files if wanted(name))
            found += [path.as_posix() for path in paths if not self._ignores(path) and (self.root / path).is_file()]
        return tuple(sorted(path for path in found if path.isprintable()))

    def _is_own(self, folder: Path) -> bool:
        whole = self.root / folder
        others = folder.name.startswith(".") or folder.name in MADE_BY_OTHERS or whole.is_symlink()
        return not others and not (whole / ".git").exists() and not self._ignores(folder)

    def _ignores(self, path: Path) -> bool:
        return self._repository is not None and self._repository.path_is_ignored(path.as_posix())

    def read(self, path: str) -> bytes | None:
        """See Project."""
        whole = self.root / path
        try:
            if not whole.resolve().is_relative_to(self.root) or not whole.is_file():
                return None
            with whole.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        except (OSError, ValueError, RuntimeError) as error:
            raise LianError(Problem("project-unreadable", f"{path} cannot be read", path, cause=str(error))) from error
        if len(content) > MAX_BYTES:
            message = f"{path} is larger than {MAX_BYTES >> 20} MiB"
            raise LianError(Problem("project-unreadable", message, path, hint="give a smaller file"))
        return content

    def has_folder(self, path: str) -> bool:
        """See Project."""
        whole = self.root / path
        try:
            return whole.is_dir() and whole.resolve().is_relative_to(self.root)
        except (OSError, ValueError, RuntimeError):
            return False

    def taken(self, paths: Collection[str]) -> tuple[str, ...]:
        """See Project."""
        return tuple(path for path in sorted(paths) if self._is_taken(path))

    def _is_taken(self, path: str) -> bool:
        *folders, name = path.split("/")
        here = self.root
        for folder in folders:
            here = here / folder
            mode = _mode(here)
            if mode is None:
                return False
            if not stat.S_ISDIR(mode):
                return True
        return _mode(here / name) is not None

    def write(self, files: Mapping[str, bytes]) -> None:
        """See Project."""
        made: list[Path] = []
        try:
            for path, content in files.items():
                self._make(path, content, made)
        except OSError as error:
            for one in reversed(made):
                with contextlib.suppress(OSError):
                    one.rmdir() if one.is_dir() else one.unlink()
            code = "project-taken" if isinstance(error, FileExistsError) else "project-unwritable"
            message = f"{_path_of(error, self.root)} cannot be written, so nothing was"
            raise LianError(Problem(code, message, cause=error.strerror)) from error

    def _make(self, path: str, content: bytes, made: list[Path]) -> None:
        """Raises OSError."""
        whole = self.root / path
        for folder in [each for each in reversed(whole.parents) if each.is_relative_to(self.root)]:
            if not folder.is_dir():
                folder.mkdir()
                made.append(folder)
        with whole.open("xb") as file:
            made.append(whole)
            file.write(content)


def _path_of(error: OSError, root: Path) -> str:
    """What an error is about, from the folder."""
    whole = Path(str(error.filename or "a file"))
    return whole.relative_to(root).as_posix() if whole.is_relative_to(root) else str(whole)


def _mode(path: Path) -> int | None:
    try:
        return path.lstat().st_mode
    except (FileNotFoundError, NotADirectoryError):
        return None


def _unreadable(error: OSError) -> None:
    hint = "let it be read or have git ignore it, or name what to read by --from"
    message = f"{error.filename} cannot be read"
    raise LianError(Problem("project-unreadable", message, cause=error.strerror, hint=hint)) from error


class ReadDockerfiles:
    """By lian's own reading of them."""

    def bases(
        self, content: bytes, path: str, target: str | None, args: Mapping[str, str], named: Collection[str]
    ) -> tuple[Base, ...]:
        """See ports/project.py."""
        try:
            found = requirements(
                read_dockerfile(content, path),
                target=target,
                args=args,
                platform="linux/amd64",
                named_contexts=tuple(named),
                build_platform="linux/amd64",
                mounts=False,
            )
        except LianError:
            return ()
        return tuple(Base(need.written, need.reference) for need in found.images)


class ContractGrammar:
    """By the JSON Schema twin of the contract."""

    def __init__(self) -> None:
        self._twin = Twin(find_packaged().document(_TWIN))

    def faults(self, directives: Mapping[str, Any]) -> Sequence[tuple[tuple[str | int, ...], str]]:
        """See ports/project.py."""
        return [] if self._twin.accepts(directives) else list(self._told(directives))

    def _told(self, directives: Mapping[str, Any]) -> Iterator[tuple[tuple[str | int, ...], str]]:
        for finding in self._twin.findings(directives):
            yield finding.path, finding.message
