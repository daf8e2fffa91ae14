"""Which image of a parent its children stand on, and when they wait or are held."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.identity.resolve import Keyed
from reconciler.model.outcome import Status
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.policy import DriftPolicy, Policy, Response
from reconciler.model.problem import Problem
from reconciler.reconcile import Options, plan_once, reconcile_once
from tests.commits import AMD64, ARM64, Commit, artifact
from tests.fakes import World, parts_of

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.platform import Platform


ONES = Policy(immutable_tags=("1.*",))
PAIR = (artifact("w/base", tags=("1.0", "latest")), artifact("w/child", contexts={"base": "artifact:w/base"}))
STANDING = {"w/base/Dockerfile": b"FROM scratch\n", "w/child/Dockerfile": b"FROM base\n"}


@pytest.mark.parametrize("platforms", [(AMD64,), (AMD64, ARM64)], ids=["alone", "several"])
def test_a_child_stands_on_the_image_that_a_fixed_tag_names(tmp_path: Path, platforms: tuple[Platform, ...]) -> None:
    """Two pipelines built the base at once; one set 1.0, which never moves, the other the content tag last."""
    made = tuple(replace(one, platforms=platforms) for one in PAIR)
    world = World(Commit(made, STANDING), tmp_path)
    world.builder.reproducible = False
    asyncio.run(reconcile_once(world.ports(), Options()))
    first = dict(world.registry.tags)
    asyncio.run(reconcile_once(world.ports(), Options(forced=("w/base",))))
    base = made[0].image
    theirs = {at: digest for at, digest in world.registry.tags.items() if at[0] == base and at[1] != "1.0"}
    assert all(digest != first[at] for at, digest in theirs.items() if at[1] != "lian-applied-acme")
    world.registry.tags.update(first)
    world.registry.tags.update(theirs)
    world.source.commit = world.source.commit.changed(policy=ONES)
    built = len(world.builder.built)
    planned = asyncio.run(plan_once(world.ports(), Options())).plan
    assert {str(c.artifact): c.action for c in planned.changes}["w/base"] is Action.RETAG
    outcome = asyncio.run(reconcile_once(world.ports(), Options()))[1]
    assert {result.status for result in outcome.results} <= {Status.DONE, Status.NONE}
    assert world.builder.built[built:] == []
    assert world.registry.tags[made[1].image, "latest"] == first[made[1].image, "latest"]
    again = asyncio.run(plan_once(world.ports(), Options())).plan
    assert {change.action for change in again.changes} == {Action.NONE}


def test_a_child_of_a_fixed_tag_whose_record_cannot_be_read_is_held(tmp_path: Path) -> None:
    world = World(Commit(PAIR, STANDING, policy=ONES), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options()))
    world.registry.tags[PAIR[0].image, "1.0"] = world.registry.tags[PAIR[0].image, "lian-applied-acme"]
    world.registry.unreadable.add("records")
    planned = asyncio.run(plan_once(world.ports(), Options())).plan
    assert {str(c.artifact): c.action for c in planned.changes} == dict.fromkeys(("w/base", "w/child"), Action.HOLD)


@pytest.mark.parametrize("response", Response)
def test_nothing_is_built_on_a_broken_parent_that_is_held(tmp_path: Path, response: Response) -> None:
    policy = Policy(drift=DriftPolicy(broken=response))
    world = World(Commit(PAIR, STANDING, policy=policy), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options()))
    world.source.commit = world.source.commit.changed({"w/child/app": b"new"})
    manifest = world.registry.manifests[PAIR[0].image, world.registry.tags[PAIR[0].image, "latest"]]
    for part in parts_of(manifest)[1]:
        del world.registry.blobs[PAIR[0].image, part]
    changes = {str(c.artifact): c for c in asyncio.run(plan_once(world.ports(), Options())).plan.changes}
    expected = {Response.HEAL: Action.BUILD, Response.HOLD: Action.HOLD, Response.REPORT: Action.BUILD}[response]
    assert changes["w/child"].action is expected
    if response is Response.HOLD:
        assert [p.code for p in changes["w/child"].holds] == ["image-broken"]


def test_what_a_child_inherits_has_the_same_place(tmp_path: Path) -> None:
    """Told apart from its parent's, one fault would look like two."""
    files = {**STANDING, "w/base/Dockerfile": b"FROM lost.example/a:1\n"}
    world = World(Commit(PAIR, files), tmp_path)
    world.source.line = 1
    changes = asyncio.run(plan_once(world.ports(), Options())).plan.changes
    assert {p.place for change in changes for p in change.holds} == {"w/base/Dockerfile:1"}


CHECKED = (
    artifact("w/tools", platforms=(AMD64, ARM64)),
    artifact("w/app", contexts={"tools": "artifact:w/tools"}, checks=("test",), platforms=(AMD64, ARM64)),
)
WITH_CHECKS = {"w/tools/Dockerfile": b"FROM scratch\n", "w/app/Dockerfile": b"FROM scratch\nCHECK FROM tools\n"}


PLAIN = Options()


def actions(world: World, options: Options = PLAIN) -> dict[str, Action]:
    return {str(c.artifact): c.action for c in asyncio.run(plan_once(world.ports(), options)).plan.changes}


def test_what_only_checks_stand_on_is_waited_for_as_the_plan_says(tmp_path: Path) -> None:
    world = World(Commit(CHECKED, WITH_CHECKS), tmp_path)
    work = asyncio.run(plan_once(world.ports(), Options()))
    app = next(change for change in work.plan.changes if change.artifact == CHECKED[1].name)
    assert ([str(name) for name in app.waits_for], app.conditional, app.key is not None) == (["w/tools"], False, True)
    assert actions(world, Options(max_builds=0)) == {"w/tools": Action.HOLD, "w/app": Action.HOLD}
    held = Commit(CHECKED, WITH_CHECKS, holds={"w/tools": Problem("planted", "held by the test")})
    world.source.commit = held
    assert actions(world) == {"w/tools": Action.HOLD, "w/app": Action.HOLD}
    results = asyncio.run(reconcile_once(world.ports(), Options()))[1].results
    assert {r.status for r in results} == {Status.HELD}
    world.source.commit = Commit(CHECKED, WITH_CHECKS)
    asyncio.run(reconcile_once(world.ports(), Options()))
    assert set(actions(world).values()) == {Action.NONE}
    world.source.commit = held
    assert actions(world) == {"w/tools": Action.HOLD, "w/app": Action.NONE}, "checks are of builds"


def test_a_check_on_what_cannot_be_looked_up_holds(tmp_path: Path) -> None:
    world = World(Commit(CHECKED, WITH_CHECKS), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options()))
    tools = asyncio.run(plan_once(world.ports(), Options())).resolution.identities[CHECKED[0].name]
    assert isinstance(tools, Keyed)
    world.registry.unreadable.add(tools.tag(ARM64))
    world.source.commit = world.source.commit.changed({"w/app/app": b"new"})
    work = asyncio.run(plan_once(world.ports(), Options()))
    app = next(change for change in work.plan.changes if change.artifact == CHECKED[1].name)
    assert (app.action, [problem.code for problem in app.holds]) == (Action.HOLD, ["registry-down"])
    assert [(reason.code, reason.subject) for reason in app.reasons] == [(ReasonCode.UNKNOWN, "w/tools")]
