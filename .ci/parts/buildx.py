"""buildx, which tests hold lian's readers of bake and compose files against: taken from PATH or the parts cache when
usable, else built from its Go module.

`buildx/go.mod` and `go.sum` beside this file pin it with all it is made of, which is the BuildKit that set-up builds
first: what the two have in common is compiled once.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from parts.gobuild import GoModule, go_shortcoming
from parts.host import Host, Missing, StepFailed, exclusive
from reconciler.providers.builder.binaries import parts_folder
from tests import programs

if TYPE_CHECKING:
    from collections.abc import Callable

PACKAGE = "github.com/docker/buildx/cmd/buildx"
MODULE = GoModule(
    Path(__file__).parent / "buildx",
    programs.examine,
    linked={"github.com/docker/buildx/version.Version": programs.BUILDX_VERSION},
)


def ensure_buildx(host: Host, say: Callable[[str], None]) -> str:
    """Have a usable `buildx`. Raises StepFailed with the remedy when there is no way to it here."""
    if _lacks() is None:
        return "already there"
    with exclusive(parts_folder(), say):
        if _lacks() is None:
            return "already there"
        if (why := go_shortcoming(MODULE.lowest_go)) is not None:
            raise StepFailed(_missing(why))
        say(f"building {programs.BUILDX_VERSION} from its Go module (about 1 minute on 2 cores)")
        why = MODULE.build([PACKAGE], parts_folder() / programs.BUILDX_FOLDER, "set-up-buildx.log") or _lacks()
        if why is not None:
            raise StepFailed(_missing(why))
    return "ok"


def _lacks() -> str | None:
    return programs.find("buildx").why


def _missing(why: str) -> Missing:
    remedy = (
        f"install Go {MODULE.lowest_go} or newer (https://go.dev/dl/) and run this again, or put buildx on PATH\n"
        f"    or into {parts_folder() / programs.BUILDX_FOLDER / 'bin'}/"
    )
    return Missing("buildx (tests compare with it how bake and compose files are read)", why, remedy)
