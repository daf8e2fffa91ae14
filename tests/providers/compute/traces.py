"""What stands of leases on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from reconciler.providers.compute.lease_folders import LeaseFolders
from reconciler.providers.compute.local import SOCKET_LINKS
from reconciler.providers.compute.mounts import mounts_below

NAMES = (
    "lease-1",
    "one",
    "two",
    "living",
    "mine",
    "other",
    "good",
    "bad",
    *(f"dead-{n}" for n in range(4)),
    "dead",
    "mid-build",
    "kept",
    "deep",
)
"""Of the leases in these tests; their cgroups have the state folder in their names, so they are a test's own."""


def traces(state: Path) -> list[str]:
    """What stands of any lease of this state folder: files, processes, mounts, cgroups, socket links."""
    leases = [entry for entry in state.iterdir() if entry.is_dir()] if state.is_dir() else []
    found = [f"folder {folder}" for folder in leases]
    found += [f"mount {point}" for point in mounts_below(state)]
    names = {LeaseFolders(state, SOCKET_LINKS).folder(name).cgroup for name in NAMES}
    found += [f"cgroup {path}/{name}" for path, below, _ in os.walk("/sys/fs/cgroup") for name in names & set(below)]
    found += [f"process {pid}" for pid in processes_of(state)]
    links = SOCKET_LINKS.iterdir() if SOCKET_LINKS.is_dir() else []
    return found + [f"link {link}" for link in links if link.readlink().is_relative_to(state)]


def processes_of(state: Path) -> list[int]:
    """All processes whose command line names something below the state folder."""
    prefix = os.fsencode(state) + b"/"
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                line = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if prefix in line and b"other_pass" not in line:
                found.append(int(entry.name))
    return found
