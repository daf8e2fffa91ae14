"""One image may have been made of several inputs: reasons are told against those that are nearest to what is asked for,
and what is certain is told of what may not be built at all, too."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.audit.why import why_once
from reconciler.model.plan import Action, Change, Reason, ReasonCode
from reconciler.reconcile import Options, plan_once, reconcile_once
from tests.commits import AMD64, ARM64, Commit, artifact
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path

PARENT, OTHER = artifact("w/p"), artifact("w/q")
CHILD = artifact("w/c", contexts={"base": "artifact:w/p"})
FILES = {
    "w/p/Dockerfile": b"FROM scratch\n",
    "w/q/Dockerfile": b"FROM scratch\nLABEL q=1\n",
    "w/c/Dockerfile": b"FROM base\n",
    "w/c/app": b"1",
}
COMMENT = b"# does not reach the image\n"


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(Commit((PARENT, OTHER, CHILD), FILES), tmp_path)
    asyncio.run(reconcile_once(made.ports(), Options()))
    return made


def commented(name: str) -> dict[str, bytes]:
    path = f"{name}/Dockerfile"
    return {path: FILES[path] + COMMENT}


def passed(world: World, files: dict[str, bytes]) -> None:
    world.source.commit = world.source.commit.changed(files)
    asyncio.run(reconcile_once(world.ports(), Options()))


def planned(world: World, name: str = "w/c") -> Change:
    changes = asyncio.run(plan_once(world.ports(), Options())).plan.changes
    return next(change for change in changes if str(change.artifact) == name)


def test_a_comment_that_came_and_went_is_no_reason_later(world: World) -> None:
    passed(world, commented("w/c"))
    passed(world, {"w/c/Dockerfile": FILES["w/c/Dockerfile"]})
    world.source.commit = world.source.commit.changed({"w/c/app": b"2"})
    assert [reason.code for reason in planned(world).reasons] == [ReasonCode.CONTEXT_CHANGED]
    passed(world, {"w/c/app": b"1"} | commented("w/c"))
    world.source.commit = world.source.commit.changed({"w/c/app": b"3"})
    codes = [reason.code for reason in planned(world).reasons]
    assert codes == [ReasonCode.CONTEXT_CHANGED], "and the comment that is there is none either"


def test_nor_does_it_make_a_build_certain_that_waits_for_a_parent(world: World) -> None:
    passed(world, commented("w/c"))
    passed(world, {"w/c/Dockerfile": FILES["w/c/Dockerfile"]})
    world.source.commit = world.source.commit.changed(commented("w/p"))
    change = planned(world)
    assert (change.conditional, [reason.code for reason in change.reasons]) == (True, [ReasonCode.PARENT_CHANGED])


def test_a_new_tag_is_told_also_where_a_parent_decides_of_the_build(world: World) -> None:
    tagged = artifact("w/c", contexts={"base": "artifact:w/p"}, tags=("latest", "2.0"))
    world.source.commit = world.source.commit.changed(commented("w/p"), artifacts=(PARENT, OTHER, tagged))
    change = planned(world)
    there = world.registry.tags[CHILD.image, "latest"]
    assert change.conditional
    assert change.reasons[0] == Reason(ReasonCode.ABSENT, None, str(there), subject="2.0")
    assert [reason.code for reason in change.reasons[1:]] == [ReasonCode.PARENT_CHANGED]
    outcome = asyncio.run(reconcile_once(world.ports(), Options()))[1]
    (ended,) = [result for result in outcome.results if result.artifact == CHILD.name]
    assert ended.action is Action.RETAG
    assert world.registry.tags[CHILD.image, "2.0"] == there


def test_the_story_of_one_goes_down_to_the_root(world: World) -> None:
    grandchild = artifact("w/d", contexts={"base": "artifact:w/c"})
    files = {"w/d/Dockerfile": b"FROM base\n"}
    world.source.commit = world.source.commit.changed(files, artifacts=(PARENT, OTHER, CHILD, grandchild))
    asyncio.run(reconcile_once(world.ports(), Options()))
    world.source.commit = world.source.commit.changed({"w/p/app": b"new"})
    story = asyncio.run(why_once(world.ports(), "w/d"))
    ((name, reason),) = story.behind
    assert (str(name), reason.code, [file.path for file in reason.files]) == ("w/p", "context-changed", ["w/p/app"])
    assert asyncio.run(why_once(world.ports(), "w/p")).behind == ()


def test_another_parent_makes_a_build_certain_before_it_is_built(world: World) -> None:
    moved = artifact("w/c", contexts={"base": "artifact:w/q"})
    world.source.commit = world.source.commit.changed(commented("w/q"), artifacts=(PARENT, OTHER, moved))
    change = planned(world)
    assert change.reasons[0] == Reason(ReasonCode.NAMED_CONTEXT_CHANGED, "w/p", "w/q", subject="base")
    assert not change.conditional
    outcome = asyncio.run(reconcile_once(world.ports(), Options()))[1]
    (ended,) = [result for result in outcome.results if result.artifact == CHILD.name]
    assert ended.action is Action.BUILD


def test_a_context_that_is_not_used_any_more_is_no_parent(world: World) -> None:
    world.source.commit = world.source.commit.changed({"w/c/Dockerfile": b"FROM scratch\nLABEL c=1\n"})
    code, there = ReasonCode.NAMED_CONTEXT_CHANGED, str(world.registry.tags[PARENT.image, "latest"])
    reasons = planned(world).reasons
    assert [reason.code for reason in reasons] == [ReasonCode.DOCKERFILE_CHANGED, code]
    assert reasons[-1] == Reason(code, there, None, subject="base")


def test_another_parent_that_is_there_is_told_by_its_name(world: World) -> None:
    """Not as the image of the one that became the image of the other."""
    moved = artifact("w/c", contexts={"base": "artifact:w/q"})
    world.source.commit = world.source.commit.changed(artifacts=(PARENT, OTHER, moved))
    assert planned(world).reasons == (Reason(ReasonCode.NAMED_CONTEXT_CHANGED, "w/p", "w/q", subject="base"),)


def test_it_is_certain_also_where_nobody_looks_at_the_other_parent(world: World) -> None:
    moved = artifact("w/c", contexts={"base": "artifact:w/q"})
    world.source.commit = world.source.commit.changed(commented("w/q"), artifacts=(PARENT, OTHER, moved))
    assert not asyncio.run(why_once(world.ports(), "w/c")).change.conditional
    world.source.commit = Commit((PARENT, OTHER, CHILD), FILES).changed(commented("w/p"))
    assert asyncio.run(why_once(world.ports(), "w/c")).change.conditional


def test_of_several_platforms_nothing_is_certain(tmp_path: Path) -> None:
    """Their tags name an index, and children stand on what is in it."""
    both = artifact("w/p", platforms=(AMD64, ARM64))
    world = World(Commit((both, CHILD), FILES), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options()))
    world.source.commit = world.source.commit.changed(commented("w/p"))
    assert planned(world).conditional
