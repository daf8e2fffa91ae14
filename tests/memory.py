"""Temporary folders in memory, where there is enough of it: what tests write is small and soon gone, and a disk would
be waited for at each fsync of each daemon. A test marked `disk` has its folder where temporary files are otherwise:
what a step writes into memory counts as memory that it uses."""

from __future__ import annotations

import os
import re
import tempfile
from pathlib import Path

FOLDER = Path("/dev/shm")
VARIABLE = "PYTEST_DEBUG_TEMPROOT"
"""Where pytest keeps temporary folders; pytest's own name for it."""
ENOUGH = 4 << 30
"""Bytes that must be free there, and twice that of the machine's memory. A whole run on two workers needs about one
GiB."""


def prefer() -> None:
    """Let this session and its workers keep their temporary folders there, if somebody has not chosen otherwise."""
    if VARIABLE not in os.environ and _free() >= ENOUGH and _available() >= 2 * ENOUGH:
        os.environ[VARIABLE] = str(FOLDER)


def on_disk() -> tempfile.TemporaryDirectory[str]:
    """A folder elsewhere."""
    return tempfile.TemporaryDirectory(prefix="lian-test-", ignore_cleanup_errors=True)


def _free() -> int:
    try:
        told = os.statvfs(FOLDER)
    except OSError:
        return 0
    return told.f_bavail * told.f_frsize if os.access(FOLDER, os.W_OK) else 0


def _available() -> int:
    """Bytes of memory that can be had; 0 if nobody tells."""
    try:
        found = re.search(r"MemAvailable: *(\d+) kB", Path("/proc/meminfo").read_text())
    except OSError:
        return 0
    return int(found[1]) << 10 if found else 0
