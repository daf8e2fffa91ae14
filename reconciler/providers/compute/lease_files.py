"""A lease on disk: `<state>/<lease>/`, with `lease.json` in it before anything else.

The owner holds a lock on `lease.json` for as long as it holds the lease, and stands in it as a process (pid, start
time, boot, pid namespace). A lease is dead when the lock is free *and* that process is not seen alive: either sign of
life protects it, e.g. when containers share a state folder and do not see each other's pids. All that a lease has
elsewhere (cgroup, socket link, folder in memory) is named after the folder, so a damaged `lease.json` loses nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import re
import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING

from reconciler.model.problem import LianError, Next, Problem
from reconciler.providers.compute.mounts import SHARED_MEMORY
from reconciler.providers.compute.processes import Owner

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.ports.compute import LeaseRequest

MAX_SOCKET_PATH = 99
"""Bytes; the kernel takes 107 (unix(7)), tools add to it."""

_LEASE = re.compile(r"[a-z0-9][a-z0-9-]{0,39}")
_LOCK = ".lock"
_RECORD = "lease.json"


@dataclass(frozen=True, slots=True)
class LeaseFolder:
    """The places of one lease. `links` is where a short way to its socket is made if the folder's path is long."""

    path: Path
    links: Path

    @property
    def lease(self) -> str:
        """The lease's name."""
        return self.path.name

    @property
    def record(self) -> Path:
        """Who owns it."""
        return self.path / _RECORD

    @property
    def root(self) -> Path:
        """The daemon's root."""
        return self.path / "root"

    @property
    def temporary(self) -> Path:
        """The daemon's TMPDIR."""
        return self.path / "tmp"

    @property
    def scratch(self) -> Path:
        """For the lease's owner."""
        return self.path / "scratch"

    @property
    def memory(self) -> Path:
        """For what its owner must keep off the disk, whether there is a place for it or not."""
        return SHARED_MEMORY / f"lian-{self._key}"

    @property
    def config(self) -> Path:
        """The daemon's configuration; its path stands on the command line of the daemon and of all that start it."""
        return self.path / "buildkitd.toml"

    @property
    def certificates(self) -> Path:
        """Certificates and keys for registries, if they need any."""
        return self.path / "certificates"

    @property
    def log(self) -> Path:
        """The daemon's log."""
        return self.path / "buildkitd.log"

    @property
    def link(self) -> Path:
        """The short way to the folder, whether it is needed or not."""
        return self.links / self._key

    @property
    def cgroup(self) -> str:
        """The name of its cgroup: leases of one name in two state folders must not share one."""
        return f"{self.lease}-{self._key[:8]}"

    @property
    def _key(self) -> str:
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:16]

    @property
    def needs_link(self) -> bool:
        """True if the socket's own path is longer than a socket address can be."""
        return len(os.fsencode(self.path / "socket")) > MAX_SOCKET_PATH

    @property
    def socket(self) -> Path:
        """The daemon's socket, by a path that fits in a socket address."""
        return (self.link if self.needs_link else self.path) / "socket"

    @property
    def trace_socket(self) -> Path:
        """A socket that the daemon opens for traces, by default at one place for all daemons of a machine."""
        return self.socket.with_name("trace")


@dataclass(frozen=True, slots=True)
class Held:
    """A lease folder whose lock this process holds."""

    folder: LeaseFolder
    lock: IO[str]

    def release(self) -> None:
        """Let go of the lock; the folder stays as it is."""
        self.lock.close()

    def forget(self) -> None:
        """Remove the record and the folder, which holds nothing else any more, and let go."""
        with contextlib.suppress(FileNotFoundError):
            self.folder.record.unlink()
        self.folder.path.rmdir()
        self.lock.close()


@dataclass(frozen=True, slots=True)
class LeaseFiles:
    """All leases of one state folder."""

    state: Path
    links: Path

    def folder(self, lease: str) -> LeaseFolder:
        """The places of a lease, whether it exists or not. Raises ValueError for what cannot be a lease's name."""
        if not _LEASE.fullmatch(lease):
            raise ValueError(f"{lease!r} is not a lease's name")
        return LeaseFolder(self.state / lease, self.links)

    def create(self, request: LeaseRequest) -> Held:
        """Make the lease's folder and its record, and hold it. Raises LianError if the lease is taken."""
        folder = self.folder(request.lease)
        with self._all_locked():
            try:
                folder.path.mkdir(mode=0o700)
            except FileExistsError as error:
                raise LianError(_taken(folder)) from error
            held = Held(folder, folder.record.open("x", encoding="utf-8"))
            fcntl.flock(held.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            json.dump(_record(request), held.lock, indent=1)
            held.lock.flush()
        return held

    def hold_dead(self, folder: LeaseFolder) -> Held | None:
        """Hold a lease whose owner is gone; None if it lives, is being removed by someone else, or is gone."""
        with self._all_locked():  # so a folder without a record is not one that is just being made
            try:
                held = Held(folder, folder.record.open("a+", encoding="utf-8", errors="replace"))
            except FileNotFoundError:
                return None
            if _try_lock(held) and not _owner_lives(held):
                return held
            held.release()
            return None

    def __iter__(self) -> Iterator[LeaseFolder]:
        """Every lease that has a folder, in order of names."""
        try:
            names = sorted(entry.name for entry in os.scandir(self.state) if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return
        yield from (self.folder(name) for name in names if _LEASE.fullmatch(name))

    @contextlib.contextmanager
    def _all_locked(self) -> Iterator[None]:
        """For the moment in which a lease is made or judged."""
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        with (self.state / _LOCK).open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def _try_lock(held: Held) -> bool:
    try:
        fcntl.flock(held.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _owner_lives(held: Held) -> bool:
    """By its record; one that cannot be read names nobody."""
    held.lock.seek(0)
    try:
        return Owner.from_json(json.load(held.lock)["owner"]).alive
    except (ValueError, KeyError, TypeError):
        return False


def _record(request: LeaseRequest) -> dict[str, object]:
    return {
        "kind": "lease",
        "version": 1,
        "fleet": request.fleet,
        "pass": request.pass_id,
        "lease": request.lease,
        "owner": Owner.current().to_json(),
        "deadline": time.time() + request.deadline,
    }


def _taken(folder: LeaseFolder) -> Problem:
    return Problem(
        "lease-taken",
        f"the lease {folder.lease} exists already",
        cause=f"{folder.path} is there; its owner lives, or died and has not been swept yet",
        hint="sweep what dead passes left behind if no pass of lian is running, and try again",
        next=Next.RETRY,
    )
