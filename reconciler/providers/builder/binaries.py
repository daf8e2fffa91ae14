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
BUILDKIT_MINIMUM = (0, 31)
"""The oldest release that does."""
BUILDKIT_FOLDER = f"buildkit-{BUILDKIT_VERSION}"
"""Its folder in the parts cache; programs lie in `bin/` below it."""
PROBE_SECONDS = 10.0
"""How long a program may take to tell its version."""

_VERSION = re.compile(r"\bv?(\d+(?:\.\d+)+)")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is asked of a program: a lowest version, the parts folder it may lie in, the word that makes it tell its
    version."""

    minimum: tuple[int, ...] | None = None
    folder: str | None = None
    asked: str = "--version"


_ANY = Wanted()
_WANTED = {
    "buildkitd": Wanted(minimum=BUILDKIT_MINIMUM, folder=BUILDKIT_FOLDER),
    "buildctl": Wanted(minimum=BUILDKIT_MINIMUM, folder=BUILDKIT_FOLDER),
    "docker-registry": Wanted(folder="docker-registry"),
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


def locate(name: str, wanted: Wanted | None = None) -> Located:
    """Look for a program on PATH, then in the parts cache; the first usable one is taken. `wanted` is for programs
    that are no part of lian.

    When none is usable the first that exists is described, with the reason; nothing is raised.
    """
    wanted = wanted or _WANTED.get(name, _ANY)
    tried = [examine_program(name, path, wanted) for path in _candidates(name, wanted)]
    for found in tried:
        if found.why is None:
            return found
    return tried[0] if tried else Located(name, None, None, _absence(name, wanted))


def examine_program(name: str, path: Path, wanted: Wanted | None = None) -> Located:
    """Run the program so that it tells its version (`path --version`), and judge the answer."""
    wanted = wanted or _WANTED.get(name, _ANY)
    try:
        answer = subprocess.run(
            [name, wanted.asked],  # some tell the name they were called by, too: a folder's name is no version
            executable=path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PROBE_SECONDS,
            check=False,
            env={"PATH": os.environ.get("PATH", os.defpath)},
        )
    except subprocess.TimeoutExpired:
        return Located(name, path, None, f"{path} did not answer {wanted.asked} within {PROBE_SECONDS:.0f} s")
    except OSError as error:
        return Located(name, path, None, f"{path} does not run: {error.strerror or error}")
    if answer.returncode != 0:
        return Located(name, path, None, f"{path} {wanted.asked} ended with status {answer.returncode}")
    told = _VERSION.search(answer.stdout + answer.stderr)
    version = told[1] if told else None
    return Located(name, path, version, _shortcoming(path, version, wanted))


def _candidates(name: str, wanted: Wanted) -> list[Path]:
    """Existing executables of this name: the one on PATH, then the one in the parts cache."""
    paths = []
    if on_path := shutil.which(name):
        paths.append(Path(on_path))
    if wanted.folder and os.access(laid := parts_folder() / wanted.folder / "bin" / name, os.X_OK):
        paths.append(laid)
    return paths


def _absence(name: str, wanted: Wanted) -> str:
    place = f" nor in {parts_folder() / wanted.folder / 'bin'}" if wanted.folder else ""
    return f"{name} is not on PATH{place}"


def _shortcoming(path: Path, version: str | None, wanted: Wanted) -> str | None:
    """Why this version will not do, or None. A program without a lowest version need not name its own."""
    if wanted.minimum is None:
        return None
    minimum = ".".join(map(str, wanted.minimum))
    if version is None:
        return f"{path} {wanted.asked} names no version; v{minimum} or newer is needed"
    if tuple(int(number) for number in version.split(".")) < wanted.minimum:
        return f"{path} is v{version}; v{minimum} or newer is needed"
    return None
