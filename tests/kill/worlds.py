"""Providers that outlive the process that rents: what is theirs is on disk."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.host import Host
from reconciler.model.lease import Lease
from reconciler.ports.compute import Listing, Rental, RentalState, Runner, Usage
from reconciler.providers.builder.binaries import find_part
from reconciler.providers.compute.local import LocalCompute
from reconciler.record.leases import LeaseFiles
from tests.ports.leasing import leasing_of
from tests.providers.compute.docker_world import NAME as DOCKER_LOCAL
from tests.providers.compute.docker_world import docker_provider
from tests.providers.compute.ssh_stands import QUICK, compute_at

if TYPE_CHECKING:
    from reconciler.apply.leasing import Leasing
    from reconciler.ports.compute import LeaseRequest, Provider


class Cloud:
    """Machines are files, each with its lease on it, and disks are folders. A machine is there at once and is told of
    later, as with a cloud's API: whoever dies in between has made it all the same."""

    shared = True

    def __init__(self, folder: Path) -> None:
        self._machines, self._disks = folder / "machines", folder / "disks"
        for path in (self._machines, self._disks):
            path.mkdir(parents=True, exist_ok=True)

    async def rent(self, request: LeaseRequest, lease: Lease) -> Runner:
        """See the port."""
        disk = self._disks / lease.name
        disk.mkdir(exist_ok=True)
        new = self._machines / f".{lease.name}"
        new.write_text(json.dumps(lease.to_labels()))
        new.rename(self._machines / lease.name)
        return Runner(lease.name, f"cloud://{lease.name}", disk, "cloud 1")

    async def describe(self, lease: str) -> Rental | None:
        """See the port."""
        machine = self._machines / lease
        if machine.exists():
            return Rental(Lease.from_labels(json.loads(machine.read_text())), RentalState.READY)
        there = (self._disks / lease).is_dir() or machine.with_name(f".{lease}").exists()
        return Rental(Lease(lease, "", "", 0.0, 0.0), RentalState.STARTING) if there else None

    async def give_back(self, lease: str) -> None:
        """See the port."""
        for name in (lease, f".{lease}"):
            (self._machines / name).unlink(missing_ok=True)
        shutil.rmtree(self._disks / lease, ignore_errors=True)

    async def owned_by(self, fleet: str) -> Listing:
        """See the port."""
        rentals = [await self.describe(path.name) for path in sorted(self._machines.glob("[!.]*"))]
        return Listing(tuple(rental for rental in rentals if rental and rental.lease.fleet == fleet))

    async def usage(self, runner: Runner) -> Usage:
        """See the port."""
        return Usage()

    def left(self) -> list[str]:
        """All that exists."""
        return sorted(path.name for folder in (self._machines, self._disks) for path in folder.iterdir())


def provider_of(name: str, folder: Path) -> Provider:
    """The provider of this name with all that is its own in the folder. For `ssh` the file `host` there says where:
    the host with its key, the key to log in by, the folder of leases. Docker's socket is linked there."""
    if name == "ssh":
        host, key, state = (folder / "host").read_text().splitlines()
        return compute_at(Host.parse(host), Path(key), Path(state), folder, QUICK)
    if name == DOCKER_LOCAL:
        return docker_provider((folder / "docker").resolve(), folder / "state")
    return Cloud(folder) if name.startswith("cloud") else LocalCompute(find_part, folder / "state")


def compute_of(name: str, folder: Path) -> Leasing:
    """As one pass has it."""
    compute = leasing_of(provider_of(name, folder), folder / "rented", name=name)
    return replace(compute, leases=Unnoted(folder / "rented")) if name == "cloud-unnoted" else compute


class Unnoted(LeaseFiles):
    """A fault: nothing is noted."""

    async def intend(self, lease: Lease, provider: str) -> None:
        """Nothing."""
