"""What is told together: changes of one cause, however far they are from it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.name import ArtifactName
from reconciler.model.plan import Action, Change, FileChange, Plan, Reason, ReasonCode
from reconciler.plan.causes import grouped
from reconciler.reconcile import Options, plan_once, reconcile_once
from tests import strategies as some
from tests.commits import Commit, artifact
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.plan.causes import Group

FILES = {
    "w/base/Dockerfile": b"FROM scratch\n",
    "w/other/Dockerfile": b"FROM scratch\n",
    **{f"w/n{n}/Dockerfile": b"FROM base\n" for n in range(4)},
}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A base, two on it, one on these, one on another base; all applied."""
    made = (
        artifact("w/base"),
        artifact("w/other"),
        artifact("w/n0", contexts={"base": "artifact:w/base"}),
        artifact("w/n1", contexts={"base": "artifact:w/base"}),
        artifact("w/n2", contexts={"base": "artifact:w/n1"}),
        artifact("w/n3", contexts={"base": "artifact:w/other"}),
    )
    world = World(Commit(made, FILES), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options()))
    return world


def groups(world: World) -> tuple[Group, ...]:
    return grouped(asyncio.run(plan_once(world.ports(), Options())).plan)


def told(group: Group) -> tuple[list[str], list[str]]:
    return [str(one.artifact) for one in group.own], [str(one.artifact) for one in group.behind]


def test_a_cascade_is_one_group_named_after_the_file(world: World) -> None:
    world.source.commit = world.source.commit.changed({"w/base/Dockerfile": b"FROM scratch\nLABEL a=b\n"})
    (group,) = groups(world)
    assert told(group) == (["w/base"], ["w/n0", "w/n1", "w/n2"])
    assert [(cause.code, cause.files) for cause in group.causes] == [
        (ReasonCode.DOCKERFILE_CHANGED, (FileChange("w/base/Dockerfile"),))
    ]


def test_what_has_a_cause_of_its_own_too_is_told_apart(world: World) -> None:
    changed = {"w/base/Dockerfile": b"FROM scratch\nLABEL a=b\n", "w/n1/Dockerfile": b"FROM base\nLABEL c=d\n"}
    world.source.commit = world.source.commit.changed(changed)
    first, second = groups(world)
    assert told(first) == (["w/base"], ["w/n0"])
    assert told(second) == (["w/n1"], ["w/n2"])
    assert {cause.files[0].path for cause in second.causes} == {"w/n1/Dockerfile", "w/base/Dockerfile"}


def test_what_was_never_built_is_one_group(tmp_path: Path) -> None:
    (group,) = groups(World(Commit((artifact("w/base"), artifact("w/other")), FILES), tmp_path))
    assert told(group) == (["w/base", "w/other"], [])
    assert group.causes == (Reason(ReasonCode.ABSENT),)


def test_a_base_image_of_an_artifacts_name_is_no_parent() -> None:
    name = ArtifactName("shop", "base")
    image = artifact("shop/base").image
    moved = Reason(ReasonCode.BASE_MOVED, "a", "b", subject="shop/base")
    parent = Change(name, image, ("latest",), (), Action.BUILD, (Reason(ReasonCode.FORCED),))
    child = Change(ArtifactName("shop", "api"), image, ("latest",), (), Action.BUILD, (moved,))
    assert [group.causes for group in grouped(Plan("0" * 40, (parent, child)))] == [(parent.reasons[0],), (moved,)]


@pytest.mark.parametrize(
    ("most", "own", "behind"),
    [(0, ["w/base"], ["w/n0", "w/n1", "w/n2"]), (1, [], ["w/n0", "w/n1", "w/n2"]), (2, [], ["w/n1", "w/n2"])],
)
def test_a_limit_does_not_make_the_parents_change_the_childrens(
    world: World, most: int, own: list[str], behind: list[str]
) -> None:
    world.source.commit = world.source.commit.changed({"w/base/Dockerfile": b"FROM scratch\nLABEL a=b\n"})
    plan = asyncio.run(plan_once(world.ports(), Options(max_builds=most))).plan
    (held,) = (group for group in grouped(plan) if group.action is Action.HOLD)
    assert told(held) == (own, behind)
    assert [cause.code for cause in held.causes] == [ReasonCode.LIMITED, ReasonCode.DOCKERFILE_CHANGED]


OF_A_PARENT = (ReasonCode.PARENT_CHANGED, ReasonCode.UNKNOWN, ReasonCode.INVALID, ReasonCode.UNSUPPORTED)


@st.composite
def cascades(draw: st.DrawFn) -> list[Change]:
    """Changes as a plan has them, each with reasons of its own, or about some before it, or with both."""
    made: list[Change] = []
    for change in draw(st.lists(some.changes, max_size=6, unique_by=lambda change: change.artifact)):
        parents = draw(st.lists(st.sampled_from(made), max_size=2)) if made else []
        about = [Reason(draw(st.sampled_from(OF_A_PARENT)), subject=str(parent.artifact)) for parent in parents]
        own = change.reasons if not about or draw(st.booleans()) else ()
        made.append(replace(change, reasons=(*own, *about)))
    return made


def tells(cause: Reason, reason: Reason) -> bool:
    """All of it but what is one artifact's alone: its tags, and the digests of what the files lie in."""
    if reason.code in {ReasonCode.ABSENT, ReasonCode.TAG_DIFFERS} and not reason.files:
        return cause == Reason(reason.code)
    return cause == (replace(reason, old=None, new=None) if reason.files else reason)


@settings(max_examples=40)
@given(cascades())
def test_everything_that_changes_is_told_once_and_every_difference_is_at_a_root(changes: list[Change]) -> None:
    found = grouped(Plan("0" * 40, tuple(changes)))
    busy = [change for change in changes if change.action is not Action.NONE]
    assert sorted(str(one.artifact) for group in found for one in group.changes) == sorted(
        str(change.artifact) for change in busy
    )
    assert len({(group.action, group.causes) for group in found}) == len(found)
    roots: dict[str, set[Reason]] = {}
    for change in busy:
        (group,) = (group for group in found if change in group.changes)
        parents = [r.subject for r in change.reasons if r.code in OF_A_PARENT and r.subject in roots]
        own = [r for r in change.reasons if r.code not in OF_A_PARENT or r.subject not in roots]
        inherited = {cause for parent in parents for cause in roots[parent or ""]}
        causes = roots[str(change.artifact)] = set(group.causes)
        assert inherited <= causes, "what the parents change for"
        assert all(any(tells(cause, reason) for cause in causes) for reason in own), "every difference"
        assert all(any(tells(cause, reason) for reason in own) for cause in causes - inherited), "nothing else"
        chosen = {ReasonCode.LIMITED, ReasonCode.STALE}
        assert (change in group.behind) == (bool(parents) and all(reason.code in chosen for reason in own))
