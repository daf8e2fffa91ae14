"""Runners: many of them against one, and how soon a fresh one has begun with a build.

The many are a simulated provider's: a machine takes half a second to be ready and builds an image in one second, both
fixed. All else is lian's own, the leases' notes on disk included; the registry is in memory.
"""

from __future__ import annotations

import asyncio
import re
import statistics
import tempfile
import time
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from benchmarks.caches import Shop
from benchmarks.measure import not_run, timed
from reconciler import wiring
from reconciler.model.fleet import ComputeProvider
from reconciler.model.outcome import Status
from reconciler.reconcile import Options, load, reconcile_once
from tests.commits import Commit, artifact
from tests.fakes import FakeCompute, Points, World
from tests.ports.leasing import leasing_of
from tests.ports.scripted_provider import Script, ScriptedProvider
from tests.ports.scripted_provider import World as Machines
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from reconciler.ports.builder import StepSeen
    from reconciler.ports.compute import LeaseRequest, Runner

BUILDS, RUNNERS = 200, 20
READY_SECONDS, BUILD_SECONDS = 0.5, 1.0
ROUNDS = 5


def rows(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """One row for each comparison: name, n, seconds, baseline_seconds, ratio, target."""
    return [_many_runners(), _first_step(rounds)]


def _many_runners() -> dict[str, Any]:
    many, one = (asyncio.run(_a_pass(jobs)) for jobs in (RUNNERS, 1))
    name = f"{BUILDS} builds on {RUNNERS} simulated runners / on one; the ratio is how many times as fast"
    note = f"{READY_SECONDS} s to be ready, {BUILD_SECONDS} s a build"
    return timed(name, BUILDS, many, one, ">= 18", note, ratio=one / many)


async def _a_pass(jobs: int) -> float:
    """Seconds for one pass over all of them."""
    names = [f"shop/n{number}" for number in range(BUILDS)]
    files = {f"{name}/Dockerfile": b"FROM scratch\n" for name in names} | {
        f"{name}/app": name.encode() for name in names
    }
    commit = Commit(tuple(map(artifact, names)), files, compute=ComputeProvider.HCLOUD)
    with tempfile.TemporaryDirectory(prefix="lian-bench-") as folder:
        world = World(commit, Path(folder))
        world.builder.points = Slow()
        world.compute = world.builder.compute = Simulated(Path(folder))
        began = time.perf_counter()
        _, outcome = await reconcile_once(world.ports(), Options(jobs=jobs))
        seconds = time.perf_counter() - began
    assert {result.status for result in outcome.results} == {Status.DONE}
    assert len(world.compute.rented) == jobs
    return seconds


class Slow(Points):
    """A build takes its time."""

    async def at(self, point: str) -> None:
        if point.startswith("build "):
            await asyncio.sleep(BUILD_SECONDS)


class Simulated(FakeCompute):
    """Leases as they are, over a provider whose machines take their time."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, Points())
        provider = ScriptedProvider(Machines(folder / "machines"), Script(delay=READY_SECONDS))
        self._leasing = leasing_of(provider, folder / "leases")

    @asynccontextmanager
    async def rent(self, request: LeaseRequest) -> AsyncIterator[Runner]:
        async with self._leasing.rent(request) as runner:
            self.out[request.lease] = request
            self.rented.append(request)
            yield runner
            del self.out[request.lease]


def _first_step(rounds: int) -> dict[str, Any]:
    name = "local: from nothing running to the first step of a build / on a warm daemon"
    with tempfile.TemporaryDirectory(prefix="lian-bench-") as folder, run_registry(Path(folder) / "server") as server:
        try:
            fresh, warm = asyncio.run(Starts(Path(folder), server.url).measured(rounds))
        except LookupError as error:
            return not_run(name, 1, str(error))
    seconds, baseline = statistics.median(fresh), statistics.median(warm)
    return timed(name, 1, seconds, baseline, "<= 1 s")


class Starts(Shop):
    """The same build over and over, looked at until its first step has begun."""

    def __init__(self, folder: Path, registry: str) -> None:
        super().__init__(folder, registry, 'FROM scratch\nCOPY rootfs /\nCOPY source /\nRUN ["/bin/busybox", "true"]\n')

    async def measured(self, rounds: int) -> tuple[list[float], list[float]]:
        """Seconds of each round, on a fresh runner and on the warm one, in turns."""
        fresh, warm = [], []
        self._change()
        async with wiring.working(self._choice) as working:
            ports = working.ports(SimpleNamespace(record=lambda event: None))
            ports.logs.mkdir(parents=True)
            await load(ports)
            async with ports.compute.rent(self._lease("warm")) as runner:
                await self._until_first_step(ports, runner, "warm-up", time.perf_counter())
                for number in range(rounds):
                    self._change()
                    await load(ports)
                    warm.append(await self._until_first_step(ports, runner, f"w{number}", time.perf_counter()))
                    began = time.perf_counter()
                    async with ports.compute.rent(self._lease(f"fresh-{number}")) as other:
                        fresh.append(await self._until_first_step(ports, other, f"f{number}", began))
        return fresh, warm

    async def _until_first_step(self, ports: Any, runner: Runner, name: str, began: float) -> float:
        seen: list[float] = []

        def step(one: StepSeen) -> None:
            if re.match(r"\[\d", one.name):  # what comes before is the frontend's own
                seen.append(time.perf_counter())

        await ports.builder.build(runner, await self._asked(ports, runner, name), step)
        return seen[0] - began
