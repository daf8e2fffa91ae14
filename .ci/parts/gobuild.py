"""BuildKit: taken from PATH or the parts cache when usable, else built from its Go module.

`buildkit/go.mod` and `go.sum` beside this file pin the release and the checksum of every module it is made of.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from parts.host import Host, Missing, StepFailed, exclusive, log_tail, run_logged
from parts.placing import place, scratch_beside
from reconciler.providers.builder.binaries import (
    BUILDKIT_FOLDER,
    BUILDKIT_VERSION,
    cache_folder,
    examine_program,
    locate,
    parts_folder,
)

if TYPE_CHECKING:
    from collections.abc import Callable

MODULE = Path(__file__).parent / "buildkit"
PROGRAMS = ("buildctl", "buildkitd")
SWITCHES_SINCE = (1, 21)
"""From this release on the go command fetches a newer toolchain by itself, unless GOTOOLCHAIN forbids it."""

_VERSION_VARIABLE = "github.com/moby/buildkit/version.Version"
_GO_VERSION = re.compile(r"\bgo(\d+(?:\.\d+)+)")


def ensure_buildkit(host: Host, say: Callable[[str], None]) -> str:
    """Have usable `buildctl` and `buildkitd`. Raises StepFailed with the remedy when there is no way to it here."""
    if _usable():
        return f"already there: {_whereabouts()}"
    if not host.is_linux:
        raise StepFailed(_missing("builds run on Linux only", "use a Linux machine for builds"))
    with exclusive(parts_folder(), say):
        if _usable():
            return f"already there: {_whereabouts()}"
        if (why := go_shortcoming(_lowest_go())) is not None:
            raise StepFailed(_missing(why, _remedy()))
        say(f"building {BUILDKIT_VERSION} from its Go module (about 2 minutes on 2 cores)")
        _build(parts_folder() / BUILDKIT_FOLDER)
    if not _usable():
        why = "; ".join(found.why for name in PROGRAMS if (found := locate(name)).why)
        raise StepFailed(_missing(f"built, yet {why}", _remedy()))
    return f"ok: {_whereabouts()}"


def go_shortcoming(lowest: str) -> str | None:
    """Why the `go` on PATH cannot build a module that asks for `lowest`, or None."""
    program = shutil.which("go")
    if program is None:
        return "neither a usable BuildKit nor Go was found on PATH"
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


def _usable() -> bool:
    return all(locate(name).why is None for name in PROGRAMS)


def _whereabouts() -> str:
    found = locate("buildkitd")
    return f"v{found.version} in {found.path.parent}" if found.path else ""


def _build(target: Path) -> None:
    """Build both programs into scratch, run them, then move them into place together."""
    log = cache_folder() / "logs" / "set-up-buildkit.log"
    log.unlink(missing_ok=True)
    scratch = scratch_beside(target)
    (scratch / "bin").mkdir()
    argv = ["go", "build", "-trimpath", "-buildvcs=false", "-tags", "osusergo netgo static_build"]
    argv += ["-ldflags", f"-s -w -X {_VERSION_VARIABLE}={BUILDKIT_VERSION}", "-o", f"{scratch / 'bin'}/"]
    argv += [f"github.com/moby/buildkit/cmd/{name}" for name in PROGRAMS]
    settings = {"CGO_ENABLED": "0", "GOOS": "linux", "GOWORK": "off", "GOFLAGS": "-mod=readonly"}
    if not run_logged(argv, log, cwd=MODULE, env=settings, mortal=True):
        raise StepFailed(_missing(f"the build failed:\n{log_tail(log)}", _remedy()))
    for name in PROGRAMS:
        if (why := examine_program(name, scratch / "bin" / name).why) is not None:
            raise StepFailed(_missing(f"built, yet {why}\n    whole log: {log}", _remedy()))
    place(scratch, target)


def _lowest_go() -> str:
    """What go.mod asks for."""
    text = (MODULE / "go.mod").read_text(encoding="utf-8")
    found = re.search(r"^go (\S+)$", text, re.MULTILINE)
    if found is None:
        raise ValueError(f"{MODULE / 'go.mod'} has no go line")
    return found[1]


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


def _missing(why: str, remedy: str) -> Missing:
    return Missing("BuildKit (buildkitd and buildctl, v0.31 or newer; every build needs them)", why, remedy)


def _remedy() -> str:
    return (
        f"install Go {_lowest_go()} or newer (https://go.dev/dl/) and run this again, or put buildkitd and buildctl\n"
        f"    of a BuildKit release on PATH or into {parts_folder() / BUILDKIT_FOLDER / 'bin'}/"
    )
