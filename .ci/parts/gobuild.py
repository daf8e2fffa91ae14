"""Building programs from a Go module whose go.mod and go.sum pin every module they are made of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parts.host import log_tail, run_logged
from parts.placing import place, scratch_beside
from reconciler.providers.builder.binaries import cache_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from reconciler.providers.builder.binaries import Located

SWITCHES_SINCE = (1, 21)
"""From this release on the go command fetches a newer toolchain by itself, unless GOTOOLCHAIN forbids it."""

_GO_VERSION = re.compile(r"\bgo(\d+(?:\.\d+)+)")
_SWITCHES = ("-trimpath", "-buildvcs=false", "-tags", "osusergo netgo static_build")
"""The same for every module: what two of them are made of is then compiled once."""


@dataclass(frozen=True)
class GoModule:
    """`folder` holds go.mod and go.sum; `linked` are values set in the programs' variables; `examine` judges a built
    program by its name and path."""

    folder: Path
    examine: Callable[[str, Path], Located]
    linked: Mapping[str, str] = field(default_factory=dict)

    @property
    def lowest_go(self) -> str:
        """What go.mod asks for."""
        text = (self.folder / "go.mod").read_text(encoding="utf-8")
        found = re.search(r"^go (\S+)$", text, re.MULTILINE)
        if found is None:
            raise ValueError(f"{self.folder / 'go.mod'} has no go line")
        return found[1]

    def build(self, packages: Sequence[str], target: Path, log_name: str) -> str | None:
        """Build programs into scratch, run them, then move them into place together as `target`/bin; why that failed,
        or None.

        A program is named as the last part of its package. Call it under the lock of the target's parent; `log_name`
        is a new file in the logs folder.
        """
        log = cache_folder() / "logs" / log_name
        log.unlink(missing_ok=True)
        scratch = scratch_beside(target)
        (scratch / "bin").mkdir()
        link = " ".join(["-s -w", *(f"-X {name}={value}" for name, value in self.linked.items())])
        argv = ["go", "build", *_SWITCHES, "-ldflags", link, "-o", f"{scratch / 'bin'}/", *packages]
        settings = {"CGO_ENABLED": "0", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
        if not run_logged(argv, log, cwd=self.folder, env=settings, mortal=True):
            return f"the build failed:\n{log_tail(log)}"
        for package in packages:
            name = package.rpartition("/")[2]
            if (why := self.examine(name, scratch / "bin" / name).why) is not None:
                return f"built, yet {why}\n    whole log: {log}"
        place(scratch, target)
        return None


def go_shortcoming(lowest: str) -> str | None:
    """Why the `go` on PATH cannot build a module that asks for `lowest`, or None."""
    program = shutil.which("go")
    if program is None:
        return "Go was not found on PATH"
    told = _ask_go(program, "version")
    found = _GO_VERSION.search(told or "")
    if found is None:
        return f"{program} does not tell its version"
    if _numbers(found[1]) >= _numbers(lowest):
        return None
    switching = (_ask_go(program, "env", "GOTOOLCHAIN") or "").strip()
    if _numbers(found[1]) >= SWITCHES_SINCE and (switching == "auto" or switching.endswith("+auto")):
        return None
    return f"{program} is Go {found[1]}; {lowest} or newer is needed"


def _ask_go(program: str, *words: str) -> str | None:
    """The answer of a go command run outside any module (inside one it might fetch a toolchain), None on failure."""
    try:
        done = subprocess.run(
            [program, *words], cwd="/", env={**os.environ, "GOWORK": "off"}, capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(number) for number in version.split("."))
