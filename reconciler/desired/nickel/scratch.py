"""The folder that workers see: the files of the commit that are needed, and the packaged ones. Gone afterwards.

It is locked while in use. A folder whose lock is free was left behind by a lian that was killed, and is swept.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.desired.nickel import driver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.desired.packaged import Packaged

_PREFIX = "lian-nickel-"
_LOCK = "lock"
_MEMORY = Path("/dev/shm")
_ROOM = 256 << 20
"""Free bytes that a folder in memory must have: a file takes a page there, 10,000 directives 40 MiB."""


class Scratch:
    """A fresh folder; use as a context manager."""

    def __init__(self, packaged: Packaged, read: Callable[[str], bytes]) -> None:
        """`read` gives a blob of the commit by its id."""
        self._packaged = packaged
        self._read = read
        self._written: set[str] = set()
        self._folders: set[str] = set()
        self._opened = False
        self.root = Path()

    def __enter__(self) -> Scratch:
        """Raises OSError, e.g. when the disk is full."""
        _sweep()
        self.root = Path(os.path.realpath(tempfile.mkdtemp(prefix=_PREFIX, dir=_base())))
        self._lock = _locked(self.root / "new")
        (self.root / "new").rename(self.root / _LOCK)  # never seen unlocked, so nobody can sweep it
        try:
            for name, content in self._packaged.files.items():
                if name.endswith(".ncl"):
                    self._write(f"{driver.PACKAGED}/{name}", content)
            (self.root / driver.TREE).mkdir()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        shutil.rmtree(self.root, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)

    def put(self, files: Iterable[tuple[str, str]]) -> None:
        """Write files of the commit, (path, blob id) each, that are not there yet. Raises OSError."""
        for path, blob in files:
            if path not in self._written:
                self._written.add(path)
                self._write(f"{driver.TREE}/{path}", self._read(blob))

    def open_packaged(self) -> None:
        """Write the packaged files whose contracts accept anything. Raises OSError."""
        if not self._opened:
            self._opened = True
            for name in self._packaged.files:
                if name.endswith(".ncl"):
                    self._write(f"{driver.OPEN}/{name}", driver.opened(name).encode())

    def ours(self, file: str) -> str | None:
        """The repo path of a file that Nickel names, None if it is not of the commit."""
        tree = f"{self.root}/{driver.TREE}/"
        return file.removeprefix(tree) if file.startswith(tree) else None

    def plain(self, text: str) -> str:
        """The text with repo paths in place of scratch paths."""
        for folder in (driver.TREE, driver.PACKAGED, driver.OPEN):
            text = text.replace(f"{self.root}/{folder}/", "").replace(f"{self.root}/{folder}", ".")
        return text.replace(str(self.root), ".")

    def _write(self, path: str, content: bytes) -> None:
        target = f"{self.root}/{path}"
        folder = target.rpartition("/")[0]
        if folder not in self._folders:
            os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - ten thousand files: a Path each is half the cost
            self._folders.add(folder)
        descriptor = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(descriptor, view) :]
        finally:
            os.close(descriptor)


def _locked(path: Path) -> int | None:
    """An exclusive lock on the file, or None if another process holds it."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor


def _base() -> Path:
    """In memory where there is room (making a file takes a sixth of the time on disk), unless TMPDIR says where."""
    if "TMPDIR" not in os.environ and _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK | os.X_OK):
        room = os.statvfs(_MEMORY)
        if room.f_bavail * room.f_frsize >= _ROOM:
            return _MEMORY
    return Path(tempfile.gettempdir())


def _sweep() -> None:
    """Remove what lians that were killed have left behind."""
    for folder in _base().glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):  # another user's, or just gone
            lock = _locked(folder / _LOCK) if (folder / _LOCK).exists() else None
            if lock is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
