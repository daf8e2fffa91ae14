"""What will not go is told, and stops nothing."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from reconciler.model.event import Noted
from reconciler.model.outcome import Status
from reconciler.model.problem import LianError, Problem
from reconciler.reconcile import Options, reconcile_once
from tests.commits import FLEET, Commit, artifact
from tests.fakes import FakeCompute, World

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from reconciler.ports.compute import LeaseRequest, Runner

STUCK = Problem("lease-not-removed", "the lease x could not be removed")


def test_a_leftover_that_will_not_go_stops_no_pass(tmp_path: Path) -> None:
    world = World(Commit((artifact("w/a"),)), tmp_path)
    world.compute.stuck = (STUCK,)
    _, outcome = asyncio.run(reconcile_once(world.ports(), Options()))
    assert [result.status for result in outcome.results] == [Status.DONE]
    assert outcome.problems == (STUCK,)


class Stuck(FakeCompute):
    """Nothing goes back."""

    @asynccontextmanager
    async def rent(self, request: LeaseRequest) -> AsyncIterator[Runner]:
        async with super().rent(request) as runner:
            yield runner
        raise LianError(STUCK)


def test_what_a_pass_cannot_return_is_told_also_when_it_is_interrupted(tmp_path: Path) -> None:
    world = World(Commit((artifact("w/a"),)), tmp_path)
    stuck = Stuck(tmp_path / "stuck", world.points)
    stuck.folder.mkdir()
    world.compute = world.builder.compute = stuck
    _, outcome = asyncio.run(reconcile_once(world.ports(), Options()))
    assert ([result.status for result in outcome.results], outcome.problems) == ([Status.DONE], (STUCK,))

    world.source.commit = world.source.commit.changed({"w/a/app": b"2"})
    world.points.arrivals["build w/a"] = asyncio.Event()
    world.points.holds["build w/a"] = asyncio.Event()

    async def interrupted() -> None:
        task = asyncio.create_task(reconcile_once(world.ports(), Options()))
        await world.points.arrivals["build w/a"].wait()
        task.cancel()
        await task

    with pytest.raises(LianError) as raised:
        asyncio.run(interrupted())
    assert raised.value.problems == (STUCK,)


def test_where_nobody_can_look_is_a_note(tmp_path: Path) -> None:
    """A host that is down for a day makes no pass of that day fail."""
    world = World(Commit((artifact("w/a"),)), tmp_path)
    world.compute.unseen = (Problem("host-unreachable", "the host b cannot be reached"),)
    _, outcome = asyncio.run(reconcile_once(world.ports(), Options()))
    assert outcome.problems == ()
    assert ["the host b cannot be reached" in str(noted) for noted in world.recorder.of(Noted)] == [True]


def test_the_fleet_is_swept_where_it_is_known(tmp_path: Path) -> None:
    world = World(Commit((artifact("w/a"),)), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options()))
    assert world.compute.swept_for == [FLEET]


def test_what_is_rented_goes_back_though_no_commit_can_be_read(tmp_path: Path) -> None:
    world = World(Commit((artifact("w/a"),)), tmp_path)
    world.points.faults["load"] = LianError(Problem("commit-missing", "no such commit"))
    with pytest.raises(LianError, match="commit-missing"):
        asyncio.run(reconcile_once(world.ports(), Options()))
    assert world.compute.swept_for == [None]
