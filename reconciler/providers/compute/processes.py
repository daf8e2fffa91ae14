"""Processes: who owns a lease, does that owner live, and how a child's life is tied to it (proc(5), prctl(2))."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PROC = Path("/proc")

_START_TIME = 21
"""Index of field 22 of /proc/PID/stat, the start time in clock ticks since boot."""
_TIE = '[ "$PPID" = "$0" ] && exec "$@"'


@dataclass(frozen=True, slots=True)
class Owner:
    """One process for all time: a pid alone is given again. `namespace` is where the pid counts."""

    pid: int
    started: int
    boot: str
    namespace: str

    @classmethod
    def of(cls, pid: int) -> Owner | None:
        """The process that has this pid now; None if there is none (a zombie is none: it owns nothing any more)."""
        try:
            fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            return None
        if fields[0] in {"Z", "X"}:
            return None
        return cls(pid, int(fields[_START_TIME - 2]), boot_id(), pid_namespace())

    @classmethod
    def current(cls) -> Owner:
        """This process."""
        owner = cls.of(os.getpid())
        assert owner is not None, "a running process stands in /proc"
        return owner

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> Owner:
        """Raises ValueError for anything that `to_json` did not write."""
        try:
            return cls(
                int(document["pid"]), int(document["started"]), str(document["boot"]), str(document["namespace"])
            )
        except (KeyError, TypeError) as error:
            raise ValueError(f"not an owner: {error!r}") from error

    def to_json(self) -> dict[str, int | str]:
        """As it stands in lease.json."""
        return asdict(self)

    @property
    def alive(self) -> bool:
        """True if this very process lives. An owner of another boot or pid namespace cannot be seen from here."""
        return Owner.of(self.pid) == self


def boot_id() -> str:
    """Changes at each boot of the machine."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def pid_namespace() -> str:
    """The pid namespace of this process, as the kernel names it."""
    return str((PROC / "self/ns/pid").readlink())


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
