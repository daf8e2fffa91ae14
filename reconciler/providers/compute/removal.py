"""Returning a lease: everything it has on this machine is ended and removed, whoever left it and in whatever state.

Each step can be repeated; what is gone already is fine. The record goes last, so that an interrupted removal is seen to
be one.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.compute import NOT_REMOVED
from reconciler.providers.compute.mounts import mounts_below
from reconciler.providers.compute.processes import kill_and_wait, with_argument

if TYPE_CHECKING:
    from reconciler.providers.compute.cgroups import Hierarchies
    from reconciler.providers.compute.lease_folders import LeaseFolder

KILL_SECONDS = 10.0


def remove(folder: LeaseFolder, cgroups: Hierarchies) -> None:
    """Remove all of a lease, then the lease itself; one that is not there has gone already. Raises LianError naming
    what could not be removed; the lease's folder then stays, for another try."""
    try:
        left = [
            *_end_processes(folder, cgroups),
            *_unmount(folder),
            *_remove_files(folder),
            *(str(path) for path in cgroups.remove(folder.cgroup)),
        ]
        if not left:
            _forget(folder)
    except OSError as error:
        left = [f"{error.filename or folder.path}: {error.strerror}"]
    if left:
        raise LianError(_not_removed(folder, left))


def _forget(folder: LeaseFolder) -> None:
    """The record, and the folder, which holds nothing else any more."""
    folder.record.unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        folder.path.rmdir()


def _end_processes(folder: LeaseFolder, cgroups: Hierarchies) -> list[str]:
    """The daemon's namespace takes its steps with it; what stands in the cgroup all the same is ended after it."""
    alive = kill_and_wait(with_argument(str(folder.config)), KILL_SECONDS)
    alive += cgroups.kill(folder.cgroup, KILL_SECONDS)
    return [f"process {pid}" for pid in alive]


def _unmount(folder: LeaseFolder) -> list[str]:
    left = []
    for point in mounts_below(folder.path):
        done = _run("umount", "--lazy", "--", str(point))
        if done.returncode:
            left.append(f"mount {point}")
    return left


def _remove_files(folder: LeaseFolder) -> list[str]:
    """All but the record. `rm` is told to stay on this file system, so that nothing mounted here loses its files."""
    with contextlib.suppress(FileNotFoundError):
        folder.link.unlink()
    with contextlib.suppress(OSError):  # other links are in it, or it was never made
        folder.links.rmdir()
    try:
        content = [entry.path for entry in os.scandir(folder.path) if Path(entry.path) != folder.record]
    except FileNotFoundError:
        return []
    if not content:
        return []
    done = _run("rm", "-rf", "--one-file-system", "--", *content)
    return done.stderr.decode(errors="replace").splitlines() if done.returncode else []


def _run(*words: str) -> subprocess.CompletedProcess[bytes]:
    """A tool of the system, which needs nothing of our environment but where it is: credentials may stand in it."""
    environ = {"PATH": os.environ.get("PATH", os.defpath)}
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, env=environ)


def _not_removed(folder: LeaseFolder, left: list[str]) -> Problem:
    return Problem(
        NOT_REMOVED,
        f"the lease {folder.lease} could not be removed completely",
        cause="still there: " + "; ".join(left),
        hint=f"remove it by hand, then {folder.path}; the next sweep tries again",
        next=Next.RETRY,
    )
