"""Processes: how a child's life is tied to ours, which there are, and how they are ended (proc(5), prctl(2))."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PROC = Path("/proc")

_TIE = '[ "$PPID" = "$0" ] && exec "$@"'


def tied(argv: Sequence[str]) -> list[str]:
    """The command, killed by the kernel when this process dies (PR_SET_PDEATHSIG, without code between fork and exec).

    A parent that died before the signal was set is noticed by the shell, which then starts nothing. The signal is
    tied to the *thread* that starts the command: start it from one that lives as long as the command shall.
    """
    return ["setpriv", "--pdeathsig", "KILL", "sh", "-c", _TIE, str(os.getpid()), *argv]


def only_child(pid: int) -> int | None:
    """The pid of the first child of a process with one thread, if it has one."""
    try:
        children = (PROC / str(pid) / "task" / str(pid) / "children").read_text().split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(children[0]) if children else None


def with_argument(argument: str) -> list[int]:
    """The pids of all other processes that have exactly this word on their command line."""
    wanted, own = os.fsencode(argument), os.getpid()
    entries = ((int(entry.name), entry) for entry in PROC.iterdir() if entry.name.isdigit())
    return [pid for pid, entry in entries if pid != own and wanted in _command_line(entry)]


def _command_line(entry: Path) -> list[bytes]:
    try:
        return (entry / "cmdline").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError):
        return []  # it has ended meanwhile


def kill_and_wait(pids: Iterable[int], seconds: float) -> list[int]:
    """SIGKILL each, and wait until they have ended; returns those that have not after `seconds`."""
    handles: dict[int, int] = {}
    try:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                handles[pid] = os.pidfd_open(pid)
                signal.pidfd_send_signal(handles[pid], signal.SIGKILL)
        return [pid for pid, handle in handles.items() if not _ended(handle, seconds)]
    finally:
        for handle in handles.values():
            os.close(handle)


def _ended(handle: int, seconds: float) -> bool:
    """Wait for the process behind a pidfd; it becomes readable when the process ends (pidfd_open(2))."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(seconds * 1000))
