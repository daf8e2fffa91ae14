"""Compute in memory, as the tests of the flow use it: leases are folders, runners build nothing, starts can fail."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.compute import Runner, Usage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from reconciler.ports.compute import LeaseRequest


@dataclass
class World:
    """What exists: each lease, and whether its owner lives. `stuck` leases cannot be removed."""

    folder: Path
    leases: dict[str, bool] = field(default_factory=dict)
    stuck: set[str] = field(default_factory=set)
    used: dict[str, Usage] = field(default_factory=dict)


class ScriptedCompute:
    """`fails` is raised by every start. `rented` counts the leases handed out."""

    def __init__(self, world: World, fails: LianError | None = None) -> None:
        self.world, self.fails, self.rented = world, fails, 0

    @asynccontextmanager
    async def rent(self, request: LeaseRequest) -> AsyncIterator[Runner]:
        """See the port."""
        if request.lease in self.world.leases:
            raise LianError(Problem("lease-taken", f"the lease {request.lease} exists already", next=Next.RETRY))
        self.world.leases[request.lease] = True
        scratch = self.world.folder / request.lease
        try:
            scratch.mkdir(parents=True)
            await asyncio.sleep(0)
            if self.fails is not None:
                raise self.fails
            self.rented += 1
            yield Runner(request.lease, f"scripted://{request.lease}", scratch, "scripted 1")
        finally:
            self._remove(request.lease)

    async def sweep(self) -> Sequence[str]:
        """See the port."""
        dead = [lease for lease, alive in sorted(self.world.leases.items()) if not alive]
        for lease in set(dead) - self.world.stuck:
            self._remove(lease)
        await asyncio.sleep(0)
        if left := [lease for lease in dead if lease in self.world.stuck]:
            problems = [Problem("lease-not-removed", f"the lease {lease} could not be removed") for lease in left]
            raise LianError(problems)
        return dead

    async def usage(self, runner: Runner) -> Usage:
        """See the port."""
        return self.world.used.get(runner.lease, Usage())

    def _remove(self, lease: str) -> None:
        del self.world.leases[lease]
        self.world.used.pop(lease, None)
        shutil.rmtree(self.world.folder / lease, ignore_errors=True)
