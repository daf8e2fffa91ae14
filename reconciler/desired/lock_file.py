"""lian.lock in the working tree: the one file that lian writes into a desired repo."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.desired.lock import Pinning, linked, parse_lock
from reconciler.model.lock import NAME
from reconciler.model.problem import LianError, Problem
from reconciler.whole_file import replace_file

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.desired.source import GitSource
    from reconciler.model.lock import Lock

_HINT = "clone the repo and give --repo its folder; the lock is committed like everything else"


class LockFile:
    """Fills `ports.locks.Locks` for the repo of `source`."""

    def __init__(self, source: GitSource) -> None:
        self._source = source

    async def committed(self) -> Lock | None:
        """See the port."""
        found = await asyncio.to_thread(lambda: Pinning.read(self._source.tree))
        if found.problem:
            raise LianError(found.problem)
        return found.lock

    async def read(self) -> Lock | None:
        """See the port."""
        return await asyncio.to_thread(self._read)

    async def write(self, lock: Lock) -> bool:
        """See the port."""
        return await asyncio.to_thread(self._write, str(lock).encode("utf-8", "surrogateescape"))

    def _read(self) -> Lock | None:
        path = self._path()
        if path.is_symlink():
            raise LianError(linked())
        try:
            return parse_lock(path.read_bytes())
        except FileNotFoundError:
            return None
        except OSError as error:
            raise LianError(_unwritable(f"{path} cannot be read", error)) from error

    def _write(self, data: bytes) -> bool:
        path = self._path()
        try:
            if path.is_file() and path.read_bytes() == data:
                return False
            replace_file(path, data)
        except OSError as error:
            raise LianError(_unwritable(f"{path} cannot be written", error)) from error
        return True

    def _path(self) -> Path:
        folder = self._source.working_tree
        if folder is None:
            message = f"{NAME} is written into a working tree, and this repo has none here"
            raise LianError(Problem("lock-unwritable", message, "--repo", hint=_HINT))
        return folder / NAME


def _unwritable(message: str, error: OSError) -> Problem:
    return Problem("lock-unwritable", message, cause=error.strerror, hint="see to the folder's rights and its disk")
