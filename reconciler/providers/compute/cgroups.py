"""The cgroup of a lease, `/lian/<name>`, below which runc puts each step of its builds (cgroups(7)).

With cgroup v1 it is a folder in every mounted hierarchy (a controller-less v2 one beside them included, as runc does),
with v2 there is one hierarchy. It serves to measure the builds (the daemon is not in it) and to find whatever a build
has left.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.providers.compute.kernel_log import oom_kills_below
from reconciler.providers.compute.mounts import read_mounts
from reconciler.providers.compute.processes import kill_and_wait

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.providers.compute.mounts import Mount

PARENT = "lian"
UNIFIED = Path("/sys/fs/cgroup")
RELEASE_SECONDS = 2.0
"""How long the kernel may take to let go of a cgroup whose processes have ended."""

_CONTROLLERS = "+cpu +memory +pids"


_MEMORY = {
    True: ("memory.current", "memory.peak", ""),
    False: ("memory.usage_in_bytes", "memory.max_usage_in_bytes", "total_"),
}
"""Unified or not -> the files of what is and of what was used at most, and what stands before the lines of memory.stat
that count what is below as well."""


@dataclass(frozen=True, slots=True)
class MemoryReading:
    """Bytes: in use, of that the pages of files, and the most that ever was in use (None before Linux 5.19 with v2)."""

    used: int
    files: int
    peak: int | None


@dataclass(frozen=True, slots=True)
class Hierarchies:
    """Where cgroups are mounted: one folder with v2, one for each set of controllers with v1. `name` is that of the
    lease's cgroup everywhere (LeaseFolder.cgroup)."""

    roots: tuple[Path, ...]
    unified: bool
    memory: Path | None
    """The hierarchy that accounts memory."""
    cpu: Path | None = None
    """The one that accounts processor time."""

    @classmethod
    def of(cls, mounts: Iterable[Mount]) -> Hierarchies:
        """From the mount table, in the way runc sees it: v2 if and only if /sys/fs/cgroup itself is of that type."""
        mounts = list(mounts)
        if any(mount.kind == "cgroup2" and mount.point == UNIFIED for mount in mounts):
            return cls((UNIFIED,), True, UNIFIED, UNIFIED)
        found = [mount for mount in mounts if mount.kind in {"cgroup", "cgroup2"}]
        memory, cpu = (
            next((mount.point for mount in found if option in mount.options), None) for option in ("memory", "cpuacct")
        )
        return cls(tuple(dict.fromkeys(mount.point for mount in found)), False, memory, cpu)

    @classmethod
    def here(cls) -> Hierarchies:
        """Those of this machine."""
        return cls.of(read_mounts())

    def create(self, name: str) -> str | None:
        """Make the lease's cgroup and return its path as runc takes it, or None where this process may not."""
        try:
            for root in self.roots:
                self._create_in(root, name)
        except OSError as error:
            self.remove(name)
            if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
                return None
            raise
        return f"/{PARENT}/{name}" if self.roots else None

    def _create_in(self, root: Path, name: str) -> None:
        for attempt in range(10):
            try:
                (root / PARENT / name).mkdir(parents=True, exist_ok=True)
                break
            except FileNotFoundError:
                if attempt == 9:  # someone else removes the empty parent each time
                    raise
        if self.unified:
            for folder in (root, root / PARENT):
                with contextlib.suppress(OSError):  # then memory is not measured; runc says what it cannot do
                    (folder / "cgroup.subtree_control").write_text(_CONTROLLERS)

    def memory_reading(self, name: str) -> MemoryReading | None:
        """What the lease's cgroup uses of memory now, with all below it."""
        if self.memory is None:
            return None
        folder = self.memory / PARENT / name
        current, peak, prefix = _MEMORY[self.unified]
        try:
            lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
            stat = {words[0]: int(words[1]) for words in lines}
            files = stat[f"{prefix}inactive_file"] + stat[f"{prefix}active_file"]
            return MemoryReading(int((folder / current).read_text()), files, _number(folder / peak))
        except (OSError, KeyError, ValueError, IndexError):
            return None

    def cpu_seconds(self, name: str) -> float | None:
        """Processor time of the lease so far: cpuacct.usage in nanoseconds (v1), usage_usec in cpu.stat (v2)."""
        if self.cpu is None:
            return None
        folder = self.cpu / PARENT / name
        try:
            if not self.unified:
                return int((folder / "cpuacct.usage").read_text()) / 1e9
            lines = (line.split() for line in (folder / "cpu.stat").read_text().splitlines())
            return next(int(words[1]) / 1e6 for words in lines if words[0] == "usage_usec")
        except (OSError, StopIteration, ValueError, IndexError):
            return None

    def oom_kills(self, name: str) -> int | None:
        """Processes below the lease's cgroup that the kernel has ended for want of memory: `oom_kill` of memory.events,
        which counts what is below as well (v2). With v1 a cgroup counts its own alone, and a step's goes with it: there
        the kernel's log tells, as far back as it reaches and to whom it may."""
        if self.memory is None:
            return None
        if not self.unified:
            return oom_kills_below(f"/{PARENT}/{name}")
        try:
            lines = (self.memory / PARENT / name / "memory.events").read_text().splitlines()
            return next(int(words[1]) for words in map(str.split, lines) if words[0] == "oom_kill")
        except (OSError, StopIteration, ValueError, IndexError):
            return None

    def kill(self, name: str, seconds: float) -> list[int]:
        """SIGKILL every process in the lease's cgroup; returns those that live on."""
        return kill_and_wait(set(self._processes(name)), seconds)

    def _processes(self, name: str) -> Iterable[int]:
        for folder in self.folders(name):
            with contextlib.suppress(FileNotFoundError):
                yield from map(int, (folder / "cgroup.procs").read_text().split())

    def folders(self, name: str) -> list[Path]:
        """Every cgroup folder of the lease that exists, children before their parents."""
        tops = [root / PARENT / name for root in self.roots]
        return [Path(folder) for top in tops for folder, _, _ in os.walk(top, topdown=False)]

    def remove(self, name: str) -> list[Path]:
        """Remove the lease's cgroup, and the parent when no other lease is there; returns what could not be."""
        left = [folder for folder in self.folders(name) if not _remove(folder)]
        for root in self.roots:
            with contextlib.suppress(OSError):  # another lease is in it
                (root / PARENT).rmdir()
        return left


def _number(file: Path) -> int | None:
    try:
        return int(file.read_text())
    except OSError:
        return None


def _remove(folder: Path) -> bool:
    give_up = time.monotonic() + RELEASE_SECONDS
    while True:
        try:
            folder.rmdir()
        except FileNotFoundError:
            return True
        except OSError:
            if time.monotonic() > give_up:
                return False
            time.sleep(0.002)
        else:
            return True
