"""Looking at the machine: one probe for each kind of part. Each tells what it found and why that will not do."""

from __future__ import annotations

import ctypes
import errno
import importlib.metadata
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LOWEST_FREE_BYTES = 2 * 1024**3
"""Free space below which builds are likely to end with a full disk."""
CONTROLLERS = ("memory", "cpu")
"""The cgroup controllers by which a build's tier is enforced."""
NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--mount-proc", "--propagation", "private")
"""The namespaces a build daemon gets for itself, so that it cannot outlive lian."""

_PROBE_SECONDS = 10.0
_LANDLOCK_CREATE_RULESET = 444  # the same number on every architecture
_LANDLOCK_VERSION_FLAG = 1


class Located(Protocol):
    """What looking for a program gives; usable exactly when `why` is None."""

    @property
    def path(self) -> Path | None: ...
    @property
    def version(self) -> str | None: ...
    @property
    def why(self) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Found:
    """What a probe saw. Usable exactly when `why` is None."""

    version: str | None = None
    path: Path | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the probes look at. `locate` finds a program by name; `mounts` has the form of /proc/self/mounts."""

    locate: Callable[[str], Located]
    cache: Path
    mounts: Path = Path("/proc/self/mounts")
    is_root: bool = False
    is_linux: bool = True

    @classmethod
    def here(cls, locate: Callable[[str], Located], cache: Path) -> Surroundings:
        """This process's surroundings."""
        return cls(locate, cache, is_root=os.geteuid() == 0, is_linux=sys.platform == "linux")


def probe_program(name: str) -> Callable[[Surroundings], Found]:
    """A probe that looks for the program `name`."""

    def look(around: Surroundings) -> Found:
        seen = around.locate(name)
        return Found(seen.version, seen.path, seen.why)

    return look


def probe_nickel(around: Surroundings) -> Found:
    """The `nickel` command where there is one, else the evaluator of the py-nickel wheel."""
    command = around.locate("nickel")
    if command.why is None:
        return Found(command.version, command.path)
    spec = importlib.util.find_spec("nickel")
    if spec is None or spec.origin is None:
        return Found(why=f"{command.why}, and the Python package py-nickel is not installed")
    path = Path(spec.origin)
    failure = _failure([sys.executable, "-I", "-c", "import nickel"])
    if failure is not None:
        return Found(path=path, why=f"{command.why}, and py-nickel does not load: {failure}")
    return Found(importlib.metadata.version("py-nickel") + " (py-nickel)", path)


def probe_credential_helpers(around: Surroundings) -> Found:
    """Whether the credential helpers that Docker's configuration names are there; none is named, none is missing."""
    path = Path(os.environ.get("DOCKER_CONFIG") or Path("~/.docker").expanduser()) / "config.json"
    try:
        document = json.loads(path.read_bytes())
        named = {document.get("credsStore"), *(document.get("credHelpers") or {}).values()}
    except (FileNotFoundError, NotADirectoryError):
        return Found()
    except (OSError, ValueError, AttributeError, TypeError, RecursionError):
        return Found(path=path, why=f"{path} is not Docker's configuration")
    programs = sorted(f"docker-credential-{name}" for name in named if isinstance(name, str) and name)
    missing = [program for program in programs if shutil.which(program) is None]
    return Found(path=path, why=f"not on PATH: {', '.join(missing)}" if missing else None)


def probe_namespaces(around: Surroundings) -> Found:
    """Whether mount and pid namespaces can be made, by making them for a moment."""
    if not around.is_linux:
        return Found(why="namespaces are a feature of Linux")
    program = shutil.which(NAMESPACES[0])
    if program is None:
        return Found(why=f"{NAMESPACES[0]} is not on PATH")
    if not around.is_root:
        return Found(path=Path(program), why="not root")
    failure = _failure([*NAMESPACES, "true"])
    return Found(path=Path(program), why=f"{' '.join(NAMESPACES)} was refused: {failure}" if failure else None)


def probe_cgroups(around: Surroundings) -> Found:
    """Whether the memory and cpu controllers are mounted (v1 or v2) and may be written to."""
    if not around.is_linux:
        return Found(why="cgroups are a feature of Linux")
    try:
        version, folders = cgroup_folders(around.mounts.read_text(encoding="utf-8"))
    except OSError as error:
        return Found(why=f"{around.mounts} cannot be read: {error.strerror}")
    if lacking := [name for name in CONTROLLERS if name not in folders]:
        return Found(version, why=f"no cgroup controller for {' and '.join(lacking)}")
    folder = folders[CONTROLLERS[0]]
    for name in CONTROLLERS:
        if not os.access(folders[name], os.W_OK):
            return Found(version, folders[name], f"{folders[name]} may not be written to")
    return Found(version, folder)


def cgroup_folders(mounts: str) -> tuple[str | None, Mapping[str, Path]]:
    """The hierarchy's version ("v1", "v2") and each wanted controller's mount point (cgroups(7)).

    `mounts` has the form of /proc/self/mounts. Where v1 has a controller, v2 cannot have it as well.
    """
    folders: dict[str, Path] = {}
    version = None
    for fields in (line.split() for line in mounts.splitlines()):
        point, kind, options = Path(_unescaped(fields[1])), fields[2], fields[3].split(",")
        if kind == "cgroup":
            offered, told = options, "v1"
        elif kind == "cgroup2":
            offered, told = _offered_by_v2(point), "v2"
        else:
            continue
        for name in CONTROLLERS:
            if name in offered and name not in folders:
                folders[name], version = point, told
    return version, folders


def probe_landlock(around: Surroundings) -> Found:
    """The kernel's Landlock ABI (landlock(7)), asked without restricting anything."""
    if not around.is_linux:
        return Found(why="Landlock is a feature of Linux")
    libc = ctypes.CDLL(None, use_errno=True)
    abi = libc.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint32(_LANDLOCK_VERSION_FLAG))
    if abi >= 1:
        return Found(f"ABI {abi}")
    code = ctypes.get_errno()
    if code == errno.EOPNOTSUPP:
        return Found(why="the kernel has Landlock, but it was not enabled at boot")
    return Found(why=f"the kernel has no Landlock ({os.strerror(code)})")


def probe_space(around: Surroundings) -> Found:
    """Free space where the cache folder lies or will lie."""
    existing = next(folder for folder in (around.cache, *around.cache.parents) if folder.exists())
    if not existing.is_dir():
        return Found(path=around.cache, why=f"{existing} is not a folder")
    free = shutil.disk_usage(existing).free
    told = f"{free / 1024**3:.1f} GiB free"
    if free < LOWEST_FREE_BYTES:
        return Found(told, around.cache, f"only {told}; {LOWEST_FREE_BYTES / 1024**3:.0f} GiB are needed")
    if not os.access(existing, os.W_OK):
        return Found(told, around.cache, f"{existing} may not be written to")
    return Found(told, around.cache)


def _offered_by_v2(point: Path) -> list[str]:
    try:
        return (point / "cgroup.controllers").read_text(encoding="utf-8").split()
    except OSError:
        return []  # a mount that does not tell its controllers offers none


def _unescaped(field: str) -> str:
    """A field of a mount table; blanks and backslashes in it are octal escapes (fstab(5))."""
    return re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), field)


def _failure(argv: list[str]) -> str | None:
    """Why a program did not end with status 0: the last line of its error output; None when it did. Of our environment
    it is given the way to programs alone: credentials may stand in the rest."""
    environ = {"PATH": os.environ.get("PATH", os.defpath)}
    try:
        done = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_PROBE_SECONDS,
            check=False,
            env=environ,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {_PROBE_SECONDS:.0f} s"
    except OSError as error:
        return error.strerror or str(error)
    if done.returncode == 0:
        return None
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"status {done.returncode}"
