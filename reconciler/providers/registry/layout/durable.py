"""Writing files so that a crash at any moment leaves the old content or the new, never a part of one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import time
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_TEMPORARY = ".tmp-"
_POLL = 0.005


def make_folder(folder: Path) -> None:
    """The folder and its parents, each durable in the one above."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make what was created, renamed or removed in this folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(target: Path, data: bytes, workplace: Path) -> None:
    """Replace `target` by a file with this content. `workplace` is a folder of the same file system. The content is
    on disk before the name is; the caller makes `target`'s folder durable."""
    with _temporary(workplace) as (handle, path):
        view = memoryview(data)
        while view:
            view = view[os.write(handle, view) :]
        os.fsync(handle)
        path.replace(target)


def adopt(source: Path, target: Path, workplace: Path) -> None:
    """Make `target` a file with `source`'s content: the same file where that can be, else a copy. An existing target
    is replaced. The caller makes `target`'s folder durable."""
    if not target.exists():
        with contextlib.suppress(OSError):
            target.hardlink_to(source)
            _sync_file(target)
            return
    with _temporary(workplace) as (handle, path), source.open("rb") as reader:
        with os.fdopen(os.dup(handle), "wb") as writer:
            shutil.copyfileobj(reader, writer, 1 << 20)
        os.fsync(handle)
        path.replace(target)


def sweep(workplace: Path) -> None:
    """Remove the temporary files of writers that are gone: a living one holds a lock on its own."""
    for path in workplace.glob(f"{_TEMPORARY}*"):
        with contextlib.suppress(FileNotFoundError, BlockingIOError):
            handle = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()
            finally:
                os.close(handle)


@contextlib.contextmanager
def locked(path: Path, patience: float, *, shared: bool = False) -> Iterator[None]:
    """Alone among all processes and threads that lock this file, or `shared` with others who share it. Raises LianError
    `registry-locked` after `patience` seconds of waiting."""
    deadline = time.monotonic() + patience
    handle = _opened(path)
    try:
        while not _lock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise LianError(_held(path, patience))
            time.sleep(_POLL)
        yield
    finally:
        os.close(handle)


@contextlib.contextmanager
def unless_locked(path: Path) -> Iterator[bool]:
    """As `locked`, without waiting: False where someone else has it, shared or not."""
    handle = _opened(path)
    try:
        yield _lock(handle, fcntl.LOCK_EX)
    finally:
        os.close(handle)


def _opened(path: Path) -> int:
    return os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)


def _lock(handle: int, kind: int) -> bool:
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync_file(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def _temporary(workplace: Path) -> Iterator[tuple[int, Path]]:
    """A new file, locked for as long as it is worked on, and gone afterwards unless it was renamed."""
    while True:
        path = workplace / f"{_TEMPORARY}{secrets.token_hex(8)}"
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o644)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if os.fstat(handle).st_nlink:  # else a sweep took it between creation and lock
            break
        os.close(handle)
    try:
        yield handle, path
    finally:
        path.unlink(missing_ok=True)
        os.close(handle)


def _held(path: Path, patience: float) -> Problem:
    return Problem(
        "registry-locked",
        f"another process has held the image layout {path.parent} for {patience:g} seconds",
        hint="look for another lian that hangs (`fuser` on the lock file names it)",
        next=Next.RETRY,
    )
