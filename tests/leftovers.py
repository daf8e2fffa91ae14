"""What a test session left behind: daemons and mounts that are its own and should be gone."""

from __future__ import annotations

import os
import time
from pathlib import Path

VARIABLE = "LIAN_TEST_SESSION"
DAEMONS = frozenset(
    {
        "buildkitd",
        "buildctl",
        "containerd",
        "containerd-shim",
        "docker-registry",
        "dockerd",
        "ggcr",
        "registry",
        "rsync",
        "runc",
        "sshd",
        "zot",
    }
)
GRACE_SECONDS = 2.0
"""A killed daemon may need this long until its memory and mounts are gone."""


def leftovers(session: str, folder: Path) -> list[str]:
    """The daemons and mounts of this session that are still there after the grace, one line each.

    A process is the session's own when it descends from this one, carries the session's variable, or names `folder`
    (daemons are started with a scrubbed environment and may have lost their parent): others may be testing too.
    """
    deadline = time.monotonic() + GRACE_SECONDS
    while (found := [*_daemons(session, folder), *_mounts(folder)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def _daemons(session: str, folder: Path, proc: Path = Path("/proc")) -> list[str]:
    if not proc.is_dir():
        return []
    parents = {int(entry.name): _parent(entry) for entry in proc.iterdir() if entry.name.isdecimal()}
    found = []
    for pid in parents:
        name, line, environment = (_read(proc / str(pid) / what) for what in ("comm", "cmdline", "environ"))
        if name.strip() not in DAEMONS:
            continue
        marked = f"{VARIABLE}={session}" in environment.split("\0")
        if marked or str(folder) in line or _descends(pid, os.getpid(), parents):
            found.append(f"process {pid}: {line.replace(chr(0), ' ').strip() or name.strip()}")
    return found


def _mounts(folder: Path, table: Path = Path("/proc/self/mountinfo")) -> list[str]:
    points = (line.split()[4] for line in _read(table).splitlines())
    return [f"mount {point}" for point in points if Path(point).is_relative_to(folder)]


def _descends(pid: int, ancestor: int, parents: dict[int, int]) -> bool:
    while pid := parents.get(pid, 0):
        if pid == ancestor:
            return True
    return False


def _parent(entry: Path) -> int:
    """The parent's id, from the field after the name, which may hold blanks and brackets (proc(5))."""
    fields = _read(entry / "stat").rpartition(")")[2].split()
    return int(fields[1]) if fields else 0


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""  # the process ended meanwhile
