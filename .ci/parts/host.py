"""The machine that is set up: what it is, and running programs on it quietly."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

TAIL_LINES = 15

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Missing:
    """Something that could not be had: what and for what, why, and what to do by hand."""

    what: str
    why: str
    remedy: str


class StepFailed(Exception):
    """A step cannot go on; carries everything it misses."""

    def __init__(self, *missing: Missing) -> None:
        self.missing = missing
        super().__init__("; ".join(f"{part.what}: {part.why}" for part in missing))


@dataclass(frozen=True)
class Host:
    """Facts that decide how a part is got. Tests state them; `detect` reads them."""

    checkout: Path
    is_root: bool
    is_debian: bool
    is_linux: bool

    @classmethod
    def detect(cls, checkout: Path) -> Host:
        """Read the facts of this machine."""
        return cls(
            checkout=checkout,
            is_root=os.geteuid() == 0,
            is_debian=Path("/etc/debian_version").exists() and shutil.which("apt-get") is not None,
            is_linux=sys.platform == "linux",
        )


def run_logged(
    argv: Sequence[str | Path],
    log: Path,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    mortal: bool = False,
) -> bool:
    """Run a program with its output in `log` (appended); whether it ended with status 0.

    `env` is added to the environment. A `mortal` program is killed when set-up is killed (on Linux), so that it does
    not write where the next set-up already works. A program that cannot be started counts as failed; the log says why.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8", errors="replace") as sink:
        print("$", *argv, file=sink, flush=True)
        try:
            done = subprocess.run(
                list(argv),
                cwd=cwd,
                env={**os.environ, **(env or {})},
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                preexec_fn=_die_with_parent if mortal and sys.platform == "linux" else None,
                check=False,
            )
        except OSError as error:
            print(error, file=sink)
            return False
    return done.returncode == 0


def _die_with_parent() -> None:
    """In the child, before its program starts: the kernel kills it when its parent ends (prctl(2))."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def log_tail(log: Path) -> str:
    """The log's last lines, indented, and where the whole of it lies."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()[-TAIL_LINES:]
    return "\n".join([*(f"    | {line}" for line in lines), f"    whole log: {log}"])


@contextlib.contextmanager
def exclusive(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the folder's lock, so that two set-ups at once take turns. The lock ends with the process."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another set-up")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
