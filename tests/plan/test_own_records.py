"""Several artifacts may come out as one image: each is told of by its own records."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.audit.why import why_once
from reconciler.model.artifact import Folder
from reconciler.model.plan import Action, ReasonCode
from reconciler.reconcile import Options, plan_once, reconcile_once
from tests.commits import Commit, artifact
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path


def shared(x: str, y: str) -> Commit:
    """Two artifacts of one repository that come out the same, whatever their epochs."""
    made = (
        artifact("w/x", image="w/both", os_epoch=x, tags=("x",), context=Folder("w")),
        artifact("w/y", image="w/both", os_epoch=y, tags=("y",), context=Folder("w")),
    )
    return Commit(made, {"w/Dockerfile": b"FROM scratch\nCOPY . /\n", "w/a": b"1"})


def test_an_artifacts_own_record_tells_why_where_another_comes_out_the_same(tmp_path: Path) -> None:
    world = World(shared("1", "9"), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options()))
    assert len({digest for (_, tag), digest in world.registry.tags.items() if tag in {"x", "y"}}) == 1
    for x, y, said in (("2", "9", ("w/x", "1", "2")), ("1", "8", ("w/y", "9", "8"))):
        world.source.commit = replace(shared(x, y), revision="1" * 40, before=("0" * 40,))
        changes = asyncio.run(plan_once(world.ports(), Options())).plan.changes
        told = [(str(c.artifact), r.old, r.new) for c in changes for r in c.reasons if c.action is Action.BUILD]
        assert told == [said]


def test_the_story_has_an_artifacts_own_record(tmp_path: Path) -> None:
    world = World(shared("1", "9"), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options()))
    world.source.commit = replace(shared("2", "8"), revision="1" * 40, before=("0" * 40,))
    for name in ("w/x", "w/y"):
        record = asyncio.run(why_once(world.ports(), name)).record
        assert record is not None
        assert record.artifact == name


def test_what_has_no_record_of_its_own_is_told_by_anothers(tmp_path: Path) -> None:
    """As before it was renamed."""
    world = World(shared("1", "1").changed(artifacts=shared("1", "1").artifacts[:1]), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options()))
    renamed = replace(shared("1", "2").artifacts[1], tags=("x",))
    world.source.commit = world.source.commit.changed(artifacts=(renamed,))
    (change,) = asyncio.run(plan_once(world.ports(), Options())).plan.changes
    assert [(r.code, r.old, r.new) for r in change.reasons if r.subject == "os_epoch"] == [
        (ReasonCode.EXPIRED, "1", "2")
    ]
