"""buildx itself: the program that LIAN_TEST_BUILDX names, else `buildx` on PATH or in the parts cache."""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests import programs
from tests.needs import not_run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.providers.builder.binaries import Located

VARIABLE = "LIAN_TEST_BUILDX"


def program() -> Path:
    """Where it is; the test ends as not run without one."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    found = _found()
    if found.path is None or found.why is not None:
        not_run(f"{found.why}, and {VARIABLE} names none: bake and compose files are not read beside buildx")
    return found.path


@cache
def _found() -> Located:
    return programs.find("buildx")


def on_path(folder: Path) -> str:
    """A PATH with it and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "buildx").symlink_to(program().resolve())
    return str(folder)


def printed(folder: Path, file: str, names: Sequence[str] = ()) -> dict[str, Any] | str:
    """The targets of a file as it prints them, or what it says is wrong."""
    words = [str(program()), "bake", "--file", file, "--print", *names]
    done = subprocess.run(
        words, cwd=folder, env={"PATH": os.defpath, "HOME": str(folder)}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        return done.stderr.rpartition("ERROR: ")[2].strip()
    targets: dict[str, Any] = json.loads(done.stdout).get("target", {})
    return targets
