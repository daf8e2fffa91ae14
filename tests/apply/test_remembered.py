"""What is remembered of a pass: what was there, and nothing that only could not be found out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.model.outcome import Status
from reconciler.reconcile import Options, reconcile_once
from tests.commits import Commit, artifact
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path

NAMES = [f"w/{letter}" for letter in "abcde"]


def fleet(folder: Path) -> World:
    files = {f"{name}/{file}": name.encode() for name in NAMES for file in ("app",)}
    files |= {f"{name}/Dockerfile": b"FROM scratch\n" for name in NAMES}
    return World(Commit(tuple(artifact(name) for name in NAMES), files), folder)


def statuses(world: World) -> set[Status]:
    return {result.status for result in asyncio.run(reconcile_once(world.ports(), Options()))[1].results}


def test_a_first_pass_that_could_find_out_nothing_is_followed_by_one_that_builds(tmp_path: Path) -> None:
    """Its registry was not up yet: nothing was ever applied, so nothing has vanished."""
    world = fleet(tmp_path)
    world.registry.unreadable = {"latest"}
    assert statuses(world) == {Status.HELD}
    assert asyncio.run(world.memory.recall()) == frozenset()
    world.registry.unreadable = set()
    assert statuses(world) == {Status.DONE}


def test_what_was_there_is_remembered_while_it_cannot_be_found_out(tmp_path: Path) -> None:
    world = fleet(tmp_path)
    assert statuses(world) == {Status.DONE}
    remembered = asyncio.run(world.memory.recall())
    world.registry.unreadable = {"latest"}
    assert statuses(world) == {Status.HELD}
    assert asyncio.run(world.memory.recall()) == remembered
    world.registry.unreadable = set()
    world.registry.tags.clear()
    for _ in range(2):
        assert statuses(world) == {Status.HELD}, "most of it is gone, and stays so until a person has looked"
