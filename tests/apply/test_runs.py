"""What builds needed: measured, kept in their records, handed on to the next, and what sizes are made of it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.apply.hosts import share_of
from reconciler.identity.resolve import Resolution
from reconciler.model.fleet import ComputeProvider
from reconciler.model.name import ArtifactName
from reconciler.model.observed import Observed
from reconciler.model.outcome import Status
from reconciler.model.plan import Action
from reconciler.model.record import BuildRecord
from reconciler.model.run import RUNS_KEPT
from reconciler.observe import evidence as reading
from reconciler.observe.ask import read_records
from reconciler.observe.evidence import evidence
from reconciler.plan.select import Selection, narrowed
from reconciler.ports.compute import Usage
from reconciler.reconcile import Options, reconcile_once
from reconciler.sizing.evidence import Evidence
from tests.commits import AMD64, ARM64, Commit, artifact, chain
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.artifact import Artifact
    from reconciler.model.outcome import Outcome

GIB = 1 << 30


def world(folder: Path, *artifacts: Artifact) -> World:
    made = artifacts or (artifact("shop/api"),)
    files = {f"{a.name}/{file}": data for a in made for file, data in (("Dockerfile", b"FROM scratch\n"), ("a", b"1"))}
    return World(Commit(tuple(made), files), folder)


def run(one: World, jobs: int = 2, **more: object) -> Outcome:
    _, outcome = asyncio.run(reconcile_once(one.ports(), Options(jobs=jobs, **more)))  # type: ignore[arg-type]
    assert all(result.problem is None for result in outcome.results), outcome
    return outcome


def again(one: World, number: int, *names: str, **more: object) -> None:
    """The next pass, after a file of these artifacts has changed; a minute later."""
    one.clock.now += 60
    changed = {f"{name}/a": str(number).encode() for name in names or ("shop/api",)}
    one.source.commit = one.source.commit.changed(changed)
    run(one, **more)  # type: ignore[arg-type]


def record_of(one: World, name: str = "shop/api") -> BuildRecord:
    of = next(a for a in one.source.commit.artifacts if str(a.name) == name)
    digest = one.tag(of.image, of.tags[0])
    assert digest is not None
    return asyncio.run(read_records(one.registry, of.image, digest))[0]


def evidence_of(one: World, name: str, only: bool = False) -> Evidence:
    """As a pass finds it that has observed nothing yet; `only` is one narrowed to the artifact."""
    desired, wanted = one.source.commit.desired, ArtifactName.parse(name)
    desired = narrowed(desired, frozenset({wanted})) if only else desired
    return asyncio.run(evidence(one.registry, desired, Observed(), [wanted]))[wanted]


def test_a_build_tells_what_it_needed(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.compute.one_build = Usage(3 * GIB, 12.5)
    run(shop)
    (one,) = record_of(shop).runs
    assert (one.peak_memory, one.cpu_seconds, one.alone) == (3 * GIB, 12.5, True)
    assert (one.hits, one.steps, one.sent) == (0, 1, len(b"FROM scratch\n") + 1)
    assert (one.tier.name, one.tier.memory_gb) == ("small", 4)
    assert one.started == "2001-09-09T01:46:40.000000Z"
    assert one.seconds > 0


def test_each_record_takes_over_the_runs_before_it(tmp_path: Path) -> None:
    shop = world(tmp_path)
    run(shop)
    for number in range(RUNS_KEPT + 4):
        again(shop, number)
    runs = record_of(shop).runs
    assert len(runs) == RUNS_KEPT
    starts = [one.started for one in runs]
    assert starts == sorted(starts, reverse=True) and len(set(starts)) == RUNS_KEPT


def test_the_next_build_is_sized_by_them(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.compute.one_build = Usage(5 * GIB, 0.0)
    run(shop)
    again(shop, 2)
    assert [request.tier.name for request in shop.builder.requests] == ["small", "medium"], "5 × 1.2 is more than 4"
    shop.compute.one_build = Usage(7 * GIB, 0.0)
    again(shop, 3)
    again(shop, 4)
    assert shop.builder.requests[-1].tier.name == "large", "7 × 1.2 is more than 8"


def test_what_is_not_measured_is_not_taken_for_nothing(tmp_path: Path) -> None:
    shop = world(tmp_path, artifact("shop/api", language="rust"))
    shop.compute.one_build = Usage(None, None)
    run(shop)
    (one,) = record_of(shop).runs
    assert (one.cpu_seconds, one.peak_memory) == (None, None)
    again(shop, 2)
    assert shop.builder.requests[-1].tier.name == "medium", "the language's default still stands"


def test_builds_beside_each_other_are_not_alone(tmp_path: Path) -> None:
    shop = world(tmp_path, artifact("shop/api"), artifact("shop/web"))
    held = shop.builder.points.holds["build shop/api"] = asyncio.Event()
    shop.builder.points.arrivals["build shop/web"] = held
    run(shop)
    assert [record_of(shop, name).runs[0].alone for name in ("shop/api", "shop/web")] == [False, False]


def test_a_peak_that_was_there_before_is_no_builds_own(tmp_path: Path) -> None:
    """One after another on the same runner, each needing the same: of the second nobody knows how much."""
    shop = world(tmp_path, artifact("shop/api"), artifact("shop/web"))
    run(shop, jobs=1)
    first, second = (record_of(shop, name).runs[0] for name in ("shop/api", "shop/web"))
    assert (first.peak_memory, second.peak_memory) == (1 << 20, None)
    assert first.alone and second.alone
    assert second.cpu_seconds == 0.05, "processor time adds up, so each has its own"


def test_what_another_build_has_sent_is_not_sent_again(tmp_path: Path) -> None:
    both = [artifact(f"shop/{name}", context=artifact("shop/api").context) for name in ("api", "web")]
    shop = world(tmp_path, *both)
    run(shop, jobs=1)
    assert [record_of(shop, name).runs[0].sent for name in ("shop/api", "shop/web")] == [14, 0]


def test_both_platforms_are_one_run(tmp_path: Path) -> None:
    shop = world(tmp_path, artifact("shop/api", platforms=(AMD64, ARM64)))
    run(shop)
    (one,) = record_of(shop).runs
    assert one.steps == 2
    again(shop, 2)
    assert len(record_of(shop).runs) == 2


def test_a_release_under_a_new_tag_knows_the_runs_of_the_last(tmp_path: Path) -> None:
    shop = world(tmp_path, artifact("shop/api", tags=("1.0",)))
    run(shop)
    shop.source.commit = shop.source.commit.changed(artifacts=(artifact("shop/api", tags=("1.1",)),))
    again(shop, 2)
    assert len(record_of(shop).runs) == 2
    assert len(evidence_of(shop, "shop/api").runs) == 2


def test_an_image_that_is_built_again_because_it_is_broken_keeps_its_runs(tmp_path: Path) -> None:
    shop = world(tmp_path)
    run(shop)
    image = shop.source.commit.artifacts[0].image
    digest = shop.tag(image, "latest")
    assert digest is not None
    config = shop.registry.manifests[image, digest].document["config"]["digest"]
    lost = next(key for key in shop.registry.blobs if key[0] == image and str(key[1]) == config)
    del shop.registry.blobs[lost]
    shop.clock.now += 60
    run(shop)
    assert len(record_of(shop).runs) == 2


def test_an_old_record_without_runs_begins_anew(tmp_path: Path) -> None:
    """A registry that an earlier release wrote."""
    shop = world(tmp_path)
    run(shop)
    old = {key: value for key, value in record_of(shop).to_json().items() if key not in {"runs", "tries"}}
    assert BuildRecord.from_json(old).runs == ()


# -- whose runs count


def test_a_new_artifact_is_sized_by_the_workspaces_others_in_its_language(tmp_path: Path) -> None:
    there = (artifact("shop/api", language="go"), artifact("shop/ui"), artifact("shop/web", language="go"))
    shop = world(tmp_path, *there)
    shop.compute.one_build = Usage(6 * GIB, 0.0)
    run(shop, jobs=1, selection=Selection(("shop/api", "shop/web")))
    new = artifact("shop/new", language="go")
    other = artifact("team/new", language="go")
    shop.source.commit = shop.source.commit.changed(artifacts=(*there, new, other))
    found = evidence_of(shop, "shop/new")
    assert found.artifacts == ("shop/api", "shop/web")
    assert found.memory is not None and found.memory.used == 6
    assert evidence_of(shop, "shop/new", only=True) == found, "a narrowed pass sizes as a whole one does"
    assert evidence_of(shop, "team/new") == Evidence(), "another workspace's are not asked"
    assert evidence_of(shop, "shop/ui") == Evidence(), "nor another language's"
    run(shop, selection=Selection(("shop/new",)))
    assert shop.builder.requests[-1].tier.name == "medium"


def test_own_runs_come_first(tmp_path: Path) -> None:
    shop = world(tmp_path, artifact("shop/api"), artifact("shop/web"))
    shop.compute.one_build = Usage(12 * GIB, 0.0)
    run(shop, selection=Selection(("shop/web",)))
    shop.compute.one_build = Usage(GIB, 0.0)
    run(shop, selection=Selection(("shop/api",)))
    assert evidence_of(shop, "shop/api").artifacts == ("shop/api",)


def test_records_of_another_fleet_and_of_another_artifact_do_not_count(tmp_path: Path) -> None:
    shop = world(tmp_path)
    run(shop)
    assert len(evidence_of(shop, "shop/api").runs) == 1
    shop.source.commit = replace(shop.source.commit, fleet="other")
    assert evidence_of(shop, "shop/api") == Evidence()
    shop.source.commit = replace(shop.source.commit, fleet="acme", artifacts=(artifact("shop/x", image="shop/api"),))
    assert evidence_of(shop, "shop/x") == Evidence()


def test_what_a_sessions_image_needed_does_not_count(tmp_path: Path) -> None:
    """Such images lie in repositories of their own, and only the artifact's is read."""
    shop = world(tmp_path, artifact("shop/api", image="dev/ada-shop/api"))
    shop.compute.one_build = Usage(12 * GIB, 0.0)
    run(shop)
    assert len(record_of(shop).runs) == 1
    shop.source.commit = shop.source.commit.changed(artifacts=(artifact("shop/api"),))
    assert evidence_of(shop, "shop/api") == Evidence()


def test_what_cannot_be_read_tells_nothing_and_stops_nothing(tmp_path: Path) -> None:
    shop = world(tmp_path)
    run(shop)
    shop.registry.unreadable = {"latest"}
    assert evidence_of(shop, "shop/api") == Evidence()


def test_of_many_others_a_few_are_read(tmp_path: Path) -> None:
    names = [f"shop/n{number:02}" for number in range(40)]
    shop = world(tmp_path, *map(artifact, names))
    run(shop, jobs=4)
    shop.source.commit = shop.source.commit.changed(artifacts=(*map(artifact, names), artifact("shop/zz")))
    shop.points.seen.clear()
    found = evidence_of(shop, "shop/zz")
    assert len(found.artifacts) == reading.OTHERS_READ
    assert shop.points.seen.count("referrers") == reading.OTHERS_READ


def test_where_machines_have_sizes_builds_of_one_size_share_one() -> None:
    desired = Commit((artifact("shop/api"), artifact("shop/web"))).desired
    api, web = (ArtifactName.parse(f"shop/{name}") for name in ("api", "web"))
    assert share_of(api, Resolution(desired, 0.0)) == share_of(web, Resolution(desired, 0.0))
    assert share_of(api, Resolution(desired, 0.0), "cx22") == share_of(web, Resolution(desired, 0.0), "cx22")
    assert share_of(api, Resolution(desired, 0.0), "cx22") != share_of(web, Resolution(desired, 0.0), "cx32")
    assert {p for p in ComputeProvider if p.rents_sizes} == {"Hcloud", "Proxmox", "Orchestrator"}


def test_a_pass_that_builds_nothing_asks_for_no_sizes(tmp_path: Path) -> None:
    world = World(chain("shop/api"), tmp_path)
    asyncio.run(reconcile_once(world.ports(), Options()))
    assert "sizes" in world.points.seen
    world.points.seen.clear()
    renamed = replace(world.source.commit.artifacts[0], tags=("latest", "2.0"))
    world.source.commit = world.source.commit.changed(artifacts=(renamed,))
    _, outcome = asyncio.run(reconcile_once(world.ports(), Options()))
    assert [(result.action, result.status) for result in outcome.results] == [(Action.RETAG, Status.DONE)]
    assert "sizes" not in world.points.seen
