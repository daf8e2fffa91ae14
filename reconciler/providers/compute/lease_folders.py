"""A lease on disk: `<state>/<lease>/`, with `lease.json` in it before anything else.

All that a lease has elsewhere (cgroup, socket link) is named after the folder, so a damaged `lease.json` loses nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.lease import Lease, is_lease_name
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.compute import TAKEN

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAX_SOCKET_PATH = 99
"""Bytes; the kernel takes 107 (unix(7)), tools add to it."""

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
class LeaseFolders:
    """All leases of one state folder."""

    state: Path
    links: Path

    def folder(self, lease: str) -> LeaseFolder:
        """The places of a lease, whether it exists or not. Raises ValueError for what cannot be a lease's name."""
        if not is_lease_name(lease):
            raise ValueError(f"{lease!r} is not a lease's name")
        return LeaseFolder(self.state / lease, self.links)

    def create(self, lease: Lease) -> LeaseFolder:
        """Make the lease's folder and its record. Raises LianError if there is one of this name."""
        folder = self.folder(lease.name)
        self.state.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            folder.path.mkdir(mode=0o700)
        except FileExistsError as error:
            raise LianError(_taken(folder)) from error
        folder.record.write_text(json.dumps({"kind": "lease", "version": 1} | lease.to_json(), indent=1))
        return folder

    def lease(self, folder: LeaseFolder, fleet: str) -> Lease:
        """What stands in its record. In a folder of lian's own a record that cannot be read is what an interrupted pass
        left: it is the `fleet`'s, and over."""
        try:
            return Lease.from_json(json.loads(folder.record.read_bytes()))
        except (OSError, ValueError, RecursionError):
            return Lease(folder.lease, fleet, "", 0.0, 0.0)

    def __iter__(self) -> Iterator[LeaseFolder]:
        """Every lease that has a folder, in order of names."""
        try:
            names = sorted(entry.name for entry in os.scandir(self.state) if entry.is_dir(follow_symlinks=False))
        except FileNotFoundError:
            return
        yield from (self.folder(name) for name in names if is_lease_name(name))


def _taken(folder: LeaseFolder) -> Problem:
    return Problem(
        TAKEN,
        f"the lease {folder.lease} exists already",
        cause=f"{folder.path} is there; its owner lives, or died and has not been swept yet",
        hint="run `lian runners sweep` if no pass of lian is running, and try again",
        next=Next.RETRY,
    )
