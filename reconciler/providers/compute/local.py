"""Compute `local`: each lease is a buildkitd of its own on this machine, gone with all it had when it is returned."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Problem
from reconciler.model.secret import Secret
from reconciler.ports.compute import Listing, Rental, RentalState, Runner, Usage
from reconciler.providers.compute import daemon
from reconciler.providers.compute.cgroups import Hierarchies
from reconciler.providers.compute.configuration import Certificates, configuration
from reconciler.providers.compute.lease_folders import LeaseFolders
from reconciler.providers.compute.metering import MemoryMeter
from reconciler.providers.compute.processes import with_argument
from reconciler.providers.compute.removal import remove

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Callable

    from reconciler.model.lease import Lease
    from reconciler.ports.access import Route
    from reconciler.ports.compute import LeaseRequest
    from reconciler.providers.compute.lease_folders import LeaseFolder

SOCKET_LINKS = Path("/run/lian")
TOOLS = ("setpriv", "unshare", "mount", "umount", "rm")
PROGRAMS = ("buildctl", "buildkitd", "runc")
VERSION_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Rented:
    programs: daemon.Programs
    folder: LeaseFolder
    starting: asyncio.Task[Process]
    meter: MemoryMeter
    metering: AsyncExitStack
    """Closed, the meter does not look any more."""


class LocalCompute:
    """Rents builders on this machine. `find` tells where a program is, None if there is no usable one; it is asked when
    something is rented. `state` is the folder of all leases, and `links` that of short ways to sockets when the path of
    `state` is too long for one."""

    def __init__(self, find: Callable[[str], Path | None], state: Path, links: Path = SOCKET_LINKS) -> None:
        self._find = find
        self._folders = LeaseFolders(state.absolute(), links)
        self._rented: dict[str, _Rented] = {}
        self._cgroups: Hierarchies | None = None
        self._version: str | None = None

    @property
    def shared(self) -> bool:
        """See the port: the folder of leases is lian's alone."""
        return False

    async def rent(self, request: LeaseRequest, lease: Lease) -> Runner:
        """See the port. Raises LianError `compute-unavailable` naming what is missing, `lease-taken`, `disk-full`,
        or `builder-start-failed` with the end of the builder's log."""
        if lease.name in self._rented:
            return await self._ready(request, self._rented[lease.name])
        programs = self._programs()
        folder = self._create(lease)
        self._furnish(folder, request)
        starting = asyncio.create_task(daemon.start(programs, folder))
        self._rented[lease.name] = rented = _Rented(programs, folder, starting, MemoryMeter(), AsyncExitStack())
        runner = await self._ready(request, rented)
        look = partial(self._hierarchies().memory_reading, folder.cgroup)
        await rented.metering.enter_async_context(rented.meter.running(look))
        return runner

    async def describe(self, lease: str) -> Rental | None:
        """See the port."""
        folder = self._folders.folder(lease)
        return self._rental(folder, "") if folder.path.is_dir() else None

    async def owned_by(self, fleet: str) -> Listing:
        """See the port."""
        rentals = [self._rental(folder, fleet) for folder in self._folders]
        return Listing(tuple(rental for rental in rentals if rental.lease.fleet == fleet))

    async def give_back(self, lease: str) -> None:
        """See the port."""
        if (rented := self._rented.pop(lease, None)) is not None:
            await rented.metering.aclose()
            await asyncio.wait({rented.starting})
            if not rented.starting.cancelled() and rented.starting.exception() is None:
                await daemon.stop(rented.starting.result())
        await asyncio.to_thread(remove, self._folders.folder(lease), self._hierarchies())

    async def usage(self, runner: Runner) -> Usage:
        """See the port. The daemon itself is not counted."""
        if (rented := self._rented.get(runner.lease)) is None:
            return Usage()
        cgroups, cgroup = self._hierarchies(), rented.folder.cgroup
        memory = rented.meter.take(cgroups.memory_reading(cgroup))
        return Usage(memory, cgroups.cpu_seconds(cgroup), cgroups.oom_kills(cgroup))

    def _hierarchies(self) -> Hierarchies:
        if self._cgroups is None:
            self._cgroups = Hierarchies.here()
        return self._cgroups

    def _programs(self) -> daemon.Programs:
        """What it takes to build here. Raises LianError naming all that is missing."""
        missing = [name for name in TOOLS if shutil.which(name) is None]
        if os.geteuid() != 0:
            missing.append("root (steps of a build run in namespaces of their own)")
        buildctl, buildkitd, runc = found = [self._find(name) for name in PROGRAMS]
        missing += [name for name, path in zip(PROGRAMS, found, strict=True) if path is None]
        if missing or buildctl is None or buildkitd is None or runc is None:
            raise LianError(_unavailable(missing))
        return daemon.Programs(buildkitd, runc)

    def _create(self, lease: Lease) -> LeaseFolder:
        try:
            return self._folders.create(lease)
        except OSError as error:
            raise LianError(_no_folder(self._folders.state, error)) from error

    def _furnish(self, folder: LeaseFolder, request: LeaseRequest) -> None:
        """What the daemon needs before it starts. Raises LianError if it cannot be written."""
        try:
            for path in (folder.root, folder.temporary, folder.scratch):
                path.mkdir(mode=0o700)
            if folder.needs_link:
                folder.links.mkdir(mode=0o755, parents=True, exist_ok=True)
                folder.link.symlink_to(folder.path)
            parent = self._hierarchies().create(folder.cgroup)
            certificates = {
                route.host: _written(route, folder.certificates / str(n)) for n, route in enumerate(request.routes)
            }
            folder.config.write_text(configuration(request, parent, certificates), encoding="utf-8")
        except OSError as error:
            raise LianError(_no_folder(folder.path, error)) from error

    async def _ready(self, request: LeaseRequest, rented: _Rented) -> Runner:
        """Cancelled or not, the process will be known."""
        folder = rented.folder
        process = await asyncio.shield(rented.starting)
        _, version = await asyncio.gather(daemon.ready(process, folder), self._builder(rented.programs))
        return Runner(request.lease, f"unix://{folder.socket}", folder.scratch, version)

    def _rental(self, folder: LeaseFolder, fleet: str) -> Rental:
        return Rental(self._folders.lease(folder, fleet), _state(folder))

    async def _builder(self, programs: daemon.Programs) -> str:
        """`buildkit <version>`, asked once."""
        if self._version is None:
            self._version = await asyncio.to_thread(_version_of, programs.buildkitd)
        return self._version


def _state(folder: LeaseFolder) -> RentalState:
    """Its daemon makes the socket, and leaves it when it is killed."""
    if not folder.socket.exists():
        return RentalState.STARTING
    return RentalState.READY if with_argument(str(folder.config)) else RentalState.ENDED


def _written(route: Route, folder: Path) -> Certificates:
    """A host's certificates as files of the lease; the key is readable to its owner alone, as all of the lease is."""
    if not route.authorities and not route.identity:
        return Certificates()
    folder.mkdir(mode=0o700, parents=True)
    authorities = tuple(_file(folder / f"{n}.crt", pem) for n, pem in enumerate(route.authorities))
    if route.identity is None:
        return Certificates(authorities)
    pair = _file(folder / "client.cert", route.identity.certificate), _file(folder / "client.key", route.identity.key)
    return Certificates(authorities, pair)


def _file(path: Path, content: str | Secret) -> Path:
    with open(path, "x", encoding="utf-8", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content.reveal() if isinstance(content, Secret) else content)
    return path


def _version_of(buildkitd: Path) -> str:
    """From its answer, `buildkitd github.com/moby/buildkit v0.33.1 <commit>`."""
    answer = subprocess.run(
        [buildkitd, "--version"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
        timeout=VERSION_SECONDS,
        env={"PATH": os.environ.get("PATH", os.defpath)},
    )
    words = answer.stdout.decode(errors="replace").split()
    return f"buildkit {words[2]}" if len(words) > 2 else "buildkit"


def _unavailable(missing: list[str]) -> Problem:
    return Problem(
        "compute-unavailable",
        f"this machine cannot build: {', '.join(missing)} missing",
        hint="install the programs with `make setup` and run lian as root, or choose another compute in lian.ncl",
    )


def _no_folder(folder: Path, error: OSError) -> Problem:
    code = "disk-full" if error.errno == errno.ENOSPC else "compute-unavailable"
    return Problem(
        code,
        f"the folder {folder} for a builder's state cannot be made",
        cause=error.strerror,
        hint="give lian's state a place that can be written to and has room",
    )
