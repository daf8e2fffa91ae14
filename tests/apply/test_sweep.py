"""What will not go is told, and stops nothing."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.model.event import Noted
from reconciler.model.outcome import Status
from reconciler.model.problem import LianError, Problem
from reconciler.reconcile import Options, reconcile_once
from tests.commits import FLEET, Commit, artifact
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path

STUCK = Problem("lease-not-removed", "the lease x could not be removed")


def test_a_leftover_that_will_not_go_stops_no_pass(tmp_path: Path) -> None:
    world = World(Commit((artifact("w/a"),)), tmp_path)
    world.compute.stuck = (STUCK,)
    _, outcome = asyncio.run(reconcile_once(world.ports(), Options()))
    assert [result.status for result in outcome.results] == [Status.DONE]
    assert outcome.problems == (STUCK,)


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
