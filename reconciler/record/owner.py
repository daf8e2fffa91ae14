"""Whose something is: a process, for all time (proc(5))."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

PROC = Path("/proc")

_START_TIME = 21
"""Index of field 22 of /proc/PID/stat, the start time in clock ticks since boot."""


@dataclass(frozen=True, slots=True)
class Owner:
    """One process: a pid alone is given again. `namespace` is where the pid counts."""

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
    def current(cls) -> Owner | None:
        """This process; None where the system does not tell of processes in /proc."""
        return cls.of(os.getpid())

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Owner:
        """Raises ValueError for anything that `to_json` did not write."""
        try:
            return cls(
                int(document["pid"]), int(document["started"]), str(document["boot"]), str(document["namespace"])
            )
        except (KeyError, TypeError, OverflowError) as error:
            raise ValueError(f"not an owner: {error!r}") from error

    def to_json(self) -> dict[str, int | str]:
        """As it stands in files."""
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
