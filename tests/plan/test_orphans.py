"""What no commit wants any more, in the plan of a pass, and what becomes of it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.cli import exits
from reconciler.cli.views import plan as plan_view
from reconciler.model.applied import APPLIED_TYPE, applied_at
from reconciler.model.fleet import UNNAMED
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.policy import DriftPolicy, Policy, PrunePolicy, Response
from reconciler.model.problem import Problem
from reconciler.observe.ask import read_applied
from reconciler.plan.orphans import left_to
from reconciler.plan.select import Selection
from reconciler.reconcile import Options, Orphans, plan_once, reconcile_once
from tests.cli.test_documents import checked
from tests.cli.test_views import shown
from tests.commits import AMD64, APPLIED_TAG, ARM64, FLEET, Commit, artifact
from tests.fakes import World, problem

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.apply.work import Work
    from reconciler.model.outcome import Outcome
    from reconciler.model.plan import Change

NAMES = ("shop/api", "shop/old", "web/site")


def first(**more: Any) -> Commit:
    """shop/old has a repository of its own; web/site lies in that of shop/api."""
    made = (
        artifact("shop/api"),
        artifact("shop/old", tags=("1.0", "latest")),
        artifact("web/site", image="shop/api", tags=("site",)),
    )
    files = {f"{n}/Dockerfile": b"FROM scratch\n" for n in NAMES} | {f"{n}/app": n.encode() for n in NAMES}
    return Commit(made, files, **more)


@pytest.fixture
def world(tmp_path: Path) -> World:
    """All three were applied; then the commit wants shop/api alone."""
    world = World(first(), tmp_path)
    passed(world)
    world.source.commit = world.source.commit.changed(artifacts=world.source.commit.artifacts[:1])
    return world


def passed(world: World, **options: Any) -> Outcome:
    async def one() -> Outcome:
        outcome = (await reconcile_once(world.ports(), Options(orphans=Orphans.HEALED, **options)))[1]
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return outcome

    return asyncio.run(one())


def diff(world: World, **options: Any) -> Work:
    return asyncio.run(plan_once(world.ports(), Options(**{"orphans": Orphans.TOLD, **options})))


def told(work: Work) -> dict[str, tuple[str, tuple[str, ...]]]:
    return {str(c.artifact): (c.action.value, c.tags) for c in work.plan.orphans}


WRONG = Problem("dockerfile-instruction", "unknown instruction: RUUN", "api/Dockerfile")
BOTH = {"shop/old": ("none", ("1.0", "latest")), "web/site": ("none", ("site",))}


def policy(world: World, response: Response, **prune: Any) -> None:
    changed = Policy(DriftPolicy(orphaned=response), prune=PrunePolicy(**prune))
    world.source.commit = replace(world.source.commit, policy=changed)


def change(work: Work, name: str) -> Change:
    return next(c for c in work.plan.orphans if str(c.artifact) == name)


def test_orphans_are_reported_one_for_each_artifact(world: World) -> None:
    work = diff(world)
    assert told(work) == BOTH
    old = change(work, "shop/old")
    assert old.digest == world.tag(old.image, "latest")
    assert [(r.code, r.subject, r.old, r.new) for r in old.reasons] == [
        (ReasonCode.ORPHANED, "1.0", str(old.digest), None),
        (ReasonCode.ORPHANED, "latest", str(old.digest), None),
    ]
    assert old.left == old.tags
    assert (work.plan.drift, exits.of_plan(work.plan), work.notes) == (False, exits.DONE, ())
    checked("plan", json.dumps(work.plan.to_json()) + "\n")


@pytest.mark.parametrize("fleet", ["acme", UNNAMED])
def test_another_repo_of_the_same_name_is_left_alone_if_that_is_no_name(tmp_path: Path, fleet: str) -> None:
    """Two desired repos that push to one registry, and have not named their fleets (ADR 049)."""
    world = World(first(fleet=fleet), tmp_path)
    passed(world)
    theirs = Commit((artifact("umbrella/x"),), {"umbrella/x/Dockerfile": b"FROM scratch\n"}, revision="7" * 40)
    heal = Policy(DriftPolicy(orphaned=Response.HEAL))
    world.source.commit = replace(theirs, fleet=fleet, policy=heal, before=("6" * 40,))
    work = diff(world)
    if fleet != UNNAMED:
        assert told(work).keys() == {"shop/api", "shop/old", "web/site"}
        return
    assert told(work) == {}
    (note,) = work.notes
    assert "commits that this repo does not know" in note
    before = dict(world.registry.tags)
    passed(world)
    assert before.items() <= world.registry.tags.items()


def test_a_fleet_without_a_name_still_knows_what_its_own_commits_left(tmp_path: Path) -> None:
    world = World(first(fleet=UNNAMED), tmp_path)
    passed(world)
    world.source.commit = world.source.commit.changed(artifacts=world.source.commit.artifacts[:1])
    assert told(diff(world)) == BOTH
    assert diff(world).notes == ()


def test_a_fleet_without_a_name_takes_nothing_away_by_itself(tmp_path: Path) -> None:
    """A fork knows the commits of the other repo as its own."""
    world = World(first(fleet=UNNAMED), tmp_path)
    passed(world)
    heal = Policy(DriftPolicy(orphaned=Response.HEAL))
    world.source.commit = world.source.commit.changed(artifacts=world.source.commit.artifacts[:1], policy=heal)
    work = diff(world)
    assert {action for action, _ in told(work).values()} == {"hold"}
    assert {p.code for c in work.plan.orphans for p in c.holds} == {"fleet-unnamed"}
    before = dict(world.registry.tags)
    passed(world)
    assert world.registry.tags == before


def test_a_pass_does_not_take_away_most_of_all_by_itself(world: World) -> None:
    policy(world, Response.HEAL)
    world.source.commit = world.source.commit.changed(artifacts=())
    work = diff(world)
    assert {action for action, _ in told(work).values()} == {"hold"}
    assert {p.code for c in work.plan.orphans for p in c.holds} == {"prune-most"}
    assert exits.of_plan(work.plan) == exits.HELD
    before = dict(world.registry.tags)
    passed(world)
    assert world.registry.tags == before


def test_they_are_named_on_the_screen(world: World) -> None:
    text = shown(plan_view.show, diff(world).plan)
    assert "? orphan shop/old" in text
    assert "1 artifact in sync, nothing to do, 2 orphaned" in text


@pytest.mark.parametrize(
    "option", [{"orphans": Orphans.IGNORED}, {"orphans": Orphans.HEALED}, {"selection": Selection(("shop/api",))}]
)
def test_who_does_not_look_asks_nothing(world: World, option: dict[str, Any]) -> None:
    world.points.seen.clear()
    assert told(diff(world, **option)) == {}
    assert {"repositories", "names"}.isdisjoint(world.points.seen)


def test_hold_says_so_and_stops_nothing_else(world: World) -> None:
    policy(world, Response.HOLD)
    work = diff(world)
    assert {action for action, _ in told(work).values()} == {"hold"}
    assert [p.code for c in work.plan.orphans for p in c.holds] == ["image-orphaned", "image-orphaned"]
    assert exits.of_plan(work.plan) == exits.HELD
    assert {str(r.artifact): r.status.value for r in passed(world).results} == {"shop/api": "none"}


def test_heal_takes_the_tags_away_and_nothing_else(world: World) -> None:
    policy(world, Response.HEAL)
    assert exits.of_plan(diff(world).plan) == exits.DRIFT
    before = dict(world.registry.manifests)
    outcome = passed(world)
    ends = {str(r.artifact): (r.action.value, r.status.value) for r in outcome.results}
    assert ends == {"shop/api": ("none", "none"), "shop/old": ("prune", "done"), "web/site": ("prune", "done")}
    left = {tag for _, tag in world.registry.tags if not tag.startswith("lian-")}
    assert left == {"latest"}
    gone = [manifest for key, manifest in before.items() if key not in world.registry.manifests]
    assert {manifest.document.get("artifactType") for manifest in gone} == {APPLIED_TYPE}
    assert told(diff(world)) == {}
    api = world.source.commit.artifacts[0].image
    document = asyncio.run(read_applied(world.registry, applied_at(api, FLEET)))
    assert document
    assert document.tags.keys() == {"latest"}
    assert (world.source.commit.artifacts[0].image.host, "shop/old") not in {
        (where.host, where.path) for where, tag in world.registry.tags if tag == APPLIED_TAG
    }
    again = passed(world)
    assert [str(r.artifact) for r in again.results] == ["shop/api"]


def test_a_revert_after_healing_builds_nothing(world: World) -> None:
    """The images are there still, under their content tags."""
    policy(world, Response.HEAL)
    passed(world)
    world.builder.built.clear()
    world.source.commit = world.source.commit.changed(artifacts=first().artifacts)
    assert {r.status.value for r in passed(world).results} <= {"done", "none"}
    assert world.builder.built == []


def test_kept_tags_stay_when_the_rest_is_healed(world: World) -> None:
    policy(world, Response.HEAL, keep_tags=("1.*", "site"))
    work = diff(world)
    assert (change(work, "shop/old").action, change(work, "shop/old").left) == (Action.PRUNE, ("1.0",))
    assert change(work, "web/site").action is Action.NONE
    passed(world)
    assert {tag for _, tag in world.registry.tags if not tag.startswith("lian-")} == {"latest", "1.0", "site"}


def test_what_another_branch_wants_is_no_orphan(world: World) -> None:
    other = first().changed(artifacts=first().artifacts[1:2])
    world.revisions.refs["refs/heads/stable"] = replace(other, revision="b" * 40)
    assert told(diff(world)) == {"web/site": BOTH["web/site"]}
    world.source.commit = replace(world.source.commit, policy=Policy(prune=PrunePolicy(revisions=("refs/heads/main",))))
    assert told(diff(world)) == BOTH, "that branch does not count"


def test_a_branch_that_cannot_be_read_leaves_it_open(world: World) -> None:
    policy(world, Response.HEAL)
    world.revisions.refs["refs/heads/odd"] = replace(
        first(), revision="c" * 40, problems=(replace(WRONG, line=3, artifact="shop/api"), replace(WRONG, line=5))
    )
    work = diff(world)
    assert told(work) == {}
    assert work.notes == (
        "what no commit wants any more is not known, since what refs/heads/odd (cccccccccccc) wants is not known "
        "completely: api/Dockerfile:3: unknown instruction: RUUN; 1 other problem of this kind: "
        "see `lian prune --dry-run`",
    )
    assert {str(r.artifact) for r in passed(world).results} == {"shop/api"}


@pytest.mark.parametrize("point", ["repositories", "names", "refs"])
def test_what_cannot_be_asked_leaves_it_open(world: World, point: str) -> None:
    world.points.faults[point] = problem("registry-down", "the registry does not answer")
    work = diff(world)
    assert told(work) == {}
    assert "the registry does not answer" in work.notes[0]


def test_a_registry_without_a_catalogue_is_looked_at_where_images_are_wanted(world: World) -> None:
    world.registry.unreadable.add("catalog")
    assert told(diff(world)) == {"web/site": BOTH["web/site"]}


def test_a_tag_that_someone_has_moved_is_theirs(world: World) -> None:
    old = world.source.commit.artifacts[0].image.__class__(world.source.commit.artifacts[0].image.host, "shop/old")
    api = world.source.commit.artifacts[0].image
    manifest = world.registry.manifests[api, world.registry.tags[api, "latest"]]
    world.registry.manifests[old, manifest.digest] = manifest
    world.registry.tags[old, "1.0"] = manifest.digest
    assert told(diff(world))["shop/old"] == ("none", ("latest",))


def test_what_a_newer_commit_has_put_there_is_no_orphan_of_an_older_one(world: World) -> None:
    """The pass of an older commit, that did not know the artifact yet, must not take it away."""
    older = world.source.commit
    policy(world, Response.HEAL)
    older = world.source.commit
    newer = older.changed(artifacts=(*older.artifacts, artifact("web/new")), files={"web/new/app": b"1"})
    world.source.commit = newer
    passed(world)
    world.source.commit = older
    world.source.descendants.add(newer.revision)
    assert "web/new" not in told(diff(world))


def test_a_commit_with_errors_says_nothing_of_orphans(world: World) -> None:
    """What is invalid may be what wants it."""
    world.source.commit = replace(world.source.commit, problems=(problem("directive-invalid").problems[0],))
    assert told(diff(world)) == {}


def test_an_orphan_under_an_index_is_found_too(tmp_path: Path) -> None:
    made = (artifact("shop/api"), replace(artifact("shop/wide"), platforms=(AMD64, ARM64)))
    commit = Commit(made, {f"{a.name}/Dockerfile": b"FROM scratch\n" for a in made})
    world = World(commit, tmp_path)
    passed(world)
    world.source.commit = commit.changed(artifacts=made[:1])
    assert told(diff(world)) == {"shop/wide": ("none", ("latest",))}


def test_when_most_has_vanished_nothing_is_healed(tmp_path: Path) -> None:
    names = [f"shop/a{n}" for n in range(4)]
    made = tuple(artifact(name) for name in (*names, "shop/old"))
    world = World(Commit(made, {f"{a.name}/Dockerfile": b"FROM scratch\n" for a in made}), tmp_path)
    passed(world)
    policy(world, Response.HEAL)
    world.source.commit = world.source.commit.changed(artifacts=made[:4])
    for where, tag in [key for key in world.registry.tags if key[0].path != "shop/old"]:
        del world.registry.tags[where, tag]
    work = diff(world)
    assert {c.action for c in work.plan.whole} == {Action.HOLD}
    assert {r.status.value for r in passed(world).results} == {"held"}


def test_what_is_left_to_strangers_is_told_of_commits_and_of_folders() -> None:
    assert left_to([]) == ()
    (commits,) = left_to(["a" * 40, "b" * 40])
    assert "such as aaaaaaaaaaaa and 1 more" in commits
    told = left_to(["", "a" * 40])
    assert ("such as aaaaaaaaaaaa, is" in told[0], "folders" in told[1]) == (True, True)
    assert left_to([""]) == told[1:]
