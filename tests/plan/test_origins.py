"""The commits of other repositories behind a changed context."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.cli.views.reasons import sentence
from reconciler.model.artifact import GitFolder
from reconciler.model.desired import Desired, Origin
from reconciler.model.plan import Change, Moved, ReasonCode
from reconciler.plan.causes import grouped
from reconciler.reconcile import Options, plan_once, reconcile_once
from tests.commits import Commit, artifact
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path

URL = "https://git.example.org/site.git"
OLD, NEW = "1" * 40, "2" * 40
_FILES = {"shop/api/Dockerfile": b"FROM scratch\nCOPY --from=libs . /\n", "shop/api/a": b"1", "libs/a": b"1"}


class Elsewhere(World):
    """A world whose contexts are said to be from another repository, at a commit that moves."""

    commit = OLD
    url = URL

    def plan(self) -> Change:
        options = Options(adjusted=self.moved)
        return asyncio.run(plan_once(self.ports(), options)).plan.changes[0]

    def moved(self, desired: Desired) -> Desired:
        origin = Origin(self.url, "main", self.commit)
        wanted = {}
        for name, one in desired.wanted.items():
            assert one.materials is not None
            folders = {key: replace(folder, origin=origin) for key, folder in one.materials.folders.items()}
            context = replace(one.materials.context, origin=origin)
            materials = replace(one.materials, context=context, folders=folders)
            declared = replace(one.artifact, context=GitFolder(self.url, "main"))
            wanted[name] = replace(one, artifact=declared, materials=materials)
        return replace(desired, wanted=wanted)


@pytest.fixture
def world(tmp_path: Path) -> Elsewhere:
    """Everything applied at the old commit."""
    world = Elsewhere(Commit((artifact("shop/api", contexts={"libs": "libs"}),), _FILES), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options(adjusted=world.moved)))
    world.commit = NEW
    return world


def test_equal_content_at_another_commit_is_in_sync(world: Elsewhere) -> None:
    assert [reason.code for reason in world.plan().reasons] == [ReasonCode.IN_SYNC]


def test_a_changed_context_has_both_commits(world: Elsewhere) -> None:
    world.source.commit = world.source.commit.changed({"shop/api/a": b"2", "libs/a": b"2"})
    moved = Moved(URL, "main", OLD, NEW)
    assert {reason.code: reason.origin for reason in world.plan().reasons} == {
        ReasonCode.CONTEXT_CHANGED: moved,
        ReasonCode.NAMED_CONTEXT_CHANGED: moved,
    }


def test_a_changed_dockerfile_has_both_commits(world: Elsewhere) -> None:
    text = b"# more\n" + _FILES["shop/api/Dockerfile"]
    world.source.commit = world.source.commit.changed({"shop/api/Dockerfile": text})
    (reason,) = world.plan().reasons
    assert (reason.code, reason.origin) == (ReasonCode.DOCKERFILE_CHANGED, Moved(URL, "main", OLD, NEW))
    assert sentence(reason).endswith(f"({URL} main at {OLD[:12]} → {NEW[:12]})")


def test_a_commit_of_another_repository_is_not_told_for_the_old_one(world: Elsewhere) -> None:
    world.url = "https://git.example.org/other.git"
    world.source.commit = world.source.commit.changed({"shop/api/a": b"2"})
    (reason,) = world.plan().reasons
    assert reason.origin == Moved(world.url, "main", None, NEW)
    assert sentence(reason).endswith(f"({world.url} main at {NEW[:12]})")


def test_two_artifacts_of_one_move_have_one_cause(tmp_path: Path) -> None:
    dockerfile = b"FROM scratch\nCOPY --from=libs . /\n"
    files = {"libs/a": b"1", "shop/a/x": b"a", "shop/b/x": b"b"}
    files |= {f"shop/{name}/Dockerfile": dockerfile for name in "ab"}
    both = tuple(artifact(f"shop/{name}", contexts={"libs": "libs"}) for name in "ab")
    world = Elsewhere(Commit(both, files), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options(adjusted=world.moved)))
    world.commit = NEW
    world.source.commit = world.source.commit.changed({"libs/a": b"2"})
    plan = asyncio.run(plan_once(world.ports(), Options(adjusted=world.moved))).plan
    (group,) = grouped(plan)
    assert len(group.own) == 2
