"""What the kernel has said of processes that it ended for want of memory (Documentation/ABI/testing/dev-kmsg)."""

from __future__ import annotations

import os
import re
from pathlib import Path

LOG = Path("/dev/kmsg")
_RECORD = 8192
"""Bytes; a read gives one record, and fails where that is longer."""
_VICTIM = re.compile(rb"oom-kill:.*\btask_memcg=(?P<cgroup>[^,]*),")
"""Whoever's limit it was: the step's own, one above it, or that of the whole machine."""


def oom_kills_below(cgroup: str, log: Path = LOG) -> int | None:
    """How many processes in cgroups below this one the kernel has ended for want of memory; those that its log still
    tells of, which leaves out some where there are many at a time. None where it may not be read. The log has whole
    paths, of which `cgroup` is a part that no other one has, such as /lian/NAME: a container sees its own as the
    root."""
    try:
        handle = os.open(log, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        return sum(_is_below(record, cgroup.encode()) for record in iter(lambda: _next(handle), b""))
    except OSError:
        return None
    finally:
        os.close(handle)


def _next(handle: int) -> bytes:
    """The next record; none where there is no more."""
    while True:
        try:
            return os.read(handle, _RECORD)
        except BlockingIOError:
            return b""
        except BrokenPipeError:  # some were overwritten since the last read
            continue


def _is_below(record: bytes, cgroup: bytes) -> bool:
    found = _VICTIM.search(record)
    return found is not None and cgroup + b"/" in found["cgroup"]
