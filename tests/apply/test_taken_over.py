"""What is there is taken over in place of a build only if all of it is there, also where only the pass itself finds it:
behind a parent that came out the same, and of single platforms."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.apply.taken_over import is_whole
from reconciler.identity.resolve import Resolution
from reconciler.model.manifest import IMAGE_INDEX
from reconciler.model.observed import Unknown
from reconciler.model.outcome import Status
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.policy import DriftPolicy, Policy, Response
from reconciler.reconcile import Options, plan_once, reconcile_once
from tests.commits import AMD64, ARM64, chain
from tests.fakes import World, parts_of

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.digest import Digest
    from reconciler.model.outcome import Outcome
    from reconciler.model.reference import Repository

COMMENT = b"FROM scratch\n#\n"
"""A Dockerfile that gives the same image as before."""


def run(world: World) -> Outcome:
    return asyncio.run(reconcile_once(world.ports(), Options()))[1]


def ends(outcome: Outcome) -> dict[str, tuple[str, str]]:
    return {str(r.artifact): (r.action.value, r.status.value) for r in outcome.results}


def codes(outcome: Outcome) -> list[str]:
    return [result.problem.code for result in outcome.results if result.problem]


def policy(broken: Response) -> Policy:
    return Policy(drift=DriftPolicy(broken=broken))


def lose_blobs(world: World, image: Repository, digest: Digest | None) -> None:
    assert digest
    for blob in parts_of(world.registry.manifests[image, digest])[1]:
        del world.registry.blobs[image, blob]


def lose_content_tags(world: World, image: Repository) -> None:
    names = [t for where, t in world.registry.tags if where == image and t.startswith("lian-") and "applied" not in t]
    for tag in names:
        del world.registry.tags[image, tag]


@pytest.fixture
def two(tmp_path: Path) -> World:
    """An image and one that stands on it; the first is built again and comes out the same, the other lacks a part."""
    world = World(chain("shop/base", "shop/api"), tmp_path)
    run(world)
    image = world.source.commit.artifacts[1].image
    lose_blobs(world, image, world.tag(image, "latest"))
    world.builder.built.clear()
    return world


@pytest.mark.parametrize("tagged", [True, False])
@pytest.mark.parametrize(
    ("response", "end"),
    [(Response.HEAL, ("build", "done")), (Response.HOLD, ("build", "held")), (Response.REPORT, ("none", "none"))],
)
def test_behind_a_parent_that_came_out_the_same(
    two: World, *, tagged: bool, response: Response, end: tuple[str, str]
) -> None:
    """One that has lost its content tag is built even where broken ones are only reported: it could not be tagged."""
    if not tagged:
        lose_content_tags(two, two.source.commit.artifacts[1].image)
        end = ("build", "done") if response is Response.REPORT else end
    two.source.commit = two.source.commit.changed({"shop/base/Dockerfile": COMMENT}, policy=policy(response))
    outcome = run(two)
    assert ends(outcome) == {"shop/base": ("build", "done"), "shop/api": end}
    assert codes(outcome) == (["image-broken"] if response is Response.HOLD else [])
    assert len(two.builder.built) == 1 + (end == ("build", "done"))
    if response is Response.HEAL:
        assert {change.action for change in planned(two).values()} == {Action.NONE}


def test_what_cannot_be_looked_at_is_not_built(two: World) -> None:
    two.source.commit = two.source.commit.changed({"shop/base/Dockerfile": COMMENT})
    two.registry.unreadable.add("parts")
    outcome = run(two)
    assert ends(outcome)["shop/api"][1] in {"failed", "held"}
    assert "shop/api linux/amd64" not in two.builder.built


@pytest.mark.parametrize("tagged", [True, False])
def test_one_whose_turn_it_is_not_is_not_looked_at_unless_it_is_tagged_anew(two: World, *, tagged: bool) -> None:
    (_, api), points = two.source.commit.artifacts, two.registry.points
    resolution, digest = Resolution(two.source.commit.desired, 0.0), two.tag(api.image, "latest")
    assert digest
    points.seen.clear()
    assert asyncio.run(is_whole(two.registry, resolution, api.image, digest, tagged=tagged)) is tagged
    assert points.seen == ([] if tagged else ["missing"])


@pytest.fixture
def both(tmp_path: Path) -> World:
    """A parent of two platforms and its child. The parent's index is lost, and a part of what one platform got."""
    commit = chain("shop/base", "shop/api")
    commit = replace(commit, artifacts=tuple(replace(a, platforms=(AMD64, ARM64)) for a in commit.artifacts))
    world = World(commit, tmp_path)
    run(world)
    world.builder.built.clear()
    return world


def lose_index(world: World, image: Repository, *, part: int | None = 1) -> None:
    """The index, and the blobs of one of its platforms."""
    digest = world.tag(image, "latest")
    assert digest
    index = world.registry.manifests.pop((image, digest))
    assert index.media_type == IMAGE_INDEX
    if part is not None:
        lose_blobs(world, image, parts_of(index)[0][part])


def planned(world: World) -> dict[str, Any]:
    return {str(c.artifact): c for c in asyncio.run(plan_once(world.ports(), Options())).plan.changes}


@pytest.mark.parametrize("response", Response)
def test_of_several_platforms_those_are_built_that_lack_a_part(both: World, response: Response) -> None:
    """Of an image that nothing stands on, only the build finds out."""
    both.source.commit = both.source.commit.changed({}, policy=policy(response))
    lose_index(both, both.source.commit.artifacts[1].image)
    outcome = run(both)
    end = "held" if response is Response.HOLD else "done"
    assert ends(outcome) == {"shop/base": ("none", "none"), "shop/api": ("build", end)}
    assert both.builder.built == (["shop/api linux/arm64"] if response is Response.HEAL else [])
    assert codes(outcome) == (["image-broken"] if response is Response.HOLD else [])


@pytest.mark.parametrize("reproducible", [True, False])
def test_what_stands_on_such_a_platform_waits_for_it(both: World, *, reproducible: bool) -> None:
    both.builder.reproducible = reproducible
    lose_index(both, both.source.commit.artifacts[0].image)
    changes = planned(both)
    assert [change.action for change in changes.values()] == [Action.BUILD, Action.BUILD]
    assert ReasonCode.BROKEN in {reason.code for reason in changes["shop/base"].reasons}
    assert [str(parent) for parent in changes["shop/api"].waits_for] == ["shop/base"]
    outcome = run(both)
    assert outcome.results[0].status is Status.DONE
    assert both.builder.built == ["shop/base linux/arm64", *(["shop/api linux/arm64"] if not reproducible else [])]
    assert {change.action for change in planned(both).values()} == {Action.NONE}


def test_such_a_platform_is_held_where_the_fleet_wants_that(both: World) -> None:
    both.source.commit = both.source.commit.changed({}, policy=policy(Response.HOLD))
    lose_index(both, both.source.commit.artifacts[0].image)
    changes = planned(both)
    assert {change.action for change in changes.values()} == {Action.HOLD}
    assert {problem.code for change in changes.values() for problem in change.holds} == {"image-broken"}


def test_such_a_platform_that_cannot_be_looked_at_holds(both: World) -> None:
    lose_index(both, both.source.commit.artifacts[0].image, part=None)
    both.registry.unreadable.add("parts")
    work = asyncio.run(plan_once(both.ports(), Options()))
    assert {change.action for change in work.plan.changes} == {Action.HOLD}
    assert any(isinstance(answer, Unknown) for answer in work.observed.missing.values())


@pytest.mark.parametrize(
    ("response", "action"),
    [(Response.HEAL, Action.BUILD), (Response.HOLD, Action.HOLD), (Response.REPORT, Action.BUILD)],
)
def test_an_image_that_lost_a_part_and_its_content_tag_is_not_tagged_again(
    two: World, response: Response, action: Action
) -> None:
    """No registry would take it."""
    lose_content_tags(two, two.source.commit.artifacts[1].image)
    two.source.commit = two.source.commit.changed({}, policy=policy(response))
    change = planned(two)["shop/api"]
    assert (change.action, change.reasons[0].code) == (action, ReasonCode.BROKEN)
    if action is Action.BUILD:
        assert ends(run(two)) == {"shop/base": ("none", "none"), "shop/api": ("build", "done")}
        assert {change.action for change in planned(two).values()} == {Action.NONE}
