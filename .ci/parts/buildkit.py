"""BuildKit: taken from PATH or the parts cache when usable, else built from its Go module.

`buildkit/go.mod` and `go.sum` beside this file pin the release and the checksum of every module it is made of.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from parts.gobuild import GoModule, go_shortcoming
from parts.host import Host, Missing, StepFailed, exclusive
from reconciler.providers.builder.binaries import (
    BUILDKIT_FOLDER,
    BUILDKIT_VERSION,
    examine_program,
    locate,
    parts_folder,
)

if TYPE_CHECKING:
    from collections.abc import Callable

PROGRAMS = ("buildctl", "buildkitd")
MODULE = GoModule(
    Path(__file__).parent / "buildkit",
    examine_program,
    linked={"github.com/moby/buildkit/version.Version": BUILDKIT_VERSION},
)


def ensure_buildkit(host: Host, say: Callable[[str], None]) -> str:
    """Have usable `buildctl` and `buildkitd`. Raises StepFailed with the remedy when there is no way to it here."""
    if _usable():
        return f"already there: {_whereabouts()}"
    if not host.is_linux:
        raise StepFailed(_missing("builds run on Linux only", "use a Linux machine for builds"))
    with exclusive(parts_folder(), say):
        if _usable():
            return f"already there: {_whereabouts()}"
        if (why := go_shortcoming(MODULE.lowest_go)) is not None:
            raise StepFailed(_missing(f"there is no usable BuildKit, and {why}", _remedy()))
        say(f"building {BUILDKIT_VERSION} from its Go module (about 2 minutes on 2 cores)")
        packages = [f"github.com/moby/buildkit/cmd/{name}" for name in PROGRAMS]
        if (why := MODULE.build(packages, parts_folder() / BUILDKIT_FOLDER, "set-up-buildkit.log")) is not None:
            raise StepFailed(_missing(why, _remedy()))
    if not _usable():
        why = "; ".join(found.why for name in PROGRAMS if (found := locate(name)).why)
        raise StepFailed(_missing(f"built, yet {why}", _remedy()))
    return f"ok: {_whereabouts()}"


def _usable() -> bool:
    return all(locate(name).why is None for name in PROGRAMS)


def _whereabouts() -> str:
    found = locate("buildkitd")
    return f"v{found.version} in {found.path.parent}" if found.path else ""


def _missing(why: str, remedy: str) -> Missing:
    return Missing("BuildKit (buildkitd and buildctl, v0.31 or newer; every build needs them)", why, remedy)


def _remedy() -> str:
    return (
        f"install Go {MODULE.lowest_go} or newer (https://go.dev/dl/) and run this again, or put buildkitd and\n"
        f"    buildctl of a BuildKit release on PATH or into {parts_folder() / BUILDKIT_FOLDER / 'bin'}/"
    )
