"""Registries that may be gone: each is asked by itself, and a silent one keeps nobody from the others."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.doubts import MOMENT_SECONDS, Doubts
from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from tests.commits import Commit
from tests.fakes import FakeRegistry, World, problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Reference

DEAD, WELL = (Repository.parse("shop/api", host) for host in ("dead.example", "well.example"))


class OneDead(FakeRegistry):
    """Of two, one does not answer before `gives_up` is set, and then says so."""

    gives_up: asyncio.Event

    async def heads(self, references: Collection[Reference]) -> Mapping[Reference, Sighting]:
        if any(reference.repository.host == DEAD.host for reference in references):
            await self.gives_up.wait()
            self.asked.append(frozenset(references))
            raise problem("registry-unreachable")
        return await super().heads(references)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(Commit((), {}), tmp_path)
    made.registry = OneDead(made.points)
    return made


def begun(world: World) -> Doubts:
    """Of a pass with the registry that is asked of now."""
    assert isinstance(world.registry, OneDead)
    world.registry.gives_up = asyncio.Event()
    return Doubts(world.ports())


@pytest.mark.parametrize("doubted", [False, True])
def test_a_dead_registry_keeps_no_build_for_another_one_waiting(world: World, doubted: bool) -> None:
    async def both() -> None:
        doubts = begun(world)
        doubts.suspect(DEAD)
        if doubted:
            doubts.suspect(WELL)
        asking = asyncio.create_task(doubts.settle(DEAD, "1"))
        await asyncio.sleep(0)
        async with asyncio.timeout(5):
            await doubts.settle(WELL, "1")
        assert not asking.done()
        asking.cancel()

    asyncio.run(both())
    assert [{one.repository.host for one in asked} for asked in world.registry.asked] == [{WELL.host}] * doubted


def test_who_builds_for_the_same_one_waits_for_the_answer_and_for_one_moment_in_all(world: World) -> None:
    async def three() -> list[BaseException | None]:
        doubts = begun(world)
        doubts.suspect(DEAD)
        assert isinstance(world.registry, OneDead)
        world.registry.gives_up.set()
        return await asyncio.gather(*(doubts.settle(DEAD, "1") for _ in range(3)), return_exceptions=True)

    assert all(isinstance(end, LianError) for end in asyncio.run(three()))
    assert world.pauses == [MOMENT_SECONDS]


def test_what_answers_is_asked_once(world: World) -> None:
    async def three() -> None:
        doubts = begun(world)
        doubts.suspect(WELL)
        await asyncio.gather(*(doubts.settle(WELL, "1") for _ in range(3)))

    asyncio.run(three())
    assert len(world.registry.asked) == 1
