"""buildx itself. Set-up does not install it: it is `buildx` on PATH, or the program that LIAN_TEST_BUILDX names."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.needs import not_run

if TYPE_CHECKING:
    from collections.abc import Sequence

VARIABLE = "LIAN_TEST_BUILDX"


def program() -> Path:
    """Where it is; the test ends as not run without one."""
    found = os.environ.get(VARIABLE) or shutil.which("buildx")
    if found is None:
        not_run(
            f"buildx is not on PATH, and {VARIABLE} names none: bake files are not read as it reads them", optional=True
        )
    return Path(found)


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
