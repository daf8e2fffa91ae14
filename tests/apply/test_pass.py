"""Whole passes on fakes that fail, cut and hold on demand: order of pushing, healing, isolation, leases, limits."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.cli.views.outcome import show
from reconciler.model.applied import APPLIED_TYPE, applied_at
from reconciler.model.digest import Digest
from reconciler.model.event import Ended, Finished, Noted, Planned, Started
from reconciler.model.name import ArtifactName
from reconciler.model.outcome import Outcome, Status
from reconciler.model.plan import Action
from reconciler.model.policy import DriftPolicy, Policy, Response
from reconciler.model.problem import LianError
from reconciler.model.record import ARTIFACT_TYPE
from reconciler.observe.ask import read_applied, read_records
from reconciler.plan.select import Selection
from reconciler.reconcile import Options, plan_once, reconcile_once
from tests.commits import AMD64, APPLIED_TAG, ARM64, Commit, artifact, chain
from tests.fakes import World, problem

if TYPE_CHECKING:
    from pathlib import Path


def run(world: World, **options: Any) -> Outcome:
    """One pass. Afterwards nothing may be out, and nothing of it may still run."""

    async def one() -> Outcome:
        _, outcome = await reconcile_once(world.ports(), Options(**options))
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return outcome

    outcome = asyncio.run(one())
    assert not world.compute.out
    return outcome


def ends(outcome: Outcome) -> dict[str, tuple[str, str]]:
    return {str(r.artifact): (r.action.value, r.status.value) for r in outcome.results}


def settled(world: World) -> None:
    """The next pass has nothing to do, and does nothing."""
    built, journal = list(world.builder.built), list(world.registry.journal)
    assert set(ends(run(world)).values()) <= {("none", "none")}
    assert (world.builder.built, world.registry.journal) == (built, journal)


@pytest.fixture
def one(tmp_path: Path) -> World:
    return World(chain("shop/api"), tmp_path)


@pytest.fixture
def two(tmp_path: Path) -> World:
    return World(chain("shop/base", "shop/api"), tmp_path)


def both(*names: str, **more: Any) -> Commit:
    """Artifacts that do not know each other."""
    files = {f"{name}/Dockerfile": b"FROM scratch\n" for name in names} | {
        f"{name}/app": name.encode() for name in names
    }
    return Commit(tuple(artifact(name, **more) for name in names), files)


def test_pushing_has_an_order(one: World) -> None:
    one.source.commit = both("shop/api", tags=("1", "2"), checks=("test",))
    assert ends(run(one)) == {"shop/api": ("build", "done")}
    assert one.builder.checked == ["shop/api:test"]
    assert one.registry.journal == [
        "push by digest",
        "read back",
        "record",
        "content tag",
        "tag 1",
        "tag 2",
        "applied",
    ]
    settled(one)


def test_several_platforms_are_tagged_as_one_image(one: World) -> None:
    one.source.commit = both("shop/api", platforms=(AMD64, ARM64))
    run(one)
    assert one.builder.built == ["shop/api linux/amd64", "shop/api linux/arm64"]
    assert one.registry.journal[-3:] == ["content tag", "tag latest", "applied"]
    assert one.registry.journal.index("record") < one.registry.journal.index("content tag")
    settled(one)


FAULTS = {  # point -> builds of the next pass, for an image of one platform
    "rent": 1,
    "set up": 1,
    "export": 1,
    "export dockerfile": 1,
    "build shop/api": 1,
    "pushed": 1,
    "take in": 1,
    "usage": 1,
    "listing": 1,
    "publish record": 1,
    "publish manifest": 1,
    "content tag": 1,
    "tag": 0,
    "applied": 0,
    "published": 1,
}


@pytest.mark.parametrize("point", FAULTS)
@pytest.mark.parametrize("platforms", [(AMD64,), (AMD64, ARM64)], ids=["one", "two"])
def test_a_fault_at_any_step_is_healed_by_the_next_pass(one: World, point: str, platforms: Any) -> None:
    one.source.commit = both("shop/api", platforms=platforms)
    one.points.faults[point] = problem()
    assert ends(run(one)) == {"shop/api": ("build", "failed")}
    assert (one.tag(one.source.commit.artifacts[0].image, "latest") is None) == (point != "applied")
    one.points.faults.clear()
    one.builder.built.clear()
    run(one)
    assert len(one.builder.built) <= (FAULTS[point] if len(platforms) == 1 else 2)
    if point in {"tag", "applied"}:
        assert one.builder.built == []
    settled(one)


@pytest.mark.parametrize("error", [problem(), RuntimeError("a bug"), TimeoutError()])
def test_one_failure_does_not_stop_the_others(tmp_path: Path, error: Exception) -> None:
    world = World(both("shop/a", "shop/b", "web/c"), tmp_path)
    world.points.faults["build shop/a"] = error
    outcome = run(world)
    assert ends(outcome) == {"shop/a": ("build", "failed"), "shop/b": ("build", "done"), "web/c": ("build", "done")}
    told = outcome.results[0].problem
    assert told
    assert told.code == ("planted" if isinstance(error, LianError) else "internal-error")


def test_all_that_is_wrong_with_one_is_told_at_once(one: World) -> None:
    """Whoever mends the first would otherwise learn of the second from the next pass."""
    one.source.commit = one.source.commit.changed(
        {"shop/api/Dockerfile": b"FROM lost.example/a:1\nFROM lost.example/b:1\n"}
    )
    (result,) = run(one).results
    assert [p.message for p in result.problems] == [
        f"the base image lost.example/{name}:1 is not in its registry" for name in ("a", "b")
    ]
    out = io.StringIO()
    show(Outcome("0" * 40, (result,)), out, None)
    assert out.getvalue().count("held[base-missing]") == 2


def test_dependants_are_skipped_with_the_cause(tmp_path: Path) -> None:
    world = World(chain("shop/a", "shop/b", "web/c"), tmp_path)
    world.points.faults["build shop/a"] = problem()
    outcome = run(world)
    assert ends(outcome) == {
        "shop/a": ("build", "failed"),
        "shop/b": ("build", "skipped"),
        "web/c": ("build", "skipped"),
    }
    problems = [r.problem for r in outcome.results if r.problem]
    assert [p.code for p in problems] == ["planted", "parent-failed", "parent-failed"]
    assert ["shop/a" in problems[1].message, "shop/b" in problems[2].message] == [True, True]
    world.points.faults.clear()
    assert set(ends(run(world)).values()) == {("build", "done")}
    settled(world)


def test_a_parent_that_comes_out_identical_stops_the_cascade(two: World) -> None:
    run(two)
    two.builder.built.clear()
    two.source.commit = two.source.commit.changed({"shop/base/Dockerfile": b"# a comment\nFROM scratch\n"})
    outcome = run(two)
    assert ends(outcome) == {"shop/base": ("build", "done"), "shop/api": ("none", "none")}
    assert two.builder.built == ["shop/base linux/amd64"]
    settled(two)


def test_a_parent_that_comes_out_different_rebuilds_its_children(two: World) -> None:
    run(two)
    two.source.commit = two.source.commit.changed({"shop/base/app": b"new"})
    assert ends(run(two)) == {"shop/base": ("build", "done"), "shop/api": ("build", "done")}
    assert two.builder.requests[-1].contexts["base"].digest == two.tag(two.source.commit.artifacts[0].image, "latest")  # type: ignore[union-attr]
    settled(two)


def test_what_is_pinned_reaches_the_builder_checks_included(one: World) -> None:
    digest = "sha256:" + "a" * 64
    pins = {"https://files.example/x": "sha256:" + "b" * 64}
    one.source.commit = replace(both("shop/api", checks=("test",)), pins=pins, frontend=f"docker/dockerfile@{digest}")
    assert ends(run(one)) == {"shop/api": ("build", "done")}
    assert len(one.builder.requests) == 2
    for request in one.builder.requests:
        assert request.pinned == pins
        assert request.frontend is not None
        assert str(request.frontend.digest) == digest
    (lease,) = one.compute.rented
    assert {str(repository) for repository in lease.frontends} == {"docker.io/docker/dockerfile"}
    assert "docker.io" in lease.hosts


@pytest.mark.parametrize("point", ["announced", "tag", "applied", "published"])
@pytest.mark.parametrize("files", ["new", "old"])
def test_a_pass_cut_off_about_its_tags_leaves_none_that_looks_moved_by_others(
    one: World, point: str, files: str
) -> None:
    """Also the change after the next, whose tags the applied document has not seen (ADR 048)."""
    for content in ("old", "now"):
        one.source.commit = one.source.commit.changed({"shop/api/app": content.encode()})
        run(one)
    one.source.commit = one.source.commit.changed({"shop/api/app": files.encode()})
    one.points.faults[point] = problem()
    (cut,) = run(one).results
    assert cut.status is Status.FAILED
    one.points.faults.clear()
    before = one.source.commit
    one.source.commit = before.changed({"shop/api/app": b"next"})
    change = asyncio.run(plan_once(one.ports(), Options())).plan.changes[0]
    assert {reason.code.value for reason in change.reasons} == {"context-changed"}
    one.source.commit = before
    run(one)
    settled(one)


def test_a_child_is_built_on_a_parent_that_is_held_by_its_tag_alone(two: World) -> None:
    """What it stands on is there: that a tag of the parent must not move is the parent's matter."""
    base, api = two.source.commit.artifacts
    tagged = (replace(base, tags=("latest", "1.0")), api)
    two.source.commit = two.source.commit.changed({}, artifacts=tagged)
    run(two)
    two.source.commit = two.source.commit.changed({"shop/base/app": b"new"}, artifacts=(base, api))
    run(two)
    policy = Policy(immutable_tags=("1.*",))
    two.source.commit = two.source.commit.changed({"shop/api/app": b"new"}, artifacts=tagged, policy=policy)
    assert ends(run(two)) == {"shop/base": ("hold", "held"), "shop/api": ("build", "done")}


def test_one_platform_of_several_has_its_own_record_when_it_is_wanted_alone(one: World) -> None:
    one.source.commit = both("shop/api", platforms=(AMD64, ARM64))
    run(one)
    one.builder.built.clear()
    image = one.source.commit.artifacts[0].image
    one.source.commit = both("shop/api", platforms=(AMD64,)).changed({})
    assert ends(run(one)) == {"shop/api": ("retag", "done")}
    assert one.builder.built == []
    digest = one.tag(image, "latest")
    assert digest
    (record,) = asyncio.run(read_records(one.registry, image, digest))
    assert (record.digest, set(record.platforms), record.log is None) == (digest, {AMD64}, False)
    assert record.key == record.platforms[AMD64].key
    settled(one)


@pytest.mark.parametrize("layers", [slice(1, None), slice(1, 2)])
def test_what_of_a_record_is_gone_is_not_said_again(one: World, layers: slice) -> None:
    """Its listings and its log tell a person something; no image waits for them."""
    one.source.commit = both("shop/api", platforms=(AMD64, ARM64))
    run(one)
    image = one.source.commit.artifacts[0].image
    _lose(one, ARTIFACT_TYPE, layers)
    one.source.commit = both("shop/api", platforms=(AMD64,)).changed({})
    assert ends(run(one)) == {"shop/api": ("retag", "done")}
    digest = one.tag(image, "latest")
    assert digest
    (record,) = asyncio.run(read_records(one.registry, image, digest))
    gone = {name for name, told in (("listings", record.listings), ("log", record.log)) if not told}
    assert gone == ({"listings", "log"} if layers.stop is None else {"listings"})
    settled(one)


def test_nobody_has_to_delete_a_record_whose_content_is_gone(one: World) -> None:
    """It says nothing: whether the image is of these inputs is not known then, and it is built."""
    run(one)
    image = one.source.commit.artifacts[0].image
    _lose(one, ARTIFACT_TYPE, slice(0, None))
    for tag in [tag for where, tag in one.registry.tags if tag.startswith("lian-") and tag != APPLIED_TAG]:
        del one.registry.tags[image, tag]
    assert ends(run(one)) == {"shop/api": ("build", "done")}
    settled(one)


def test_a_document_whose_content_is_gone_is_written_anew(one: World) -> None:
    run(one)
    image = one.source.commit.artifacts[0].image
    _lose(one, APPLIED_TYPE, slice(0, None))
    one.source.commit = one.source.commit.changed({"shop/api/app": b"new"})
    assert ends(run(one)) == {"shop/api": ("build", "done")}
    written = asyncio.run(read_applied(one.registry, applied_at(image, one.source.commit.fleet)))
    assert written
    assert written.tags["latest"].digest == one.tag(image, "latest")
    settled(one)


def test_an_older_commit_is_held_though_the_document_is_gone(one: World) -> None:
    """The record of what is there tells that it is of a newer one."""
    old = one.source.commit
    run(one)
    one.source.commit = old.changed({"shop/api/app": b"new"})
    run(one)
    _lose(one, APPLIED_TYPE, slice(0, None))
    one.source.descendants.add(one.source.commit.revision)
    one.source.commit = old
    assert ends(run(one)) == {"shop/api": ("hold", "held")}


def _lose(world: World, kind: str, layers: slice) -> None:
    """These layers of all artifacts of this kind."""
    for (where, _), manifest in world.registry.manifests.items():
        if manifest.document.get("artifactType") == kind:
            for layer in manifest.document["layers"][layers]:
                world.registry.blobs.pop((where, Digest.parse(layer["digest"])), None)


def test_what_another_fleet_said_of_the_whole_is_not_said_again_of_a_part(one: World) -> None:
    one.source.commit = replace(both("shop/api", platforms=(AMD64, ARM64)), fleet="umbrella")
    run(one)
    image = one.source.commit.artifacts[0].image
    policy = Policy(drift=DriftPolicy(foreign=Response.HEAL))
    one.source.commit = both("shop/api", platforms=(AMD64,)).changed({}, policy=policy)
    assert ends(run(one)) == {"shop/api": ("retag", "done")}
    digest = one.tag(image, "latest")
    assert digest
    assert asyncio.run(read_records(one.registry, image, digest)) == ()


@pytest.mark.parametrize("lost", ["config", "unknown"])
def test_what_cannot_be_copied_whole_is_built(one: World, lost: str) -> None:
    files = {f"shop/{name}/{file}": b"FROM scratch\n" for name in "ab" for file in ("Dockerfile", "app")}
    first, second = artifact("shop/a"), artifact("shop/b")
    policy = Policy(drift=DriftPolicy(broken=Response.REPORT))
    one.source.commit = Commit((first,), files, policy=policy)
    run(one)
    if lost == "config":
        one.registry.blobs = {k: v for k, v in one.registry.blobs.items() if b'"lines":' not in v}
    else:
        one.registry.unreadable.add("parts")
    one.source.commit = one.source.commit.changed({}, artifacts=(first, second))
    assert ends(run(one)) == {"shop/a": ("none", "none"), "shop/b": ("build", "done")}


def test_an_image_that_cannot_be_looked_at_whole_is_told_where_broken_ones_only_are(one: World) -> None:
    run(one)
    one.registry.unreadable.add("parts")
    assert ends(run(one)) == {"shop/api": ("hold", "held")}
    policy = Policy(drift=DriftPolicy(broken=Response.REPORT))
    one.source.commit = one.source.commit.changed({}, policy=policy)
    assert ends(run(one)) == {"shop/api": ("none", "none")}
    (said,) = [event.text for event in one.recorder.events if isinstance(event, Noted)]
    assert said.startswith("whether all of registry.example:5000/shop/api@")


def test_a_revert_moves_tags_and_builds_nothing(two: World) -> None:
    first = two.source.commit
    run(two)
    two.source.commit = first.changed({"shop/base/app": b"new"})
    run(two)
    two.builder.built.clear()
    rented = len(two.compute.rented)
    two.source.commit = two.source.commit.changed(first.files)
    assert ends(run(two)) == {"shop/base": ("retag", "done"), "shop/api": ("retag", "done")}
    assert (two.builder.built, len(two.compute.rented)) == ([], rented)
    settled(two)


@pytest.mark.parametrize("platforms", [(AMD64,), (AMD64, ARM64)], ids=["one", "two"])
def test_lost_content_tags_are_put_back_without_a_build(two: World, platforms: Any) -> None:
    two.source.commit = replace(
        two.source.commit, artifacts=tuple(replace(a, platforms=platforms) for a in two.source.commit.artifacts)
    )
    run(two)
    two.builder.built.clear()
    for where, tag in [key for key in two.registry.tags if key[1].startswith("lian-") and key[1] != APPLIED_TAG]:
        del two.registry.tags[where, tag]
    run(two)
    assert two.builder.built == []
    settled(two)


def test_a_lost_tag_of_one_platform_is_put_back_without_a_build(two: World) -> None:
    two.source.commit = replace(
        two.source.commit, artifacts=tuple(replace(a, platforms=(AMD64, ARM64)) for a in two.source.commit.artifacts)
    )
    run(two)
    two.builder.built.clear()
    base = two.source.commit.artifacts[0].image
    whole = two.tag(base, "latest")
    lost = next(k for k, d in two.registry.tags.items() if k[0] == base and len(k[1]) == 45 and d != whole)
    del two.registry.tags[lost]
    assert ends(run(two)) == {"shop/base": ("retag", "done"), "shop/api": ("none", "none")}
    assert two.builder.built == []
    settled(two)


def test_failing_checks_block_every_tag(one: World) -> None:
    one.source.commit = both("shop/api", checks=("test",)).changed(
        {"shop/api/Dockerfile": b"FROM scratch\nRUN fail test\n"}
    )
    assert ends(run(one)) == {"shop/api": ("build", "failed")}
    assert (one.registry.tags, one.registry.manifests) == ({}, {})


def test_at_most_so_many_builds_at_a_time(tmp_path: Path) -> None:
    names = [f"shop/a{n}" for n in range(7)]
    for jobs in (1, 3):
        folder = tmp_path / str(jobs)
        folder.mkdir()
        world = World(both(*names), folder)
        run(world, jobs=jobs)
        assert world.builder.most == jobs
        assert world.compute.rented[0].parallelism == jobs


@pytest.mark.parametrize(
    ("asked", "fleet", "most"), [(None, None, 2), (None, 3, 3), (1, 3, 1)], ids=["cores", "the fleet's", "a person's"]
)
def test_who_says_how_many_builds_run_at_a_time(
    tmp_path: Path, asked: int | None, fleet: int | None, most: int
) -> None:
    world = World(replace(both(*(f"shop/a{n}" for n in range(7))), jobs=fleet), tmp_path)
    run(world, jobs=asked, cores=2)
    assert world.builder.most == most


def test_a_workspace_has_one_runner_and_gives_it_back_with_its_last_build(tmp_path: Path) -> None:
    world = World(both("shop/a", "shop/b", "web/c"), tmp_path)

    async def go() -> None:
        world.points.holds["build web/c"] = gate = asyncio.Event()
        world.points.arrivals["returned"] = returned = asyncio.Event()
        task = asyncio.create_task(reconcile_once(world.ports(), Options(jobs=3)))
        async with asyncio.timeout(20):
            await returned.wait()
        assert sorted(world.builder.built) == ["shop/a linux/amd64", "shop/b linux/amd64"]
        assert len(world.compute.out) == 1
        gate.set()
        await task

    asyncio.run(go())
    assert len(world.compute.rented) == len(world.compute.returned) == 2
    assert len({request.lease for request in world.compute.rented}) == 2


def test_a_failing_set_up_fails_the_workspace_alone(tmp_path: Path) -> None:
    world = World(both("shop/a", "shop/b"), tmp_path)
    world.points.faults["set up"] = problem("no-runner")
    outcome = run(world)
    assert [r.problem.code for r in outcome.results if r.problem] == ["no-runner", "no-runner"]
    assert len(world.compute.returned) == 1


def test_a_runner_that_cannot_be_returned_is_told_and_stops_nobody(tmp_path: Path) -> None:
    world = World(both("shop/a", "web/b"), tmp_path)
    world.points.faults["return"] = problem("lease-stuck")
    outcome = run(world, jobs=1)
    assert [p.code for p in outcome.problems] == ["lease-stuck"] * 2, "of each"
    assert ends(outcome) == {"shop/a": ("build", "done"), "web/b": ("build", "done")}
    assert world.recorder.of(Ended) == [Ended(outcome)]
    assert sorted(world.builder.built) == ["shop/a linux/amd64", "web/b linux/amd64"]
    assert not world.compute.out
    world.points.faults.clear()
    settled(world)


@pytest.mark.parametrize("again", [False, True], ids=["once", "twice"])
def test_a_pass_cancelled_anywhere_leaves_nothing_and_is_healed(tmp_path: Path, again: bool) -> None:
    commit = chain("shop/base", "shop/api")
    web = replace(artifact("web/site"), checks=("test",), platforms=(AMD64, ARM64))
    commit = commit.changed({"web/site/app": b"site"}, artifacts=(*commit.artifacts, web))
    reached = 0
    while True:
        folder = tmp_path / f"{reached}"
        folder.mkdir()
        world = World(commit, folder)
        world.points.cancel_at = reached
        if not asyncio.run(_cancelled(world, again=again)):
            break
        assert not world.compute.out
        assert [p.name for p in folder.iterdir()] == ["logs"]
        world.points.victim = None
        assert Status.FAILED not in {r.status for r in run(world).results}
        settled(world)
        reached += 1
    assert reached > 60


async def _cancelled(world: World, *, again: bool) -> bool:
    """Run a pass that is cancelled at a point; false if it came to its end before."""
    task: asyncio.Task[Any] = asyncio.create_task(reconcile_once(world.ports(), Options(jobs=2)))
    world.points.victim = task
    while not task.done():
        await asyncio.sleep(0)
        if again and len(world.points.seen) > (world.points.cancel_at or 0):
            task.cancel()
    assert asyncio.all_tasks() == {asyncio.current_task()}, "something of the pass still runs"
    if not task.cancelled():
        assert not task.exception()
        assert len(world.points.seen) <= (world.points.cancel_at or 0) + 1
    return task.cancelled()


def test_two_passes_at_the_same_commit_do_not_fight(two: World) -> None:
    async def go() -> list[Outcome]:
        first = asyncio.create_task(reconcile_once(two.ports(), Options(jobs=2)))
        second = asyncio.create_task(reconcile_once(two.ports(), Options(jobs=2)))
        return [(await first)[1], (await second)[1]]

    one, other = asyncio.run(go())
    assert {r.status for o in (one, other) for r in o.results} <= {Status.DONE, Status.NONE}
    assert [r.digest for r in one.results] == [r.digest for r in other.results]
    settled(two)


def test_every_pass_is_told_in_order(two: World) -> None:
    outcome = run(two)
    events = two.recorder.events
    assert isinstance(events[0], Planned)
    assert isinstance(events[-1], Ended)
    assert two.recorder.of(Ended) == [Ended(outcome)]
    for name in ("shop/base", "shop/api"):
        parsed = ArtifactName.parse(name)
        started = next(i for i, e in enumerate(events) if isinstance(e, Started) and e.artifact == parsed)
        finished = next(i for i, e in enumerate(events) if isinstance(e, Finished) and e.result.artifact == parsed)
        assert started < finished
    assert [str(e.result.artifact) for e in two.recorder.of(Finished) if isinstance(e, Finished)] == [
        "shop/base",
        "shop/api",
    ]


def test_what_is_held_is_reported_and_stops_nobody(tmp_path: Path) -> None:
    hold = problem("dockerfile-missing").problems[0]
    world = World(replace(both("shop/a", "shop/b"), holds={"shop/a": hold}), tmp_path)
    outcome = run(world)
    assert ends(outcome) == {"shop/a": ("hold", "held"), "shop/b": ("build", "done")}
    assert outcome.results[0].problem == hold.of("shop/a")


def test_a_selection_builds_what_it_stands_on_and_nothing_else(tmp_path: Path) -> None:
    commit = chain("shop/base", "shop/api")
    world = World(commit.changed(artifacts=(*commit.artifacts, artifact("web/site"))), tmp_path)
    assert set(ends(run(world, selection=Selection(("shop/api",))))) == {"shop/base", "shop/api"}


def test_the_first_sweep_is_told(one: World) -> None:
    one.compute.left = ["old-lease"]
    run(one)
    assert "swept what 1 interrupted" in getattr(one.recorder.events[0], "text", "")


def test_the_request_is_what_was_keyed(two: World) -> None:
    two.source.commit = two.source.commit.changed(
        artifacts=(
            two.source.commit.artifacts[0],
            replace(
                two.source.commit.artifacts[1], args={"V": "1"}, labels={"l": "x"}, target="t", source_date_epoch=7
            ),
        )
    )
    run(two)
    request = two.builder.requests[-1]
    assert (dict(request.args), dict(request.labels), request.target) == ({"V": "1"}, {"l": "x"}, "t")
    assert (request.source_date_epoch, request.deadline) == (7, 30 * 60.0)
    assert not request.context.exists()  # went with the runner


def test_a_time_limit_caps_every_build(one: World) -> None:
    run(one, build_timeout=5.0)
    assert one.builder.requests[0].deadline == 5.0


def test_equal_folders_are_sent_once_for_each_runner(tmp_path: Path) -> None:
    commit = both("shop/a", "shop/b", "shop/c")
    world = World(commit.changed({f"shop/{n}/app": b"same" for n in "abc"}), tmp_path)
    run(world, jobs=1)
    assert world.points.seen.count("export") == 1


def test_dockerfiles_whose_paths_look_alike_are_kept_apart(tmp_path: Path) -> None:
    files = {"x/a/Dockerfile": b"FROM scratch\n", "x/a-Dockerfile": b"FROM scratch\n"}
    artifacts = tuple(
        replace(artifact(name), dockerfile=path, context=artifact("x/y").context.__class__("x"))
        for name, path in (("shop/a", "a/Dockerfile"), ("shop/b", "a-Dockerfile"))
    )
    outcome = run(World(Commit(artifacts, files), tmp_path))
    assert set(ends(outcome).values()) == {("build", "done")}
    assert Action.BUILD in {r.action for r in outcome.results}


@pytest.mark.parametrize("point", ["export", "exported", "export dockerfile"])
def test_nothing_is_sent_any_more_when_the_runner_goes(one: World, point: str) -> None:
    async def go() -> None:
        one.points.holds[point] = asyncio.Event()
        one.points.arrivals[point] = asyncio.Event()
        task = asyncio.create_task(reconcile_once(one.ports(), Options()))
        async with asyncio.timeout(20):
            await one.points.arrivals[point].wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(go())
    assert not one.compute.out


@pytest.mark.parametrize("terse", [False, True])
def test_platforms_that_are_there_already_are_not_built_again(one: World, terse: bool) -> None:
    """Also where the registry tells digests alone: an index names each platform with its true type and size."""
    one.registry.terse = terse
    one.source.commit = both("shop/api", platforms=(AMD64, ARM64), checks=("test",))
    image = one.source.commit.artifacts[0].image
    run(one)
    whole = one.tag(image, "latest")
    for key in [key for key, digest in one.registry.tags.items() if digest == whole]:
        del one.registry.tags[key]
    one.builder.built.clear()
    one.builder.checked.clear()
    assert ends(run(one)) == {"shop/api": ("build", "done")}
    assert (one.builder.built, one.builder.checked) == ([], ["shop/api:test", "shop/api:test"])
    assert one.tag(image, "latest") == whole
    settled(one)
