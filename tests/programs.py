"""Programs that only tests use: taken from PATH when usable, else from the parts cache, where set-up lays them down.

Set-up imports this before anything is installed: standard library only (and `reconciler.providers.builder.binaries`,
which keeps to the same rule).
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.providers.builder.binaries import Wanted, examine_program, locate

if TYPE_CHECKING:
    from reconciler.providers.builder.binaries import Located

SOURCE = Path(__file__).parent / "servers/go"
"""The Go module they are built from."""
PACKAGES = {
    "registry": "./registry",
    "ggcr": "./ggcr",
    "crane": "github.com/google/go-containerregistry/cmd/crane",
    "oras": "oras.land/oras/cmd/oras",
}
"""Each program and what it is built from: distribution v3, go-containerregistry's registry, and two tools."""

BUILDX_VERSION = "v0.37.2"
"""The release that tests hold lian against; `.ci/parts/buildx` pins it."""
BUILDX_MINIMUM = (0, 37)
BUILDX_FOLDER = f"buildx-{BUILDX_VERSION}"

SSHD_FOLDER = "openssh-server"
"""OpenSSH's server in the parts cache, with the programs beside it that newer releases start."""
SSHD_USER = "sshd"
"""Who its processes are before anybody has logged in; it starts for no root without one."""
DOCKER = ("dockerd", "docker", "containerd", "containerd-shim-runc-v2")
"""What makes a Docker that tests start by hand; runc is a part of lian."""
DOCKER_FOLDER = "docker"


@cache
def folder() -> str:
    """Their folder in the parts cache: another one whenever what they are built from has changed."""
    seen = hashlib.sha256()
    for path in sorted(SOURCE.rglob("*")):
        if path.is_file():
            seen.update(f"{path.relative_to(SOURCE)}\0{path.stat().st_size}\0".encode() + path.read_bytes())
    return f"test-programs-{seen.hexdigest()[:12]}"


def wanted(name: str) -> Wanted:
    """What is asked of a program."""
    match name:
        case "sshd":
            return Wanted(folder=SSHD_FOLDER, asked="-V")
        case "buildx":
            return Wanted(minimum=BUILDX_MINIMUM, folder=BUILDX_FOLDER, asked="version")
        case "registry":
            return Wanted(minimum=(3, 1), folder=folder())
        case "dockerd" | "docker":
            return Wanted(minimum=(20, 10), folder=DOCKER_FOLDER)
        case "containerd":
            return Wanted(folder=DOCKER_FOLDER)
        case "containerd-shim-runc-v2":
            return Wanted(folder=DOCKER_FOLDER, asked="-v")
        case "crane" | "oras":
            return Wanted(folder=folder(), asked="version")
        case _:
            return Wanted(folder=folder())


def find(name: str) -> Located:
    """Where a program is, or why there is none."""
    return locate(name, wanted(name))


def examine(name: str, path: Path) -> Located:
    """Judge the program at `path`."""
    return examine_program(name, path, wanted(name))
