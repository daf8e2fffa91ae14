"""Where the programs that a build needs are found: on PATH when usable, else in the parts cache.

Set-up (`make setup`) runs this before anything is installed, so it imports the standard library only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

BUILDKIT_VERSION = "v0.33.1"
"""The release that set-up builds when PATH has none that is new enough."""
BUILDKIT_FOLDER = f"buildkit-{BUILDKIT_VERSION}"
"""Its folder in the parts cache; programs lie in `bin/` below it."""
PROBE_SECONDS = 10.0
"""How long a program may take to tell its version."""

_VERSION = re.compile(r"\bv?(\d+(?:\.\d+)+)")


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is asked of a program: a lowest version, and the parts folder it may lie in."""

    minimum: tuple[int, ...] | None = None
    folder: str | None = None


_WANTED = {
    "buildkitd": _Wanted(minimum=(0, 31), folder=BUILDKIT_FOLDER),
    "buildctl": _Wanted(minimum=(0, 31), folder=BUILDKIT_FOLDER),
    "docker-registry": _Wanted(folder="docker-registry"),
}


@dataclass(frozen=True, slots=True)
class Located:
    """A program that was looked for. Usable exactly when `why` is None; then `path` is set."""

    name: str
    path: Path | None
    version: str | None
    why: str | None


def cache_folder() -> Path:
    """lian's folder below the user's cache folder (XDG base directories: a relative value is ignored)."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(configured) if configured.startswith("/") else Path("~/.cache").expanduser()
    return base / "lian"


def parts_folder() -> Path:
    """Where set-up lays down what it builds, and where parts laid down by hand are looked for."""
    return cache_folder() / "parts"


def find_part(name: str) -> Path | None:
    """The program's path if it is usable (it was run and told a version that is new enough), else None."""
    found = locate(name)
    return found.path if found.why is None else None


def locate(name: str) -> Located:
    """Look for a program on PATH, then in the parts cache; the first usable one is taken.

    When none is usable the first that exists is described, with the reason; nothing is raised.
    """
    tried = [examine_program(name, path) for path in _candidates(name)]
    for found in tried:
        if found.why is None:
            return found
    return tried[0] if tried else Located(name, None, None, _absence(name))


def examine_program(name: str, path: Path) -> Located:
    """Run `path --version` and judge the answer."""
    try:
        answer = subprocess.run(
            [path, "--version"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Located(name, path, None, f"{path} did not answer --version within {PROBE_SECONDS:.0f} s")
    except OSError as error:
        return Located(name, path, None, f"{path} does not run: {error.strerror or error}")
    if answer.returncode != 0:
        return Located(name, path, None, f"{path} --version ended with status {answer.returncode}")
    told = _VERSION.search(answer.stdout + answer.stderr)
    version = told[1] if told else None
    return Located(name, path, version, _shortcoming(name, path, version))


def _candidates(name: str) -> list[Path]:
    """Existing executables of this name: the one on PATH, then the one in the parts cache."""
    paths = []
    if on_path := shutil.which(name):
        paths.append(Path(on_path))
    folder = _WANTED.get(name, _Wanted()).folder
    if folder and os.access(laid := parts_folder() / folder / "bin" / name, os.X_OK):
        paths.append(laid)
    return paths


def _absence(name: str) -> str:
    folder = _WANTED.get(name, _Wanted()).folder
    place = f" nor in {parts_folder() / folder / 'bin'}" if folder else ""
    return f"{name} is not on PATH{place}"


def _shortcoming(name: str, path: Path, version: str | None) -> str | None:
    """Why this version will not do, or None. A program without a lowest version need not name its own."""
    minimum = _WANTED.get(name, _Wanted()).minimum
    if minimum is None:
        return None
    wanted = ".".join(map(str, minimum))
    if version is None:
        return f"{path} --version names no version; v{wanted} or newer is needed"
    if tuple(int(number) for number in version.split(".")) < minimum:
        return f"{path} is v{version}; v{wanted} or newer is needed"
    return None
