"""Registries and registry tools for tests: taken from PATH or the parts cache when usable, else built together."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parts.gobuild import GoModule, go_shortcoming
from parts.host import Host, Missing, StepFailed, exclusive
from reconciler.providers.builder.binaries import parts_folder
from tests import programs

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

MODULE = GoModule(programs.SOURCE, programs.examine)


def ensure_test_programs(host: Host, say: Callable[[str], None]) -> str:
    """Have usable registries and tools. Raises StepFailed with the remedy when there is no way to them here."""
    if not _lacking():
        return "already there"
    with exclusive(parts_folder(), say):
        if not (lacking := _lacking()):
            return "already there"
        if (why := go_shortcoming(MODULE.lowest_go)) is not None:
            raise StepFailed(_missing(lacking, why))
        target = parts_folder() / programs.folder()
        names = [name for name in programs.PACKAGES if name in lacking or _lies_in(target, name)]
        say(f"building {', '.join(names)} from their Go modules (about 1 minute on 2 cores)")
        packages = [programs.PACKAGES[name] for name in names]
        if (why := MODULE.build(packages, target, "set-up-test-programs.log")) is not None:
            raise StepFailed(_missing(lacking, why))
    if lacking := _lacking():
        why = "; ".join(found.why for name in lacking if (found := programs.find(name)).why)
        raise StepFailed(_missing(lacking, f"built, yet {why}"))
    return "ok"


def _lacking() -> list[str]:
    return [name for name in programs.PACKAGES if programs.find(name).why is not None]


def _lies_in(target: Path, name: str) -> bool:
    """Whether the program in use would go with the folder that is replaced."""
    path = programs.find(name).path
    return path is not None and path.is_relative_to(target)


def _missing(lacking: list[str], why: str) -> Missing:
    remedy = (
        f"install Go {MODULE.lowest_go} or newer (https://go.dev/dl/) and run this again, or put the programs on PATH\n"
        f"    or into {parts_folder() / programs.folder() / 'bin'}/"
    )
    return Missing(f"{', '.join(lacking)} (registries and tools that tests use)", why, remedy)
