"""Writes what is sent of a folder as files, from git objects.

Every file, folder and link gets a time made from what it holds: BuildKit compares files by size and time, so with equal
times two contexts on one daemon can give wrong images (design section 5, "Exported file times").
"""

from __future__ import annotations

import errno
import os
import shutil
from contextlib import contextmanager
from typing import TYPE_CHECKING

from reconciler.desired.ignore import NAME as IGNORE
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.tree import EXECUTABLE, FOLDER, SYMLINK, node

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.desired.contexts import Contexts, Part
    from reconciler.desired.tree import CommitTree
    from reconciler.model.desired import SentFolder

_NANO = 1_000_000_000
_FIRST_SECOND, _END_OF_TIME = (1 << 31) - (1 << 28), 1 << 31
"""From July 2029, which lies after any `source_date_epoch` in use, so that BuildKit rewrites every time; some file
systems keep no second after January 2038."""

_FILTERED_ALREADY = b"# What the ignore file leaves is all that was exported.\n"

_MAKE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_ENTER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Stopped(Exception):
    """The export was called off; nothing of it is left."""


def file_time(digest: str) -> int:
    """Nanoseconds since 1970, made from 80 bits of a digest in hex: about 2^58 different times."""
    number = int(digest[:20], 16)
    return (_FIRST_SECOND + number // _NANO % (_END_OF_TIME - _FIRST_SECOND)) * _NANO + number % _NANO


class Exporter:
    """Writes folders of one commit."""

    def __init__(self, tree: CommitTree, contexts: Contexts, stop: threading.Event) -> None:
        self._tree = tree
        self._contexts = contexts
        self._stop = stop
        self._bytes = 0

    def export(self, folder: SentFolder, into: Path) -> int:
        """Write what is sent of `folder` into `into`, which must not exist; on any error nothing is left of it. Returns
        the bytes of its files.

        Files are 0644 or 0755, folders 0755, whatever the umask. Links are written, never followed.
        Raises LianError `disk-full`, `export-failed`, `coarse-file-times`, `object-unreadable`; Stopped.
        """
        part = self._contexts.sent(folder.path, folder.include, folder.ignore)
        with new_folder(into) as descriptor:
            root = self._fill(descriptor, part)
            if root != folder.root:
                message = f"what was exported of {folder.path} is not what was keyed"
                raise LianError(Problem("export-differs", message, next=Next.BUG))
        return self._bytes

    def export_dockerfile(self, path: str, into: Path) -> Path:
        """Write the Dockerfile at `path` of the repo, with an ignore file beside it, into `into`, which must not exist.

        What is exported of the context is filtered already, and nothing may be filtered twice by other rules: a
        `<name>.dockerignore` beside the Dockerfile is the one that BuildKit obeys, and this one holds a comment only
        (an empty one is taken for none, and then `.dockerignore` would count).
        Returns the Dockerfile's new path. Raises as `export`.
        """
        found = self._tree.at(path)
        if found is None or found.mode == FOLDER:
            raise LianError(Problem("dockerfile-missing", f"{self._tree.called} holds no Dockerfile at {path}"))
        name = path.rpartition("/")[2]
        with new_folder(into) as descriptor:
            raw = name.encode("utf-8", "surrogateescape")
            write_file(descriptor, raw, self._tree.blob_view(found.id), 0o644, file_time(found.id))
            write_file(descriptor, raw + IGNORE.encode(), _FILTERED_ALREADY, 0o644, _FIRST_SECOND * _NANO)
        return into / name

    def _fill(self, here: int, part: Part) -> str:
        """Write a folder's parts; returns its Merkle digest, which also gives the folder its time."""
        children: list[tuple[str, str, str]] = []
        for name, child in self._contexts.members(part).items():
            if self._stop.is_set():
                raise Stopped
            raw = name.encode("utf-8", "surrogateescape")
            if isinstance(child, dict) or child.mode == FOLDER:
                children.append((name, FOLDER, self._folder(here, raw, child)))
                continue
            children.append((name, child.mode, child.id))
            if child.mode == SYMLINK:
                os.symlink(self._tree.read(child.id), raw, dir_fd=here)
                when = file_time(child.id)
                os.utime(raw, ns=(when, when), dir_fd=here, follow_symlinks=False)
            else:
                mode = 0o755 if child.mode == EXECUTABLE else 0o644
                data = self._tree.blob_view(child.id)
                write_file(here, raw, data, mode, file_time(child.id))
                self._bytes += len(data)
        digest = node(children)
        _set_time(here, file_time(digest))
        return digest

    def _folder(self, here: int, name: bytes, part: Part) -> str:
        os.mkdir(name, 0o700, dir_fd=here)
        inner = os.open(name, _ENTER, dir_fd=here)
        try:
            os.fchmod(inner, 0o755)
            return self._fill(inner, part)
        finally:
            os.close(inner)


@contextmanager
def new_folder(into: Path) -> Iterator[int]:
    """A new folder, open; removed again if the block fails. Errors of the file system become LianError."""
    try:
        into.mkdir(mode=0o700)
    except OSError as error:
        raise LianError(_failed(into, error)) from error
    try:
        descriptor = os.open(into, _ENTER)
        try:
            os.fchmod(descriptor, 0o755)
            yield descriptor
        finally:
            os.close(descriptor)
    except OSError as error:
        shutil.rmtree(into, ignore_errors=True)
        raise LianError(_failed(into, error)) from error
    except BaseException:
        shutil.rmtree(into, ignore_errors=True)
        raise


def write_file(folder: int, name: bytes, data: memoryview | bytes, mode: int, when: int) -> None:
    """Write one new file into an open folder: all bytes, this mode and this time (nanoseconds)."""
    descriptor = os.open(name, _MAKE, 0o600, dir_fd=folder)
    try:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(descriptor, rest) :]
        os.fchmod(descriptor, mode)
        _set_time(descriptor, when)
    finally:
        os.close(descriptor)


def _set_time(descriptor: int, when: int) -> None:
    os.utime(descriptor, ns=(when, when))
    if os.fstat(descriptor).st_mtime_ns != when:
        message = "the scratch file system does not keep file times exactly, so builds could mix files up"
        hint = "put the scratch folder on a file system with nanosecond times, such as ext4, xfs, btrfs or tmpfs"
        raise LianError(Problem("coarse-file-times", message, hint=hint))


def _failed(into: Path, error: OSError) -> Problem:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        message = f"there is no space left to export a build context to {into}"
        return Problem("disk-full", message, cause=error.strerror, hint="free some space", next=Next.RETRY)
    return Problem("export-failed", f"a build context cannot be exported to {into}", cause=str(error))
