"""A provider in memory: leases are folders, runners build nothing, and each call can be told to go wrong."""

from __future__ import annotations

import asyncio
import shutil
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.compute import NOT_REMOVED, Listing, Rental, RentalState, Runner, Usage

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.model.lease import Lease
    from reconciler.ports.compute import LeaseRequest


@dataclass
class World:
    """What exists at the provider, whoever looks. `stuck` leases are not deleted."""

    folder: Path
    leases: dict[str, Lease] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)

    def left(self) -> Sequence[str]:
        """All that exists of any lease."""
        folders = [f"folder {path.name}" for path in self.folder.iterdir()] if self.folder.is_dir() else []
        return sorted([*(f"machine {name}" for name in self.leases), *folders])


@dataclass
class Script:
    """What goes wrong. `hangs` names calls that do not end, `deaf` makes them ignore that they are cancelled."""

    fails: LianError | None = None
    """Raised before anything is there."""
    fails_late: LianError | None = None
    """Raised when the machine has been made: its answer was lost."""
    hangs: set[str] = field(default_factory=set)
    deaf: bool = False
    delay: float = 0.0
    """Seconds until a machine is ready."""
    listed: list[Rental] = field(default_factory=list)
    """What it lists besides, whoever asks."""
    hides: bool = False
    """It lists nothing."""
    unseen: tuple[Problem, ...] = ()
    """Where it cannot look."""
    unlisted: LianError | None = None
    """Raised instead of a listing."""
    refusals: int = 0
    """So many deletions are refused before one is not."""


class ScriptedProvider:
    """`rented` counts the machines made, `asked` the calls by name."""

    def __init__(self, world: World, script: Script | None = None, *, shared: bool = True) -> None:
        self.world, self.script, self.rented = world, script or Script(), 0
        self._shared = shared
        self.asked: list[str] = []

    @property
    def shared(self) -> bool:
        """See the port."""
        return self._shared

    async def rent(self, request: LeaseRequest, lease: Lease) -> Runner:
        """See the port."""
        await self._called("rent")
        if self.script.fails is not None:
            raise self.script.fails
        if lease.name not in self.world.leases:
            self.world.leases[lease.name] = lease
            self.rented += 1
        scratch = self.world.folder / lease.name
        scratch.mkdir(parents=True, exist_ok=True)
        await self._called("ready")
        await asyncio.sleep(self.script.delay)
        if self.script.fails_late is not None:
            raise self.script.fails_late
        return Runner(lease.name, f"scripted://{lease.name}", scratch, "scripted 1")

    async def describe(self, lease: str) -> Rental | None:
        """See the port."""
        await self._called("describe")
        there = self.world.leases.get(lease)
        return None if there is None else Rental(there, RentalState.READY)

    async def give_back(self, lease: str) -> None:
        """See the port."""
        await self._called("give_back")
        if lease in self.world.stuck or self.script.refusals > 0:
            self.script.refusals -= 1
            raise LianError(Problem(NOT_REMOVED, f"the lease {lease} could not be removed", next=Next.RETRY))
        self.world.leases.pop(lease, None)
        shutil.rmtree(self.world.folder / lease, ignore_errors=True)

    async def owned_by(self, fleet: str) -> Listing:
        """See the port."""
        await self._called("owned_by")
        if self.script.unlisted is not None:
            raise self.script.unlisted
        own = [Rental(lease, RentalState.READY) for lease in self.world.leases.values() if lease.fleet == fleet]
        return Listing((*self.script.listed, *([] if self.script.hides else own)), self.script.unseen)

    async def usage(self, runner: Runner) -> Usage:
        """See the port."""
        return Usage(1 << 20, 0.5) if runner.lease in self.world.leases else Usage()

    async def _called(self, name: str) -> None:
        self.asked.append(name)
        await asyncio.sleep(0)
        while name in self.script.hangs:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if not self.script.deaf:
                    raise
                await asyncio.sleep(0.05)
                return
