"""What builds run on, loaded when something is built: most passes build nothing."""

from __future__ import annotations

import asyncio
import os
import time
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.fleet import ComputeProvider, ComputeSettings
from reconciler.model.problem import LianError, Problem
from reconciler.providers.builder import binaries

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.lease import Lease
    from reconciler.ports.access import Access
    from reconciler.ports.builder import BuildRequest, Built, StepSeen
    from reconciler.ports.compute import Compute, LeaseRequest, Listing, Provider, Rental, Runner, Usage
    from reconciler.providers.registry.connections import Connections
    from reconciler.wiring.choice import Choice
    from reconciler.wiring.learning import Learning

_program = cache(binaries.find_part)
"""A program that is usable; looked for when a build first needs it, since most passes build nothing."""


def locate(name: str) -> binaries.Located:
    """Where something is that lian needs, for `lian doctor`. A busybox has to be one that runs inside a builder, and
    Docker one that answers."""
    if name == "docker":
        return _locate_docker()
    if name != "busybox":
        return binaries.locate(name)
    from reconciler.providers.archive.tool import find_tool

    try:
        return binaries.examine_program(name, find_tool().path, binaries.Wanted(asked="--help"))
    except LianError as error:
        return binaries.Located(name, None, None, error.problems[0].cause)


def _locate_docker() -> binaries.Located:
    """At the place that is looked at where no settings say another."""

    from reconciler.providers.compute.docker.engine import Engine
    from reconciler.providers.compute.docker.socket import find_socket

    socket = None
    try:
        socket = find_socket(None, os.environ, Path.home())
        engine = Engine(socket, binaries.PROBE_SECONDS)
        return binaries.Located("docker", socket, asyncio.run(engine.version()).engine, None)
    except LianError as error:
        problem = error.problems[0]
        why = f"{problem.message}: {problem.cause}" if problem.cause else problem.message
        return binaries.Located("docker", socket, None, why)


class _LateProvider:
    """A provider that is loaded when something is rented from it, or may have been left there: most passes build
    nothing. It is told how registries are reached. `leases` is its folder of leases on this machine: without one,
    nothing was ever rented from here, and only what others rent on other machines, `elsewhere`, has to be asked for."""

    def __init__(
        self, connections: Connections, leases: Path, make: Callable[[Path], Provider], shared: bool, elsewhere: bool
    ) -> None:
        self._connections, self._leases, self._make = connections, leases, make
        self.shared, self._elsewhere = shared, elsewhere
        self._made: Provider | None = None

    async def rent(self, request: LeaseRequest, lease: Lease) -> Runner:
        """See the port."""
        routes = await self._connections.routes(request.hosts)
        return await self._provider().rent(replace(request, routes=routes), lease)

    async def describe(self, lease: str) -> Rental | None:
        """See the port."""
        return await self._provider().describe(lease)

    async def give_back(self, lease: str) -> None:
        """See the port."""
        await self._provider().give_back(lease)

    async def owned_by(self, fleet: str) -> Listing:
        """See the port."""
        from reconciler.ports.compute import Listing

        return await self._provider().owned_by(fleet) if self._elsewhere or self._leases.is_dir() else Listing()

    async def usage(self, runner: Runner) -> Usage:
        """See the port."""
        return await self._provider().usage(runner)

    def _provider(self) -> Provider:
        if self._made is None:
            self._made = self._make(self._leases)
        return self._made


def _local(leases: Path) -> Provider:
    from reconciler.providers.compute.local import LocalCompute

    return LocalCompute(_program, leases)


def _docker_local(leases: Path, compute: ComputeSettings) -> Provider:
    from reconciler.providers.compute.docker.docker_local import DockerLocalCompute, DockerSettings
    from reconciler.providers.compute.docker.image import Programs

    programs = Programs(runner_program, binaries.parts_folder())
    settings = DockerSettings(os.environ, compute.url, compute.image, binaries.BUILDKIT_MINIMUM)
    return DockerLocalCompute(programs, leases, settings)


def runner_program(name: str) -> Path | None:
    """One of this machine's that runs in a container as well: busybox without libraries."""
    if name != "busybox":
        return _program(name)
    found = locate(name)
    return found.path if found.why is None else None


def _ssh(scratch: Path, source: Learning, key: str | None) -> Provider:
    """On no hosts nothing is rented; what was rented on those of another commit ends by itself. Raises LianError if no
    commit says which they are."""
    from reconciler.providers.compute.ssh.connection import Identity
    from reconciler.providers.compute.ssh.provider import SshCompute

    if source.desired is None:
        message = "what was rented by SSH cannot be looked at: no commit was read that says which hosts there are"
        raise LianError(Problem("compute-unavailable", message, hint="it ends by itself; the next pass looks again"))
    identity = Identity(Path(key).expanduser() if key else None, os.environ.get("SSH_AUTH_SOCK"))
    return SshCompute(source.desired.fleet.compute.hosts, identity, scratch)


def compute(source: Learning, choice: Choice) -> Compute:
    """Compute as the fleet's settings choose it; they are known once the commit is read."""
    from reconciler.apply.leasing import Leasing
    from reconciler.record.leases import LeaseFiles

    def settings() -> ComputeSettings:
        return source.desired.fleet.compute if source.desired else ComputeSettings()

    def docker_local(leases: Path) -> Provider:
        known = settings()
        return _docker_local(leases, known if known.provider is ComputeProvider.DOCKER_LOCAL else ComputeSettings())

    cache, ssh = choice.cache, partial(_ssh, source=source, key=choice.ssh_key)
    here = partial(_LateProvider, source.connections, elsewhere=False)
    there = partial(_LateProvider, source.connections, elsewhere=True)
    providers: dict[str, Callable[[], Provider]] = {
        ComputeProvider.LOCAL.value: partial(here, cache / "leases", _local, shared=False),
        ComputeProvider.DOCKER_LOCAL.value: partial(here, cache / "containers", docker_local, shared=True),
        ComputeProvider.SSH.value: partial(there, cache / "remote", ssh, shared=True),
    }
    return Leasing(providers, LeaseFiles(cache / "rented"), time.time, lambda: settings().provider.value)


class LateBuilder:
    """BuildKit's client, looked for at the first build, and given what it needs of credentials for each."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def build(self, runner: Runner, request: BuildRequest, seen: Callable[[StepSeen], None]) -> Built:
        """See the port."""
        from reconciler.providers.builder.buildctl import BuildctlBuilder

        # A runner was rented, so there is a buildctl, here or where it runs.
        buildctl = _program("buildctl") or Path("buildctl")
        return await BuildctlBuilder(buildctl, self._access).build(runner, request, seen)
