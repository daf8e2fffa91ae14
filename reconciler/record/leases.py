"""The port Leases as files of one folder: `<lease>.json`, there and on disk before anything is rented.

The owner holds a lock on the file for as long as it holds the lease, and stands in it as a process (pid, start time,
boot, pid namespace). A lease is abandoned when the lock is free *and* that process is not seen alive: either sign of
life protects it, e.g. when containers share the folder and do not see each other's pids. A file appears with all that
it says, so one that cannot be read was damaged later.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import json
import os
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, TypeVar

from reconciler.finishing import to_its_end
from reconciler.model.lease import Lease, is_lease_name
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.compute import TAKEN
from reconciler.ports.leases import Intent
from reconciler.record.owner import Owner

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

T = TypeVar("T")

_LOCK = ".lock"
_NEW = ".new"
"""A file that is being written."""
_SUFFIX = ".json"


class LeaseFiles:
    """All leases that passes on this machine have asked for; `folder` is made with the first."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._held: dict[str, IO[str]] = {}
        """Name -> the file whose lock this process holds."""
        self._left: set[str] = set()
        """What this process has abandoned: for itself that holds also where it could not be written."""

    async def intend(self, lease: Lease, provider: str) -> None:
        """See the port."""
        noting = asyncio.ensure_future(self._in_thread(self._intend, lease, provider))
        try:
            await asyncio.shield(noting)
        except asyncio.CancelledError:
            await to_its_end(self._undone(noting, lease.name))
            raise

    async def _undone(self, noting: asyncio.Future[None], name: str) -> None:
        await asyncio.wait({noting})
        if noting.exception() is None:
            await self.forget(name)

    async def forget(self, name: str) -> None:
        """See the port."""
        await self._in_thread(self._forget, name)

    async def abandon(self, name: str) -> None:
        """See the port."""
        await self._in_thread(self._abandon, name)

    async def intents(self) -> Sequence[Intent]:
        """See the port."""
        return await self._in_thread(self._intents)

    @asynccontextmanager
    async def claim(self, name: str) -> AsyncIterator[bool]:
        """See the port."""
        file = await to_its_end(self._in_thread(self._claim, name))
        try:
            yield file is not None
        finally:
            if file is not None:
                file.close()

    async def _in_thread(self, work: Callable[..., T], *arguments: object) -> T:
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            raise LianError(_unusable(self._folder, error)) from error

    # -- in a thread

    def _intend(self, lease: Lease, provider: str) -> None:
        path = self._path(lease.name)
        with self._all_locked():
            file = self._written(_document(lease, provider, Owner.current()))
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                os.link(file.name, path)
            except FileExistsError as error:
                file.close()
                raise LianError(_taken(lease.name, path)) from error
            self._held[lease.name] = file
            try:
                _sync(self._folder)
            except BaseException:
                self._forget(lease.name)
                raise

    def _forget(self, name: str) -> None:
        self._path(name).unlink(missing_ok=True)
        self._left.discard(name)
        self._let_go(name)

    def _abandon(self, name: str) -> None:
        """The same without an owner."""
        self._left.add(name)
        path = self._path(name)
        try:
            with self._all_locked(), path.open(encoding="utf-8", errors="replace") as old:
                provider, lease, _ = _read(old)
                if lease is not None:
                    with self._written(_document(lease, provider, None)) as file:
                        Path(file.name).rename(path)
        except FileNotFoundError:
            return
        finally:
            self._let_go(name)

    def _let_go(self, name: str) -> None:
        if (file := self._held.pop(name, None)) is not None:
            file.close()

    def _written(self, document: Mapping[str, Any]) -> IO[str]:
        """A file with this content, on disk, open. The caller has locked all."""
        path = self._folder / _NEW
        path.unlink(missing_ok=True)
        file = path.open("x", encoding="utf-8")
        try:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            file.close()
            raise
        return file

    def _intents(self) -> list[Intent]:
        try:
            names = sorted(entry.name.removesuffix(_SUFFIX) for entry in os.scandir(self._folder))
        except FileNotFoundError:
            return []
        with self._all_locked():  # so a file without content is not one that is just being written
            return [intent for name in names if is_lease_name(name) and (intent := self._intent(name)) is not None]

    def _intent(self, name: str) -> Intent | None:
        try:
            file = self._opened(name)
        except FileNotFoundError:
            return None
        except OSError:  # nobody knows whether it lives
            return Intent(name, "", None, True)
        with file:
            provider, lease, owner = _read(file)
            return Intent(name, provider, lease, not self._is_free(name, file, owner))

    def _claim(self, name: str) -> IO[str] | None:
        with self._all_locked():
            try:
                file = self._opened(name)
            except FileNotFoundError:
                return None
            if self._is_free(name, file, _read(file)[2]):
                return file
            file.close()
            return None

    def _is_free(self, name: str, file: IO[str], owner: Owner | None) -> bool:
        """True if nobody has the lease; then this file has its lock."""
        if name in self._held or not _try_lock(file):
            return False
        return owner is None or not owner.alive or name in self._left

    def _opened(self, name: str) -> IO[str]:
        """For writing too, without which some file systems lock nothing (flock(2), NFS)."""
        return self._path(name).open("r+", encoding="utf-8", errors="replace")

    def _path(self, name: str) -> Path:
        if not is_lease_name(name):
            raise ValueError(f"{name!r} is not a lease's name")
        return self._folder / f"{name}{_SUFFIX}"

    @contextmanager
    def _all_locked(self) -> Iterator[None]:
        """For the moment in which a lease is noted or judged."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self._folder / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _document(lease: Lease, provider: str, owner: Owner | None) -> dict[str, Any]:
    of_it = {"provider": provider, "owner": owner.to_json() if owner else None}
    return {"kind": "lease", "version": 1} | lease.to_json() | of_it


def _read(file: IO[str]) -> tuple[str, Lease | None, Owner | None]:
    """Provider, lease and owner, as far as they can be read: a damaged file names nobody."""
    file.seek(0)
    document: Any = {}
    with contextlib.suppress(ValueError, RecursionError):
        document = json.load(file)
    if not isinstance(document, dict):
        return "", None, None
    lease = owner = None
    with contextlib.suppress(ValueError):
        lease = Lease.from_json(document)
    with contextlib.suppress(ValueError):
        owner = Owner.from_json(document.get("owner") or {})
    provider = document.get("provider")
    return provider if isinstance(provider, str) else "", lease, owner


def _try_lock(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(folder: Path) -> None:
    """The folder's own entries, on disk (open(2), fsync(2))."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _taken(name: str, path: Path) -> Problem:
    return Problem(
        TAKEN,
        f"the lease {name} exists already",
        cause=f"{path} is there; its owner lives, or died and has not been swept yet",
        hint="run `lian runners sweep` if no pass of lian is running, and try again",
        next=Next.RETRY,
    )


def _unusable(folder: Path, error: OSError) -> Problem:
    code = "disk-full" if error.errno == errno.ENOSPC else "leases-unusable"
    return Problem(
        code,
        f"what is rented cannot be noted in {folder}, or not be read there",
        cause=error.strerror,
        hint="give --cache a folder that can be written to and has room",
    )
