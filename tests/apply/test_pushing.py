"""A push that fails after the build is tried once more."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from reconciler.model.outcome import Status
from reconciler.observe.ask import read_records
from reconciler.reconcile import Options, reconcile_once
from tests.commits import AMD64, ARM64, Commit, artifact
from tests.fakes import Points, World, problem

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.outcome import Result


@dataclass
class Refusing(Points):
    """The first pushes fail so many times with this code."""

    codes: list[str] = field(default_factory=list)

    async def at(self, point: str) -> None:
        await super().at(point)
        if point == "pushed" and self.codes:
            raise problem(self.codes.pop(0))


def run(folder: Path, *codes: str) -> tuple[World, Result]:
    """One pass of a two-platform image."""
    commit = Commit((artifact("shop/api", platforms=(AMD64, ARM64)),), {"shop/api/Dockerfile": b"FROM scratch\n"})
    world = World(commit, folder)
    world.builder.points = Refusing(codes=list(codes))
    _, outcome = asyncio.run(reconcile_once(world.ports(), Options()))
    assert not world.compute.out
    return world, outcome.results[0]


def test_once_more_is_enough(tmp_path: Path) -> None:
    world, result = run(tmp_path, "push-failed")
    assert result.status is Status.DONE
    assert len(world.builder.requests) == 3
    first, again, _ = world.builder.requests
    assert (first.destination, first.context, first.target) == (again.destination, again.context, again.target)
    assert first.log != again.log
    image = world.source.commit.artifacts[0].image
    digest = world.tag(image, "latest")
    assert digest is not None
    (record,) = asyncio.run(read_records(world.registry, image, digest))
    assert record.log is not None
    log = world.registry.blobs[image, record.log].decode()
    assert log.index(first.log.stem) < log.index(again.log.stem), "both logs are in the record"


def test_a_push_that_fails_again_and_again_fails_the_artifact(tmp_path: Path) -> None:
    """Twice on each runner, and on three of them."""
    world, result = run(tmp_path, *["push-failed"] * 6)
    assert (result.status, result.problem and result.problem.code) == (Status.FAILED, "push-failed")
    assert len(world.builder.requests) == 6
    assert len(world.compute.rented) == 3


@pytest.mark.parametrize(("code", "status"), [("push-refused", Status.HELD), ("build-failed", Status.FAILED)])
def test_what_another_try_does_not_mend_is_not_tried_again(tmp_path: Path, code: str, status: Status) -> None:
    world, result = run(tmp_path, code)
    assert (result.status, result.problem and result.problem.code) == (status, code)
    assert len(world.builder.requests) == 1
    assert result.log is not None
