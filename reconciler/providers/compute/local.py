"""Compute `local`: each lease is a buildkitd of its own on this machine, gone with all it had when it is returned."""

from __future__ import annotations

import asyncio
import errno
import os
import shutil
import subprocess
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.finishing import to_its_end
from reconciler.model.problem import LianError, Problem
from reconciler.model.secret import Secret
from reconciler.ports.compute import Runner
from reconciler.providers.compute import daemon
from reconciler.providers.compute.cgroups import Hierarchies
from reconciler.providers.compute.lease_files import LeaseFiles
from reconciler.providers.compute.mounts import SHARED_MEMORY, is_in_memory
from reconciler.providers.compute.sweep import give_back, sweep

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Sequence

    from reconciler.ports.access import Route
    from reconciler.ports.compute import LeaseRequest
    from reconciler.providers.compute.lease_files import Held, LeaseFolder

SOCKET_LINKS = Path("/run/lian")
TOOLS = ("setpriv", "unshare", "mount", "umount", "rm")
VERSION_SECONDS = 10.0


class LocalCompute:
    """Rents builders on this machine. Programs are given by path, None where there is none; `state` is the folder
    of all leases, and `links` that of short ways to sockets when the path of `state` is too long for one."""

    def __init__(
        self,
        buildkitd: Path | None,
        buildctl: Path | None,
        runc: Path | None,
        state: Path,
        links: Path = SOCKET_LINKS,
    ) -> None:
        self._buildkitd, self._buildctl, self._runc = buildkitd, buildctl, runc
        self._files = LeaseFiles(state.absolute(), links)
        self._cgroups: Hierarchies | None = None
        self._version: str | None = None

    @asynccontextmanager
    async def rent(self, request: LeaseRequest) -> AsyncIterator[Runner]:
        """See the port. Raises LianError `compute-unavailable` naming what is missing, `lease-taken`, `disk-full`,
        or `builder-start-failed` with the end of the builder's log."""
        programs = self._programs()
        held = self._create(request)
        starting: asyncio.Task[Process] | None = None
        try:
            private = self._furnish(held, request)
            starting = asyncio.create_task(daemon.start(programs, held.folder))
            process = await asyncio.shield(starting)  # cancelled or not, we shall know the process
            _, version = await asyncio.gather(daemon.ready(process, held.folder), self._builder(programs))
            yield Runner(request.lease, f"unix://{held.folder.socket}", held.folder.scratch, version, private)
        except BaseException as error:
            try:
                await to_its_end(self._return(held, starting))
            except LianError as left:
                error.add_note(str(left))
            raise
        else:
            await to_its_end(self._return(held, starting))

    async def sweep(self) -> Sequence[str]:
        """See the port."""
        return await asyncio.to_thread(sweep, self._files, self._hierarchies())

    async def peak_memory(self, runner: Runner) -> int | None:
        """See the port. The daemon itself is not counted, the page cache that steps used is."""
        return self._hierarchies().peak_memory(self._files.folder(runner.lease).cgroup)

    def _hierarchies(self) -> Hierarchies:
        if self._cgroups is None:
            self._cgroups = Hierarchies.here()
        return self._cgroups

    def _programs(self) -> daemon.Programs:
        """What it takes to build here. Raises LianError naming all that is missing."""
        missing = [name for name in TOOLS if shutil.which(name) is None]
        if os.geteuid() != 0:
            missing.append("root (steps of a build run in namespaces of their own)")
        if self._buildctl is None:
            missing.append("buildctl")
        if self._buildkitd is None:
            missing.append("buildkitd")
        if self._runc is None:
            missing.append("runc")
        if missing or self._buildkitd is None or self._runc is None:
            raise LianError(_unavailable(missing))
        return daemon.Programs(self._buildkitd, self._runc)

    def _create(self, request: LeaseRequest) -> Held:
        try:
            return self._files.create(request)
        except OSError as error:
            raise LianError(_no_folder(self._files.state, error)) from error

    def _furnish(self, held: Held, request: LeaseRequest) -> Path | None:
        """What the daemon needs before it starts; returns the owner's folder in memory. Raises LianError if it cannot
        be written."""
        folder = held.folder
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
            folder.config.write_text(daemon.configuration(request, parent, certificates), encoding="utf-8")
            return _in_memory(folder)
        except OSError as error:
            raise LianError(_no_folder(folder.path, error)) from error

    async def _return(self, held: Held, starting: asyncio.Task[Process] | None) -> None:
        if starting is not None:
            await asyncio.wait({starting})
            if starting.exception() is None:
                await daemon.stop(starting.result())
        await asyncio.to_thread(give_back, held, self._hierarchies())

    async def _builder(self, programs: daemon.Programs) -> str:
        """`buildkit <version>`, asked once."""
        if self._version is None:
            self._version = await asyncio.to_thread(_version_of, programs.buildkitd)
        return self._version


def _in_memory(folder: LeaseFolder) -> Path | None:
    """A folder for its owner alone; one that is there already is someone else's, and not used."""
    if not is_in_memory(SHARED_MEMORY):
        return None
    try:
        folder.memory.mkdir(mode=0o700)
    except OSError:
        return None
    return folder.memory


def _written(route: Route, folder: Path) -> daemon.Certificates:
    """A host's certificates as files of the lease; the key is readable to its owner alone, as all of the lease is."""
    if not route.authorities and not route.identity:
        return daemon.Certificates()
    folder.mkdir(mode=0o700, parents=True)
    authorities = tuple(_file(folder / f"{n}.crt", pem) for n, pem in enumerate(route.authorities))
    if route.identity is None:
        return daemon.Certificates(authorities)
    pair = _file(folder / "client.cert", route.identity.certificate), _file(folder / "client.key", route.identity.key)
    return daemon.Certificates(authorities, pair)


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
