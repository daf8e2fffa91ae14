"""`lian registry status`: what is there is counted once and told right, and what cannot be read is told as that."""

from __future__ import annotations

import asyncio
import io
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.audit.holdings import Holding, Owner, RegistryStatus, Shelf, TagKind
from reconciler.audit.status import Options, status
from reconciler.cli import exits
from reconciler.cli.views import status as view
from reconciler.cli.views.text import as_json, size
from reconciler.model.digest import Digest
from reconciler.model.fleet import RegistryProvider
from reconciler.model.manifest import IMAGE_INDEX, Descriptor, index
from reconciler.model.plan import Action
from reconciler.model.problem import LianError, Problem
from reconciler.model.reference import Repository
from reconciler.ports.abilities import Able
from tests import strategies as some
from tests.audit.shop import API, BASE, SITE, built, move, shop_commit, shop_world, surveying
from tests.cli.test_documents import checked
from tests.cli.test_views import steers
from tests.commits import AMD64, APPLIED_TAG, ARM64, HOST
from tests.fakes import World, image

if TYPE_CHECKING:
    from pathlib import Path

DOWN = LianError(Problem("registry-unreachable", "the registry cannot be reached"))


def told(world: World, *only: str, able: Able | None = None) -> RegistryStatus:
    return asyncio.run(status(surveying(world, able), Options(only)))


def shelf_of(found: RegistryStatus) -> Shelf:
    (shelf,) = found.shelves
    return shelf


def holding(found: RegistryStatus, repository: Repository) -> Holding:
    return next(h for h in shelf_of(found).holdings if h.repository == repository)


@pytest.fixture
def shop(tmp_path: Path) -> World:
    return shop_world(tmp_path)


def test_what_a_pass_left_is_all_ours(shop: World) -> None:
    found = told(shop)
    shelf = shelf_of(found)
    assert (shelf.host, shelf.provider, shelf.catalog) == (HOST, RegistryProvider.DISTRIBUTION, True)
    assert shelf.able == Able(referrers=True)
    assert [h.repository for h in shelf.holdings] == [API, BASE, SITE]
    api = holding(found, API)
    assert dict(api.tags) == {TagKind.WANTED: 2, TagKind.CONTENT: 1, TagKind.DOCUMENT: 1}
    assert dict(api.images) == {Owner.OURS: 1}
    assert api.newest == api.oldest
    assert found.summary == {"in-sync": 3, "drift": 0, "held": 0}
    assert exits.of_status(found) == 0


def test_bytes_are_counted_once(shop: World) -> None:
    """An image in two repositories, and one under many tags, take what they take once for the registry."""
    before = told(shop)
    whole = shop.tag(SITE, "latest")
    assert whole is not None
    asyncio.run(shop.registry.copy(SITE, BASE, whole))
    shop.registry.tags[BASE, "copy"] = shop.registry.tags[BASE, "copy-2"] = whole
    after = told(shop)
    assert shelf_of(after).size == shelf_of(before).size
    base, site = holding(after, BASE), holding(before, SITE)
    assert base.size == (holding(before, BASE).size or 0) + (site.size or 0)
    manifest = shop.registry.manifests[SITE, whole]
    assert site.size == len(manifest.data) + manifest.document["config"]["size"]


def test_tags_are_told_apart(shop: World) -> None:
    commit = shop.source.commit
    base, api, _ = commit.artifacts
    shop.source.commit = commit.changed(artifacts=(base, replace(api, tags=("1.5", "stable"))))
    built(shop)
    shop.registry.tags[API, "by-hand"] = shop.registry.tags[API, "1.5"]
    found = told(shop)
    assert dict(holding(found, API).tags) == {
        TagKind.WANTED: 2,
        TagKind.SUPERSEDED: 1,
        TagKind.CONTENT: 1,
        TagKind.DOCUMENT: 1,
        TagKind.OTHER: 1,
    }
    assert dict(holding(found, SITE).tags)[TagKind.ORPHANED] == 1
    assert holding(found, SITE).changes == ()


def test_images_of_others_are_foreign(shop: World) -> None:
    move(shop, SITE, "theirs")
    assert dict(holding(told(shop), SITE).images) == {Owner.OURS: 1, Owner.FOREIGN: 1}


def test_of_several_platforms_one_image_is_counted(tmp_path: Path) -> None:
    commit = shop_commit()
    site = replace(commit.artifacts[-1], platforms=(AMD64, ARM64))
    world = built(World(replace(commit, artifacts=(site,)), tmp_path))
    here = holding(told(world), SITE)
    assert dict(here.images) == {Owner.OURS: 1}
    assert here.tags[TagKind.CONTENT] == 3
    whole = world.tag(SITE, "latest")
    for tag in [tag for (where, tag), d in world.registry.tags.items() if (where, d) == (SITE, whole)]:
        del world.registry.tags[SITE, tag]
    left = holding(told(world), SITE)
    assert dict(left.images) == {Owner.FOREIGN: 2}, "nothing says any more whose these are"


def test_an_index_that_contains_itself_in_turn_ends(shop: World) -> None:
    """Content by digest cannot; a registry that answers anything can."""
    stray, named = Repository(HOST, "stray"), Digest.of(b"an index")
    top = index({AMD64: Descriptor(IMAGE_INDEX, named, 10)})
    shop.registry.manifests |= {(stray, named): top, (stray, top.digest): top}
    shop.registry.tags[stray, "loop"] = top.digest
    assert holding(told(shop), stray).size == 2 * len(top.data)


def test_only_the_chosen_are_looked_at_and_others_tags_are_still_wanted(shop: World) -> None:
    commit = shop.source.commit
    twin = replace(commit.artifacts[-1], name=commit.artifacts[-1].name._replace(artifact="twin"), tags=("twin",))
    shop.source.commit = commit.changed(artifacts=(*commit.artifacts, twin))
    built(shop)
    found = told(shop, "web/site")
    assert [h.repository for h in shelf_of(found).holdings] == [SITE]
    assert holding(found, SITE).tags[TagKind.WANTED] == 2
    assert [str(c.artifact) for c in holding(found, SITE).changes] == ["web/site"]
    with pytest.raises(LianError) as error:
        told(shop, "web/sight")
    assert error.value.problems[-1].hint == "did you mean web/site?"


def test_a_registry_that_lists_nothing_is_asked_for_what_is_wanted(shop: World) -> None:
    shop.registry.tags[Repository(HOST, "elsewhere"), "x"] = Digest.of(b"")
    shop.registry.unreadable.add("catalog")
    found = told(shop)
    assert shelf_of(found).catalog is False
    assert len(shelf_of(found).holdings) == 3
    assert exits.of_status(found) == 0


def test_drift_is_told_and_is_no_failure(shop: World) -> None:
    shop.source.commit = shop.source.commit.changed({"web/site/index": b"changed"})
    move(shop, API, "1.4")
    found = told(shop)
    assert found.summary == {"in-sync": 1, "drift": 1, "held": 1}
    assert exits.of_status(found) == 0
    text = shown(found)
    assert "web/site to build: context changed: web/site/index" in text
    assert "shop/api tag 1.4 points at" in text


def test_one_repository_that_cannot_be_listed_costs_itself(shop: World) -> None:
    shop.registry.unreadable.add("stable")
    found = told(shop)
    api = holding(found, API)
    assert (api.read, api.size, api.to_json()["tags"]) == (False, None, None)
    assert holding(found, SITE).read
    assert shelf_of(found).size is None
    assert exits.of_status(found) == 4
    assert shown(found).count("unknown[registry-down]") == 1


def test_images_whose_records_cannot_be_read_are_nobodys(shop: World) -> None:
    shop.registry.unreadable.add("records")
    api = holding(told(shop), API)
    assert dict(api.images) == {Owner.UNKNOWN: 1}
    assert api.to_json()["tags"]["wanted"] == 2
    assert exits.of_status(told(shop)) == 4


def test_an_applied_document_that_cannot_be_read_is_told(shop: World) -> None:
    shop.registry.tags[API, APPLIED_TAG] = shop.registry.tags[API, "stable"]
    assert [p.code for p in holding(told(shop), API).problems] == ["document-unreadable"]


def test_a_manifest_that_is_no_manifest_is_told(shop: World) -> None:
    strange = replace(image(b"{}"), data=b'{"schemaVersion":2}')
    shop.registry.manifests[SITE, strange.digest] = strange
    shop.registry.tags[SITE, "strange"] = strange.digest
    here = holding(told(shop), SITE)
    assert [p.code for p in here.problems] == ["manifest-unreadable"]
    assert here.images[Owner.OURS] == 1


@pytest.mark.parametrize("point", ["repositories", "manifest", "abilities", "referrers", "list"])
def test_whatever_fails_is_one_clear_problem(shop: World, point: str) -> None:
    shop.points.faults[point] = DOWN
    found = told(shop)
    assert found.unread == DOWN.problems
    assert exits.of_status(found) == 4
    assert shown(found).count("the registry cannot be reached") == 1


def test_a_registry_that_does_not_answer_is_not_asked_for_every_repository(shop: World) -> None:
    shop.points.faults["repositories"] = DOWN
    shop.points.seen.clear()
    found = told(shop)
    assert shelf_of(found).catalog is None
    assert not {"list", "abilities"} & set(shop.points.seen)
    assert {h.repository for h in shelf_of(found).holdings} == {BASE, API, SITE}


def test_an_empty_registry_is_empty(tmp_path: Path) -> None:
    found = told(World(shop_commit(), tmp_path))
    assert all((h.tags, h.images, h.size) == ({}, {}, 0) for h in shelf_of(found).holdings)
    assert shelf_of(found).size == 0
    assert found.summary["drift"] == 3


def shown(found: RegistryStatus) -> str:
    stream = io.StringIO()
    view.show(found, stream)
    return stream.getvalue()


def test_what_is_said_of_it(shop: World) -> None:
    shop.clock.now += 3 * 86_400
    move(shop, SITE, "theirs")
    text = shown(told(shop, able=Able(referrers=False, search=True)))
    able = "catalogue: yes, referrers API: no, bulk search: yes, deletes: not asked"
    assert f"{HOST}  Distribution\n    {able}\n" in text
    assert "referrers API: unknown" in shown(told(shop, able=Able()))
    assert "deletes: yes" in shown(told(shop, able=Able(deletes=True)))
    assert "  www/site\n    web/site in sync\n" in text
    assert "4 tags (1 wanted, 1 content, 1 document, 1 other), 1 image, 1 foreign" in text
    assert "3 d old" in text
    assert "  3 repositories, 4 images, " in text
    assert text.endswith(": 3 in sync\n")


def test_long_stories_stay_in_eighty_columns(shop: World) -> None:
    shop.source.commit = shop.source.commit.changed({f"web/site/{'long' * 9}{n}": b"x" for n in range(9)})
    assert max(map(len, shown(told(shop)).splitlines())) <= 80
    shop.points.faults["repositories"] = DOWN
    text = shown(told(shop))
    assert "3 repositories, images unknown, size unknown" in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize(
    ("seconds", "said"), [(0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"), (86_399, "24 h"), (9e7, "1042 d")]
)
def test_ages(seconds: float, said: str) -> None:
    assert view.age("2026-01-01T00:00:00.000000Z", 1_767_225_600 + seconds) == said
    assert view.age("2026-01-01T00:00:00Z", 0) == "0 s"
    assert view.age("yesterday", 0) is None


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 KiB"),
        (1 << 20, "1.0 MiB"),
        (980 << 20, "980 MiB"),
        (5 << 50, "5,120 TiB"),
    ],
)
def test_sizes(number: int, said: str) -> None:
    assert size(number) == said


problems = st.lists(some.problems, max_size=1).map(tuple)
holdings = st.builds(
    Holding,
    some.repositories,
    st.dictionaries(st.sampled_from(TagKind), st.integers(1, 10**6)),
    st.dictionaries(st.sampled_from(Owner), st.integers(1, 10**6)),
    st.dictionaries(some.sha256s, st.integers(0, 1 << 50), max_size=2),
    st.none() | some.texts,
    st.none() | st.just("2026-01-01T00:00:00Z"),
    problems,
    st.lists(some.changes, max_size=2).map(tuple),
)
able = st.builds(Able, *[st.none() | st.booleans()] * 3)
shelves = st.builds(
    Shelf,
    some.hosts,
    st.none() | st.sampled_from(RegistryProvider),
    st.none() | st.booleans(),
    able,
    st.lists(holdings, max_size=2).map(tuple),
    problems,
)
reports = st.builds(
    RegistryStatus, some.hexes(40), st.floats(0, 4e9), st.lists(shelves, max_size=2).map(tuple), problems
)


@settings(max_examples=25)
@given(reports)
def test_the_document_is_what_its_schema_says(report: RegistryStatus) -> None:
    document = checked("status", as_json(report.to_json()))
    assert sum(document["summary"].values()) == len(report.changes)
    held = sum(change.action is Action.HOLD for change in report.changes)
    assert document["summary"]["held"] == held


@settings(max_examples=25)
@given(reports)
def test_nothing_in_it_steers_a_terminal(report: RegistryStatus) -> None:
    assert not steers(shown(report))
