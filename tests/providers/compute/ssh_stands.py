"""Compute `ssh` against a server of the test's own, and what stands of leases on its machine."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from reconciler.providers.compute.mounts import mounts_below
from reconciler.providers.compute.ssh.connection import Identity
from reconciler.providers.compute.ssh.machine import Timing
from reconciler.providers.compute.ssh.provider import SshCompute, cgroup_of
from tests.ports.leasing import leasing_of
from tests.providers.compute.traces import NAMES, processes_of

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.apply.leasing import Leasing
    from reconciler.model.host import Host
    from tests.servers.sshd import Sshd

ASKING_SECONDS = 0.1
QUICK = Timing(beat=0.5, silence=4, slack=6.0)
"""For tests in which lian falls silent."""


def compute_at(host: Host, key: Path, state: Path, folder: Path, timing: Timing | None = None) -> SshCompute:
    """The provider, with this machine's side in `folder`."""
    return SshCompute([host], Identity(key), folder / "scratch", str(state), timing or Timing())


def compute_on(server: Sshd, folder: Path, timing: Timing | None = None) -> SshCompute:
    """The provider on a server."""
    return compute_at(server.host, server.key, server.state, folder, timing)


def leasing_on(server: Sshd, folder: Path, timing: Timing | None = None) -> Leasing:
    """As a pass has it."""
    return leasing_of(compute_on(server, folder, timing), folder / "rented", name="Ssh")


def traces(state: Path, folder: Path | None = None) -> list[str]:
    """What stands of any lease: files, processes, mounts and cgroups there, scratch folders here."""
    found = [f"folder {path}" for path in (state / "leases").glob("*")]
    found += [f"folder {path}" for path in (state / "leases").glob(".*")]
    found += [f"mount {point}" for point in mounts_below(state)]
    names = {cgroup_of(f"{state}/leases/{name}") for name in NAMES}
    found += [f"cgroup {path}/{name}" for path, below, _ in os.walk("/sys/fs/cgroup") for name in names & set(below)]
    found += [f"process {pid}" for pid in _staying(state / "leases")]
    return found + [f"scratch {path}" for path in ((folder / "scratch").glob("*") if folder else ())]


def _staying(folder: Path) -> list[int]:
    """A pass that lives asks for its lease again and again, also when another has ended it: who asks in that moment is
    no trace."""
    seen = processes_of(folder)
    if seen:
        time.sleep(ASKING_SECONDS)
        seen = [pid for pid in processes_of(folder) if pid in seen]
    return seen


def broken_path(folder: Path, path: str) -> str:
    """A search path in which buildkitd ends at once."""
    folder.mkdir()
    (folder / "buildkitd").symlink_to(str(shutil.which("false")))
    return f"{folder}{os.pathsep}{path}"


def logging_path(folder: Path, name: str, log: Path) -> Path:
    """A folder with a program of this name that notes with which words it was started, and then is that program."""
    folder.mkdir()
    (folder / name).write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >>{log}\nexec {shutil.which(name)} "$@"\n')
    (folder / name).chmod(0o755)
    return folder
