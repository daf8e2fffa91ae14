"""Debian packages: installed only when the command they bring is missing or does not run.

A package that brings a system service is unpacked into the parts cache instead of being installed: nothing is
started, now or at the next boot, and the machine's own configuration stays as it is.
"""

from __future__ import annotations

import pwd
import re
import shutil
import struct
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from parts.host import Host, Missing, StepFailed, exclusive, log_tail, run_logged
from parts.placing import place, scratch_beside
from parts.virtualenv import lacks_ensurepip
from reconciler.providers.builder.binaries import cache_folder, locate, parts_folder
from tests import programs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

LOCK_SECONDS = 600.0
"""How long another apt or dpkg may keep its lock before set-up gives up."""
LOCK_POLL_SECONDS = 2.0

_NONINTERACTIVE = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8"}
_APT = ("apt-get", "--quiet", "--yes", "-o", "DPkg::Lock::Timeout=600")
_LOCKED = ("Could not get lock", "Unable to lock", "Unable to acquire the dpkg frontend lock")
_ELF_INTERPRETER = 3
_SSHD = ("usr/sbin/sshd", "usr/lib/openssh/sshd-session", "usr/lib/openssh/sshd-auth")
_USERADD = (
    *("useradd", "--system", "--no-create-home", "--gid", "nogroup", "--home-dir", "/run/sshd"),
    *("--shell", "/usr/sbin/nologin", programs.SSHD_USER),
)
"""As the package itself does it."""
_DOCKER_PACKAGES = {
    "docker.io": ("usr/sbin/dockerd", "usr/bin/docker"),
    "containerd": ("usr/bin/containerd", "usr/bin/containerd-shim-runc-v2"),
}
"""Each, and what is taken of it."""


@dataclass(frozen=True)
class Package:
    """A Debian package and the command it is wanted for."""

    name: str
    command: str


GIT = Package("git", "git")
RUNC = Package("runc", "runc")
BUSYBOX = Package("busybox-static", "busybox")
JQ = Package("jq", "jq")
RSYNC = Package("rsync", "rsync")


def ensure_packages(host: Host, packages: Sequence[Package], say: Callable[[str], None]) -> str:
    """Install the packages whose command is not usable. Raises StepFailed, naming all of them at once."""
    wanting = [package.name for package in packages if shortcoming(package) is not None]
    if lacks_ensurepip(host.checkout):
        wanting.append(f"python3.{sys.version_info.minor}-venv")
    if not wanting:
        return "already there"
    command = ["apt-get", "install", "--no-install-recommends", *wanting]
    by_hand = " ".join(command if host.is_root else ["sudo", *command])
    what = f"Debian packages {', '.join(wanting)}"
    if not host.is_debian:
        commands = [package.command for package in packages if package.name in wanting]
        wanted = ", ".join([*commands, *(["Python's ensurepip"] if len(commands) < len(wanting) else [])])
        raise StepFailed(
            Missing(wanted, "this is not Debian", f"install with the system's own package manager: {wanted}")
        )
    if not host.is_root:
        raise StepFailed(Missing(what, "not root, so nothing was installed", by_hand))
    say(f"installing {' '.join(wanting)}")
    log = _fresh_log("debian")
    if not _with_fresh_lists([*_APT, "install", "--no-install-recommends", *wanting], log, host.is_root):
        raise StepFailed(Missing(what, f"apt-get failed:\n{log_tail(log)}", by_hand))
    return _verified(packages, what, by_hand)


def ensure_registry(host: Host, say: Callable[[str], None]) -> str:
    """Have Debian's `docker-registry` program, unpacked from its package, without its service."""
    if locate("docker-registry").why is None:
        return "already there"
    target = parts_folder() / "docker-registry"
    by_hand = (
        f"put a docker-registry program (distribution 2.8 or newer) on PATH or at {target / 'bin/docker-registry'}"
    )
    what = "docker-registry (the registry that tests run against)"
    if not host.is_debian:
        raise StepFailed(Missing(what, "this is not Debian", by_hand))
    with exclusive(parts_folder(), say):
        if locate("docker-registry").why is None:
            return "already there"
        say("unpacking Debian's package")
        log = _fresh_log("docker-registry")
        scratch = scratch_beside(target)
        if not _unpack("docker-registry", {"usr/bin/docker-registry"}, scratch, log, host.is_root):
            raise StepFailed(Missing(what, f"its package could not be unpacked:\n{log_tail(log)}", by_hand))
        place(scratch, target)
    if (why := locate("docker-registry").why) is not None:
        raise StepFailed(Missing(what, why, by_hand))
    return "ok"


def ensure_sshd(host: Host, say: Callable[[str], None]) -> str:
    """Have OpenSSH's server, unpacked from Debian's package: without its service, and without host keys. What it takes
    from the system are libraries, and the user that it becomes before anybody has logged in."""
    what = "sshd (OpenSSH's server, which tests of compute `ssh` run)"
    by_hand = "apt-get install --no-install-recommends openssh-server"
    target = parts_folder() / programs.SSHD_FOLDER
    with exclusive(parts_folder(), say):
        if programs.find("sshd").why is None and _has_sshd_user():
            return "already there"
        if not host.is_debian:
            remedy = f"put an sshd program on PATH, and have a user {programs.SSHD_USER}"
            raise StepFailed(Missing(what, "this is not Debian", remedy))
        if not host.is_root:
            raise StepFailed(Missing(what, "not root, so nothing was installed", f"sudo {by_hand}"))
        say("unpacking Debian's package")
        log = _fresh_log("sshd")
        if programs.find("sshd").why is not None:
            _lay_down_sshd(target, log, what, by_hand)
        if not _has_sshd_user() and not run_logged(_USERADD, log):
            raise StepFailed(Missing(what, f"the user {programs.SSHD_USER} cannot be made:\n{log_tail(log)}", by_hand))
    if (why := programs.find("sshd").why) is not None:
        raise StepFailed(Missing(what, why, by_hand))
    return "ok"


def _lay_down_sshd(target: Path, log: Path, what: str, by_hand: str) -> None:
    """Raises StepFailed."""
    scratch = scratch_beside(target)
    if (libraries := _unpack("openssh-server", _SSHD, scratch, log, is_root=True)) is None:
        raise StepFailed(Missing(what, f"its package could not be unpacked:\n{log_tail(log)}", by_hand))
    place(scratch, target)
    if programs.find("sshd").why is not None and libraries:
        install = [*_APT, "install", "--no-install-recommends", *libraries]
        if not _with_fresh_lists(install, log, is_root=True):
            raise StepFailed(Missing(what, f"its libraries could not be installed:\n{log_tail(log)}", by_hand))


def _has_sshd_user() -> bool:
    try:
        return bool(pwd.getpwnam(programs.SSHD_USER))
    except KeyError:
        return False


def ensure_docker(host: Host, say: Callable[[str], None]) -> str:
    """Have Debian's Docker, unpacked from its packages, without its services: tests start it by hand."""
    if not (lacking := _without_docker()):
        return "already there"
    target = parts_folder() / programs.DOCKER_FOLDER
    names = ", ".join(programs.DOCKER)
    by_hand = f"put {names} on PATH or into {target / 'bin'}/"
    what = f"{names} (Docker 20.10 or newer, which tests of docker-local start)"
    if not host.is_debian:
        raise StepFailed(Missing(what, f"this is not Debian, and {'; '.join(lacking)}", by_hand))
    with exclusive(parts_folder(), say):
        if not _without_docker():
            return "already there"
        say("unpacking Debian's packages")
        log = _fresh_log("docker")
        scratch = scratch_beside(target)
        for package, paths in _DOCKER_PACKAGES.items():
            if _unpack(package, paths, scratch, log, host.is_root) is None:
                raise StepFailed(
                    Missing(what, f"the package {package} could not be unpacked:\n{log_tail(log)}", by_hand)
                )
        place(scratch, target)
    if lacking := _without_docker():
        libraries = "apt-get install libdevmapper1.02.1 libsystemd0, if it is a library that is missing"
        raise StepFailed(Missing(what, f"unpacked, yet {'; '.join(lacking)}", f"{by_hand}; {libraries}"))
    return "ok"


def _without_docker() -> list[str]:
    return [found.why for name in programs.DOCKER if (found := programs.find(name)).why]


def shortcoming(package: Package) -> str | None:
    """Why the package's command will not do as it is, or None. Whether it runs decides, not whether it exists."""
    if package == BUSYBOX:
        return _busybox_shortcoming()
    return locate(package.command).why


def is_static(program: Path) -> bool:
    """Whether an ELF file names no interpreter (ELF specification, program headers): it runs in an empty image."""
    with program.open("rb") as file:
        head = file.read(64)
        if head[:4] != b"\x7fELF" or len(head) < 64:
            return False
        order = "<" if head[5] == 1 else ">"
        wide = head[4] == 2
        (start,) = struct.unpack_from(f"{order}{'Q' if wide else 'I'}", head, 32 if wide else 28)
        size, count = struct.unpack_from(f"{order}HH", head, 54 if wide else 42)
        file.seek(start)
        table = file.read(size * count)
    kinds = (struct.unpack_from(f"{order}I", table, index * size)[0] for index in range(count))
    return _ELF_INTERPRETER not in kinds


def _busybox_shortcoming() -> str | None:
    found = shutil.which("busybox")
    if found is None:
        return "busybox is not on PATH"
    try:
        runs = subprocess.run([found, "true"], capture_output=True, check=False).returncode == 0
    except OSError as error:
        return f"{found} does not run: {error.strerror}"
    if not runs:
        return f"{found} does not run"
    return None if is_static(Path(found)) else f"{found} is not statically linked"


def _verified(packages: Sequence[Package], what: str, by_hand: str) -> str:
    still = [why for package in packages if (why := shortcoming(package)) is not None]
    if still:
        raise StepFailed(Missing(what, "installed, yet " + "; ".join(still), by_hand))
    return "ok"


def _unpack(package: str, kept: Collection[str], scratch: Path, log: Path, is_root: bool) -> list[str] | None:
    """Download the package and keep these programs only, those that there are, in `scratch/bin`. Returns the packages
    of libraries that it stands on; None if it failed."""
    deb = scratch / "deb"
    deb.mkdir()
    (scratch / "bin").mkdir(exist_ok=True)
    if not _with_fresh_lists([*_APT, "download", package], log, is_root, cwd=deb):
        return None
    depends = ""
    for archive in deb.glob("*.deb"):
        if not run_logged(["dpkg-deb", "--extract", archive, deb], log):
            return None
        told = subprocess.run(["dpkg-deb", "--field", archive, "Depends"], capture_output=True, text=True, check=False)
        depends += told.stdout
    there = [program for program in kept if (deb / program).is_file()]
    for program in there:
        (deb / program).rename(scratch / "bin" / Path(program).name)
    if not there:
        with log.open("a", encoding="utf-8") as sink:
            print(f"{package} has none of {', '.join(kept)}", file=sink)
        return None
    shutil.rmtree(deb)
    return re.findall(r"(?:^|, )((?:lib|zlib)[a-z0-9.+-]+)", depends)


def _with_fresh_lists(argv: Sequence[str], log: Path, is_root: bool, cwd: Path | None = None) -> bool:
    """Run apt; when it fails, bring the package lists up to date (once) and try again."""
    if _patiently(argv, log, cwd):
        return True
    return is_root and _patiently([*_APT, "update"], log, None) and _patiently(argv, log, cwd)


def _patiently(argv: Sequence[str], log: Path, cwd: Path | None) -> bool:
    """Run apt; wait while another one holds a lock (its own option does not cover the lists)."""
    deadline = time.monotonic() + LOCK_SECONDS
    while True:
        seen = log.stat().st_size if log.exists() else 0
        if run_logged(argv, log, cwd=cwd, env=_NONINTERACTIVE):
            return True
        with log.open("rb") as file:
            file.seek(seen)
            output = file.read().decode("utf-8", errors="replace")
        if not any(sign in output for sign in _LOCKED) or time.monotonic() > deadline:
            return False
        time.sleep(LOCK_POLL_SECONDS)


def _fresh_log(step: str) -> Path:
    log = cache_folder() / "logs" / f"set-up-{step}.log"
    log.unlink(missing_ok=True)
    return log
