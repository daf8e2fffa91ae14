"""A bare repository in the cache, which several processes use and which may be killed at any moment.

A lock file of ours serialises writers; whoever holds it may sweep what a killed one left behind. The repository's name
is a link to the folder that holds it: a damaged one is built anew in another folder, and one rename of the link puts it
in place. (libgit2 shares open packs by path, so the path must be new too.)
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pygit2

from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

_LOCK, _LINK = ".lock", ".link"
_NO_SPACE = os.strerror(errno.ENOSPC)


class BareFolder:
    """One such repository; `folder` is its name in the cache."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()

    @property
    def current(self) -> Path:
        """Where it lies now."""
        return self.folder.resolve()

    def opened(self) -> pygit2.Repository | None:
        """As it is; None if there is none, or none that can be opened."""
        try:
            return pygit2.Repository(str(self.current))
        except pygit2.GitError:
            return None

    def locked(self, work: Callable[[], T]) -> T:
        """Do this while nobody else writes, what is left of killed writers swept. Raises LianError `disk-full`,
        `cache-unusable`."""
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._sweep()
                return work()
        except OSError as error:
            raise LianError(unwritable(self.folder, error)) from error

    def anew(self, fill: Callable[[Path], T]) -> T:
        """Put another repository in its place, which `fill` has fetched into the empty one at this path; nothing is
        left of one that it could not fill. To be called while locked."""
        fresh = self.folder.with_suffix(f".{secrets.token_hex(4)}")
        try:
            pygit2.init_repository(str(fresh), bare=True)
            filled = fill(fresh)
            self._switch(fresh)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        return filled

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Only one writer at a time, on this machine. The lock falls with its process."""
        descriptor = os.open(self.folder.with_suffix(_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what killed writers left: no living one owns any of it, since we hold the lock."""
        current = self.current
        for left in self.folder.parent.glob(f"{self.folder.name}.*"):
            if left.suffix == _LINK:
                left.unlink()
            elif left.suffix != _LOCK and left != current:
                shutil.rmtree(left, ignore_errors=True)
        for folder, _, names in os.walk(current):
            for name in names:
                if name.endswith(".lock") or name.startswith(("pack_git2_", "tmp_")):
                    Path(folder, name).unlink(missing_ok=True)

    def _switch(self, fresh: Path) -> None:
        """Point the name at the fresh folder, in one step, and let the old one go."""
        old, link = self.current, self.folder.with_suffix(_LINK)
        link.symlink_to(fresh.name)
        link.replace(self.folder)
        if old not in {fresh, self.folder}:
            shutil.rmtree(old, ignore_errors=True)


def out_of_space(error: Exception, folder: Path) -> Problem | None:
    """The problem of a disk that is full, if that is what libgit2 says."""
    return _full(folder) if _NO_SPACE in str(error) else None


def unwritable(folder: Path, error: OSError) -> Problem:
    """Why nothing can be kept there."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _full(folder)
    hint = "give another cache folder, or make this one writable"
    return Problem("cache-unusable", f"the mirror at {folder} cannot be written", cause=error.strerror, hint=hint)


def _full(folder: Path) -> Problem:
    return Problem("disk-full", f"there is no space left for the mirror at {folder}", hint="free some space")
