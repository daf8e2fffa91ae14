"""The order of builds: the longest path first against the order of names, and what it costs to work it out.

Builds take fixed times on fakes; all else is lian's own. The names are such that their order is a bad one: what is
independent comes before what others wait for, as `base` does not in most repos and `web` does in many.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.measure import timed
from reconciler.apply.artifact import Limits
from reconciler.apply.carry_out import carry_out
from reconciler.model.forecast import Warmth
from reconciler.model.outcome import Status
from reconciler.model.plan import Action, Change, Plan, Reason, ReasonCode
from reconciler.model.run import Run
from reconciler.plan.forecast import forecast, urgency
from reconciler.plan.schedule import Graph, makespan, remaining
from reconciler.reconcile import Options, foreseen, plan_once
from reconciler.sizing.choose import size
from reconciler.sizing.evidence import Evidence
from reconciler.sizing.sized import Sized
from tests.commits import SIZES, Commit, artifact
from tests.fakes import Points, World

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.desired import Desired
    from reconciler.model.name import ArtifactName

ALONE, CHAINS, DEEP, JOBS = 60, 4, 10, 8
UNIT_SECONDS = 0.4
MANY, LEVELS = 10_000, 10


def rows() -> list[dict[str, Any]]:
    """One row for each comparison: name, n, seconds, baseline_seconds, ratio, target."""
    return [_orders(), _worked_out()]


def _orders() -> dict[str, Any]:
    commit = _commit()
    longest_first, by_name = (asyncio.run(_a_pass(commit, named=named)) for named in (False, True))
    graph = Graph.of({a.name: a.parents for a in commit.artifacts})
    taken = [UNIT_SECONDS] * len(graph.names)
    best = makespan(graph, taken, JOBS, remaining(graph, taken))
    name = f"{len(taken)} builds, {JOBS} at a time: the longest path first / by name"
    note = f"{CHAINS} chains of {DEEP} among {ALONE} alone; simulated {best:.2f} s"
    return timed(name, len(taken), longest_first, by_name, "<= 0.8", note)


def _commit() -> Commit:
    artifacts = [artifact(f"shop/a{n:02}") for n in range(ALONE)]
    for chain in range(CHAINS):
        for level in range(DEEP):
            parent = {"p": f"artifact:shop/z{chain}-{level - 1}"} if level else {}
            artifacts.append(artifact(f"shop/z{chain}-{level}", contexts=parent))
    files = {f"{a.name}/Dockerfile": b"FROM p\n" if a.contexts else b"FROM scratch\n" for a in artifacts}
    return Commit(tuple(artifacts), files | {f"{a.name}/app": str(a.name).encode() for a in artifacts})


async def _a_pass(commit: Commit, *, named: bool) -> float:
    """Seconds of wall time that carrying it out takes, in the order of names or in the pass's own."""
    with tempfile.TemporaryDirectory(prefix="lian-bench-") as folder:
        world, options = World(commit, Path(folder)), Options(jobs=JOBS)
        world.builder.points = Slow()
        work = await foreseen(world.ports(), await plan_once(world.ports(), options), options)
        work = replace(work, urgency={}) if named else work
        began = time.perf_counter()
        outcome = await carry_out(work, world.ports(), JOBS, Limits())
        seconds = time.perf_counter() - began
    assert {result.status for result in outcome.results} == {Status.DONE}
    return seconds


class Slow(Points):
    """A build takes its time."""

    async def at(self, point: str) -> None:
        if point.startswith("build "):
            await asyncio.sleep(UNIT_SECONDS)


def _worked_out() -> dict[str, Any]:
    plan, desired, sized = _many()
    warmth = dict.fromkeys(sized.sizings, Warmth.WARM)
    began = time.perf_counter()
    told = forecast(plan, desired, sized, warmth, JOBS)
    order = urgency(told, desired)
    seconds = time.perf_counter() - began
    assert told.forecast is not None and len(order) == MANY
    return timed(f"forecast and order of {MANY:,} builds, {LEVELS} levels deep", MANY, seconds, 1.0, "<= 1 s")


def _many() -> tuple[Plan, Desired, Sized]:
    wide = MANY // LEVELS
    names = [[f"shop/l{level}-{n}" for n in range(wide)] for level in range(LEVELS)]
    artifacts = [
        artifact(name, contexts={"p": f"artifact:{names[level - 1][n]}"} if level else {})
        for level, those in enumerate(names)
        for n, name in enumerate(those)
    ]
    desired = Commit(tuple(artifacts)).desired
    changes = [
        Change(a.name, a.image, a.tags, a.platforms, Action.BUILD, (Reason(ReasonCode.ABSENT),), waits_for=a.parents)
        for a in artifacts
    ]
    runs = _runs(a.name for a in artifacts[:1])
    sizings: Mapping[ArtifactName, Any] = {a.name: size(a, None, runs, SIZES) for a in artifacts}
    return Plan("0" * 40, tuple(changes)), desired, Sized(SIZES.ladder, sizings)


def _runs(names: Any) -> Evidence:
    """Twenty, as an artifact has them that is built often."""
    times: Sequence[float] = [1.0 + number % 7 for number in range(20)]
    tier = SIZES.otherwise
    told = [
        Run(f"2026-01-01T00:{n:02}:00.000000Z", s, tier, None, None, 0, 1, 3, alone=True) for n, s in enumerate(times)
    ]
    return Evidence.of(told, map(str, names))
