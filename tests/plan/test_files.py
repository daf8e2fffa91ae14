"""The files behind a changed context are named from the listing that the last build's record keeps."""

from __future__ import annotations

import asyncio
import io
import json
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.audit.why import why_once
from reconciler.cli.views import why
from reconciler.model.plan import Action, Change, FileChange, FileStatus, ReasonCode
from reconciler.model.policy import Policy
from reconciler.model.problem import LianError
from reconciler.reconcile import Options, plan_once, reconcile_once
from tests.commits import Commit, artifact
from tests.fakes import FakeSource, World, problem

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.desired import SentFolder
    from reconciler.model.tree import Entry

_FILES = {
    "shop/api/Dockerfile": b"FROM scratch\nCOPY --from=libs . /\n",
    "shop/api/main.go": b"1",
    "shop/api/old": b"1",
    "libs/a": b"1",
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Everything applied."""
    api = artifact("shop/api", contexts={"libs": "libs"})
    world = World(Commit((api,), _FILES), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options()))
    return world


def change(world: World) -> Change:
    return asyncio.run(plan_once(world.ports(), Options())).plan.changes[0]


def test_each_context_names_its_own_files(world: World) -> None:
    files = {**_FILES, "shop/api/main.go": b"2", "shop/api/new": b"1", "libs/b": b"1"}
    del files["shop/api/old"]
    world.source.commit = Commit(world.source.commit.artifacts, files)
    assert {r.code: r.files for r in change(world).reasons} == {
        ReasonCode.CONTEXT_CHANGED: (
            FileChange("shop/api/main.go"),
            FileChange("shop/api/new", FileStatus.ADDED),
            FileChange("shop/api/old", FileStatus.REMOVED),
        ),
        ReasonCode.NAMED_CONTEXT_CHANGED: (FileChange("libs/b", FileStatus.ADDED),),
    }


def test_a_dockerfile_in_its_own_context_is_one_reason(world: World) -> None:
    text = b"# more\n" + _FILES["shop/api/Dockerfile"]
    world.source.commit = world.source.commit.changed({"shop/api/Dockerfile": text})
    (reason,) = change(world).reasons
    assert (reason.code, reason.files) == (ReasonCode.DOCKERFILE_CHANGED, (FileChange("shop/api/Dockerfile"),))
    world.source.commit = world.source.commit.changed({"shop/api/main.go": b"2"})
    assert [r.code for r in change(world).reasons] == [ReasonCode.CONTEXT_CHANGED, ReasonCode.DOCKERFILE_CHANGED]


def test_the_commit_behind_the_files_is_told(world: World) -> None:
    world.source.commit = world.source.commit.changed({"shop/api/main.go": b"2", "libs/a": b"2"})
    told = {reason.code: reason.commit for reason in change(world).reasons}
    now = world.source.commit.revision
    assert told == {ReasonCode.CONTEXT_CHANGED: now, ReasonCode.NAMED_CONTEXT_CHANGED: now}


def test_a_commit_from_before_the_last_build_is_behind_nothing(world: World) -> None:
    """Another file is the Dockerfile now, and it is old."""
    first = world.source.commit
    (api,) = first.artifacts
    world.source.commit = first.changed({"shop/api/Other": b"# other\n" + _FILES["shop/api/Dockerfile"]})
    asyncio.run(reconcile_once(world.ports(), Options()))
    world.source.commit = world.source.commit.changed({"libs/a": b"2"}, artifacts=(replace(api, dockerfile="Other"),))
    world.source.changed = {"shop/api/Other": world.source.commit.before[-1]}
    told = {reason.code: (reason.files, reason.commit) for reason in change(world).reasons}
    assert told == {
        ReasonCode.DOCKERFILE_CHANGED: ((FileChange("shop/api/Other"),), None),
        ReasonCode.NAMED_CONTEXT_CHANGED: ((FileChange("libs/a"),), world.source.commit.revision),
    }


def test_a_held_change_names_its_files_too(world: World) -> None:
    changed = world.source.commit.changed({"shop/api/main.go": b"2"}, policy=Policy(immutable_tags=("latest",)))
    world.source.commit = changed
    held = change(world)
    assert held.action is Action.HOLD
    assert {r.code: r.files for r in held.reasons} == {
        ReasonCode.IMMUTABLE: (),
        ReasonCode.CONTEXT_CHANGED: (FileChange("shop/api/main.go"),),
    }


@pytest.mark.parametrize("point", ["listing", "blob"])
def test_files_that_cannot_be_named_change_nothing_else(world: World, point: str) -> None:
    world.source.commit = world.source.commit.changed({"shop/api/main.go": b"2"})
    if point == "blob":
        for key, data in world.registry.blobs.items():
            world.registry.blobs[key] = b"[[" if data.startswith(b"[[") else data
    else:
        world.points.faults[point] = problem()
    (reason,) = change(world).reasons
    assert (reason.code, reason.files) == (ReasonCode.CONTEXT_CHANGED, ())
    assert reason.old != reason.new


def test_the_story_has_the_record_also_when_in_sync(world: World) -> None:
    story = asyncio.run(why_once(world.ports(), "shop/api"))
    assert story.record
    assert (story.change.key, story.content_tag) == (story.record.key, f"lian-{story.record.key[:40]}")
    assert set(story.tags) == {story.content_tag, "latest"}
    assert len(set(story.tags.values())) == 1
    with pytest.raises(LianError, match="selection-empty"):
        asyncio.run(why_once(world.ports(), "shop/web"))


def test_the_story_holds_no_secret(world: World) -> None:
    """Neither of what is wanted nor of what was built."""
    (api,) = world.source.commit.artifacts
    for value in ("hunter2", "hunter3"):
        url = f"https://a.example/{value}/x"
        commit = world.source.commit.changed(
            artifacts=(replace(api, args={"NPM_TOKEN": value}),), pins={url: "sha256:1"}
        )
        world.source.commit = commit
        if value == "hunter2":
            asyncio.run(reconcile_once(world.ports(), Options()))
    story = asyncio.run(why_once(world.ports(), "shop/api"))
    document = json.dumps(story.to_json())
    assert "hunter" not in document
    assert document.count('{"NPM_TOKEN": "***"}') == 2
    assert document.count("https://a.example/***/x") == 4


def test_the_story_of_what_is_wrong_in_the_commit_asks_what_is_there(world: World) -> None:
    commit = world.source.commit
    wrong = problem("dockerfile-syntax").problems[0].of("shop/api")
    world.source.commit = commit.changed(holds={"shop/api": wrong}, problems=(wrong,))
    story = asyncio.run(why_once(world.ports(), "shop/api"))
    assert story.change.action is Action.HOLD
    assert story.record
    assert story.tags == {"latest": story.record.digest}
    world.registry.unreadable = {"latest"}
    story = asyncio.run(why_once(world.ports(), "shop/api"))
    assert (dict(story.tags), list(story.unread), story.record) == ({}, ["latest"], None)


def test_a_record_that_cannot_be_read_is_not_told_as_none(world: World) -> None:
    world.registry.unreadable = {"records"}
    story = asyncio.run(why_once(world.ports(), "shop/api"))
    assert (story.record, bool(story.record_unread)) == (None, True)
    written = io.StringIO()
    why.show(story, written)
    assert "not built by lian" not in written.getvalue()


def test_the_story_of_what_is_to_be_built_tells_what_that_will_take(world: World) -> None:
    world.source.commit = world.source.commit.changed({"shop/api/main.go": b"2"})
    story = asyncio.run(why_once(world.ports(), "api"))
    assert story.change.forecast is not None
    written = io.StringIO()
    why.show(story, written)
    assert story.change.forecast.tier.words in written.getvalue()
    world.source.commit = world.source.commit.changed({"shop/api/main.go": b"1"})
    assert asyncio.run(why_once(world.ports(), "api")).change.forecast is None


def test_a_bug_in_one_listing_leaves_none_that_reads_on(tmp_path: Path) -> None:
    names = [f"shop/{letter}" for letter in "abc"]
    files = {f"{name}/Dockerfile": b"FROM scratch\nCOPY a /\n" for name in names}
    world = World(Commit(tuple(map(artifact, names)), {**files, **{f"{name}/a": b"1" for name in names}}), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options()))
    asked: list[SentFolder] = []
    reading: list[SentFolder] = []

    class Broken(FakeSource):
        """Whose first listing breaks while the others are still being read."""

        async def listing(self, folder: SentFolder) -> tuple[Entry, ...]:
            asked.append(folder)
            if len(asked) == 1:
                raise RuntimeError("a bug")
            reading.append(folder)
            for _ in range(5):
                await asyncio.sleep(0)
            reading.remove(folder)
            return await super().listing(folder)

    world.source = Broken(world.source.commit.changed({f"{name}/a": b"2" for name in names}), world.points)

    async def until_told() -> list[SentFolder]:
        with pytest.raises(RuntimeError, match="a bug"):
            await plan_once(world.ports(), Options())
        return list(reading)

    assert asyncio.run(until_told()) == []
    assert len(asked) == len(names)
