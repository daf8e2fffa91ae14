"""Upkeep of caches on fakes: what goes, what holds, and what becomes of one that is hindered."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.cache.holding import CacheEnd, CachePlan, CacheStatus, Fate
from reconciler.cache.rules import Generation
from reconciler.cache.upkeep import Limits, Selection
from reconciler.model.access import Access, ActorAccess
from reconciler.model.digest import Digest
from reconciler.model.fleet import UNNAMED
from reconciler.model.policy import Policy, PrunePolicy
from reconciler.model.problem import LianError, Problem
from reconciler.model.reference import Repository
from reconciler.upkeep.plan import list_caches, plan_upkeep, usage_of
from reconciler.upkeep.remove import carry_out
from tests.commits import AMD64, ARM64, HOST, Commit, artifact
from tests.fakes import FakeRegistry, FakeSource, World, image, problem
from tests.upkeep.shelf import DAY, HOUR, Made, fill, layers, left, put, spot, where

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.cache.holding import CacheList
    from reconciler.model.desired import Desired

API, OLD = "cache/ci/shop/api", "cache/ci/shop/old"
DEV = "cache/dev/alice-shop/api"
LATEST, PREVIOUS, MOUNTS = "linux-amd64", "linux-amd64.previous", "linux-amd64.mounts"


def commit(*names: str, **more: Any) -> Commit:
    files = {f"{name}/Dockerfile": b"FROM scratch\n" for name in names}
    return Commit(tuple(artifact(name) for name in names), files, **more)


class Pantry:
    """A world with a commit that wants shop/api, and whatever caches are put into it."""

    def __init__(self, folder: Path, wanted: Commit | None = None) -> None:
        self.world = World(wanted or commit("shop/api"), folder)

    def plan(self, *namespaces: str, allow_most: bool = True, **limits: Any) -> CachePlan:
        work = plan_upkeep(self.world.removing(), Selection(namespaces), Limits(**limits), allow_most=allow_most)
        return asyncio.run(work)

    def list(self, selection: Selection | None = None) -> CacheList:
        return asyncio.run(list_caches(self.world.removing(), selection or Selection()))

    def prune(self, plan: CachePlan | None = None, **limits: Any) -> dict[str, CacheEnd]:
        made = plan or self.plan(**limits)
        return {end.repository.path: end for end in asyncio.run(carry_out(self.world.removing(), made))}

    def fates(self, *namespaces: str, **limits: Any) -> dict[str, str]:
        """`path:tag` -> what becomes of it."""
        plan = self.plan(*namespaces, **limits)
        return {f"{v.cache.repository.path}:{v.cache.tag}": v.fate.value for v in plan.verdicts}


@pytest.fixture
def pantry(tmp_path: Path) -> Pantry:
    """Of shop/api and of shop/old, which nobody wants, each as CI left it ten days ago; and one of a session's."""
    made = Pantry(tmp_path)
    for name in ("shop/api", "shop/old"):
        fill(made.world, name, 10 * DAY)
        fill(made.world, name, 12 * DAY, b"before", generation=Generation.PREVIOUS)
        fill(made.world, name, 10 * DAY, b"mounts", generation=Generation.MOUNTS)
    fill(made.world, "shop/api", 20 * DAY, b"own", actor="alice")
    return made


def test_exactly_what_no_revision_wants_goes(pantry: Pantry) -> None:
    plan = pantry.plan()
    assert {v.cache.repository.path for v in plan.going} == {OLD}
    assert {v.fate for v in plan.going} == {Fate.UNWANTED}
    assert plan.kept == {Fate.KEPT_WANTED: 3, Fate.KEPT_SESSION: 1}
    ends = pantry.prune(plan)
    assert {path: (end.status, set(end.removed)) for path, end in ends.items()} == {
        OLD: (CacheStatus.DONE, {LATEST, PREVIOUS, MOUNTS})
    }
    assert left(pantry.world) == {API: {LATEST, PREVIOUS, MOUNTS}, DEV: {LATEST}}
    assert not {r.path for r, _ in pantry.world.registry.manifests} & {OLD}
    assert not pantry.plan().going
    assert pantry.prune() == {}


def test_a_branch_keeps_what_it_wants(pantry: Pantry) -> None:
    pantry.world.revisions.refs["refs/heads/stable"] = replace(commit("shop/old"), revision="b" * 40)
    assert not pantry.plan().going
    pantry.world.source.commit = replace(
        pantry.world.source.commit, policy=Policy(prune=PrunePolicy(revisions=("refs/tags/*",)))
    )
    assert len(pantry.plan().going) == 3


def test_a_platform_that_is_gone_is_unwanted(tmp_path: Path) -> None:
    both = replace(artifact("shop/api"), platforms=(AMD64, ARM64))
    pantry = Pantry(tmp_path, Commit((both,), {"shop/api/Dockerfile": b"FROM scratch\n"}))
    for platform in ("linux/amd64", "linux/arm64"):
        fill(pantry.world, "shop/api", DAY, platform=platform)
    assert not pantry.plan().going
    pantry.world.source.commit = commit("shop/api")
    assert [v.cache.tag for v in pantry.plan().going] == ["linux-arm64"]


def test_an_artifact_whose_cache_lies_elsewhere_now_leaves_one_behind(pantry: Pantry) -> None:
    moved = replace(artifact("shop/api"), registry="other.example:5000")
    pantry.world.source.commit = replace(pantry.world.source.commit, artifacts=(moved,))
    assert {v.cache.repository.path for v in pantry.plan().going} == {API, OLD}


def test_age_takes_all_alike_and_previous_with_it(pantry: Pantry) -> None:
    fates = pantry.fates(older_than=15 * DAY)
    assert fates[f"{DEV}:{LATEST}"] == "expired"
    assert fates[f"{API}:{PREVIOUS}"] == "kept-wanted"
    assert pantry.fates(older_than=9 * DAY)[f"{API}:{PREVIOUS}"] == "expired"
    assert pantry.fates(older_than=11 * DAY)[f"{API}:{LATEST}"] == "kept-wanted"


def test_what_was_just_written_stays_whatever_is_asked(tmp_path: Path) -> None:
    """Also where nobody wants it: a build of another branch may be at work."""
    pantry = Pantry(tmp_path)
    fill(pantry.world, "shop/old", 0.5 * HOUR)
    fill(pantry.world, "shop/old", 90 * DAY, b"x", generation=Generation.PREVIOUS)
    assert set(pantry.fates(older_than=60.0, max_size=0).values()) == {"kept-young"}


def test_what_tells_no_age_stays_unless_it_is_asked_for(tmp_path: Path) -> None:
    """A build that was killed between its export and what lian notes on it."""
    pantry = Pantry(tmp_path)
    fill(pantry.world, "shop/old", 0, created=None, fleet=None, made=pantry.world.clock.now - 40 * DAY)
    assert pantry.fates(older_than=DAY, max_size=0) == {f"{OLD}:{LATEST}": "kept-undated"}
    assert pantry.fates(undated=True) == {f"{OLD}:{LATEST}": "unwanted"}
    fill(pantry.world, "shop/old", 0, created=None, made=pantry.world.clock.now - 60)
    assert pantry.fates(undated=True) == {f"{OLD}:{LATEST}": "kept-young"}
    fill(pantry.world, "shop/old", -40 * DAY)
    assert pantry.fates(older_than=DAY) == {f"{OLD}:{LATEST}": "kept-undated"}, "from a future"


def test_another_fleets_are_shown_and_left(pantry: Pantry) -> None:
    fill(pantry.world, "other/app", 90 * DAY, fleet="others")
    fill(pantry.world, "other/lib", 90 * DAY, fleet=None)
    fill(pantry.world, "other/gone", 90 * DAY)
    fates = pantry.fates(older_than=DAY, max_size=0, undated=True, strange=True)
    assert fates["cache/ci/other/app:linux-amd64"] == "kept-foreign"
    assert fates["cache/ci/other/lib:linux-amd64"] == "kept-foreign"
    assert fates["cache/ci/other/gone:linux-amd64"] == "unwanted"


def test_what_another_fleet_shares_a_place_with_stays_whole(pantry: Pantry) -> None:
    fill(pantry.world, "shop/old", 90 * DAY, b"theirs", fleet="others", generation=Generation.PREVIOUS)
    assert {fate for place, fate in pantry.fates(older_than=DAY).items() if OLD in place} == {"kept-foreign"}


def test_fleets_without_a_name_are_told_apart_by_their_commits(tmp_path: Path) -> None:
    pantry = Pantry(tmp_path, replace(commit("shop/api"), fleet=UNNAMED, before=("6" * 40,)))
    fill(pantry.world, "shop/old", 9 * DAY, fleet=UNNAMED, revision="6" * 40)
    fill(pantry.world, "umbrella/x", 9 * DAY, fleet=UNNAMED, revision="7" * 40)
    fates = pantry.fates()
    assert fates == {f"{OLD}:{LATEST}": "unwanted", "cache/ci/umbrella/x:linux-amd64": "kept-foreign"}
    assert [note for note in pantry.plan().notes if "7" * 12 in note]


def test_what_is_no_cache_is_told_and_stays(pantry: Pantry) -> None:
    odd = image(b"{}")
    put(pantry.world, spot("shop/old"), Made(odd, {Digest.of(b"{}"): b"{}"}), "latest")
    put(pantry.world, spot("shop/api"), Made(odd, {Digest.of(b"{}"): b"{}"}), "linux-s390x")
    nowhere = Repository(HOST, "cache/ci/shop/api/deep")
    pantry.world.registry.blobs[nowhere, Digest.of(b"{}")] = b"{}"
    pantry.world.registry.put(nowhere, odd)
    pantry.world.registry.tags[nowhere, LATEST] = odd.digest
    fates = pantry.fates(older_than=DAY, max_size=0, undated=True)
    assert (fates[f"{OLD}:latest"], fates[f"{API}:linux-s390x"]) == ("kept-strange", "kept-strange")
    assert [r.path for r in pantry.plan().caches.unrecognised] == [nowhere.path]
    pantry.prune(strange=True)
    assert left(pantry.world)[API] == {LATEST, PREVIOUS, MOUNTS}
    assert left(pantry.world)[nowhere.path] == {LATEST}, "what nobody can be sure of is never touched"


def test_the_oldest_of_a_namespace_go_until_the_rest_is_small_enough(tmp_path: Path) -> None:
    pantry = Pantry(tmp_path, commit(*(f"shop/a{n}" for n in range(4))))
    shared = b"s" * 1000
    for number in range(4):
        fill(pantry.world, f"shop/a{number}", (10 - number) * DAY, shared, b"x" * (900 + number))
        fill(pantry.world, f"shop/a{number}", 30 * DAY, bytes([number]) * 5000, actor="bob")
    sizes = {v.cache.repository.path: v.cache.content.size for v in pantry.plan().verdicts}
    whole = sum(sizes[f"cache/ci/shop/a{n}"] for n in range(4)) - 3 * 1000
    fates = pantry.fates(max_size=whole)
    assert not [f for place, f in fates.items() if "/ci/" in place and f == "over-size"]
    fates = pantry.fates(max_size=whole - 1)
    assert [place for place, fate in fates.items() if "/ci/" in place and fate == "over-size"] == [
        f"cache/ci/shop/a0:{LATEST}"
    ]
    assert {fate for place, fate in fates.items() if "/ci/" not in place} == {"over-size", "kept-session"}


def test_what_a_cache_shares_with_one_that_stays_is_not_free_yet(tmp_path: Path) -> None:
    pantry = Pantry(tmp_path, commit(*(f"shop/a{n}" for n in range(3))))
    for number in range(3):
        fill(pantry.world, f"shop/a{number}", (10 - number) * DAY, b"s" * 100_000, bytes([number]))
    assert list(pantry.fates(max_size=110_000).values()) == ["kept-wanted"] * 3
    assert list(pantry.fates(max_size=90_000).values()) == ["over-size"] * 3


def test_more_than_half_at_once_holds(pantry: Pantry) -> None:
    assert not pantry.plan(allow_most=False).problems
    plan = pantry.plan(allow_most=False, older_than=DAY)
    assert [p.code for p in plan.problems] == ["prune-most"]
    with pytest.raises(LianError):
        pantry.prune(plan)


def test_a_choice_is_all_that_is_looked_at(pantry: Pantry) -> None:
    assert set(pantry.fates("dev/*", older_than=DAY)) == {f"{DEV}:{LATEST}"}
    chosen = pantry.list(Selection(actors=("alice",)))
    assert [v.cache.namespace.actor for v in chosen.verdicts] == ["alice"]
    assert len(pantry.list(Selection(only=("shop/ap*",))).verdicts) == 4


@pytest.mark.parametrize(
    ("selection", "meant"),
    [
        (Selection(namespaces=("ci/shopp",)), "did you mean ci/shop?"),
        (Selection(only=("shop/appp",)), "did you mean shop/api?"),
        (Selection(actors=("Bob!!",)), "lian cache ls"),
        (Selection(only=("shop/api", "shop/appp")), "did you mean shop/api?"),
        (Selection(namespaces=("dev/*", "ci/shpo")), "did you mean ci/shop?"),
    ],
)
def test_a_choice_of_nothing_that_there_could_be_is_an_error(pantry: Pantry, selection: Selection, meant: str) -> None:
    with pytest.raises(LianError) as raised:
        pantry.list(selection)
    assert raised.value.problems[0].code == "selection-empty"
    assert meant in (raised.value.problems[0].hint or "")


# -- what holds


def test_a_revision_that_cannot_be_read_holds_all(pantry: Pantry) -> None:
    broken = replace(commit("shop/web"), revision="b" * 40, problems=(Problem("typo", "a typo"),))
    pantry.world.revisions.refs["refs/heads/odd"] = broken
    plan = pantry.plan()
    assert [p.code for p in plan.problems] == ["revision-unread"]
    assert not plan.verdicts
    told = pantry.list()
    assert [p.code for p in told.problems] == ["revision-unread"]
    assert {v.fate for v in told.verdicts if v.cache.artifact == "old"} == {Fate.KEPT_UNKNOWN}
    assert {v.fate for v in told.verdicts if v.cache.repository.path == API} == {Fate.KEPT_WANTED}


def test_refs_that_cannot_be_had_are_told_by_a_list(pantry: Pantry) -> None:
    pantry.world.points.faults["refs"] = problem("clone-partial")
    assert [p.code for p in pantry.list().problems] == ["clone-partial"]
    with pytest.raises(LianError):
        pantry.plan()


class Odd(FakeRegistry):
    """One repository does not let itself be read."""

    path = OLD
    code = "registry-denied"
    manifests_too = False

    async def tags_of(self, repository: Repository) -> Mapping[str, Digest]:
        if repository.path == self.path and not self.manifests_too:
            raise problem(self.code)
        return await super().tags_of(repository)

    async def manifest(self, repository: Repository, digest: Digest) -> Any:
        if repository.path == self.path and self.manifests_too:
            raise problem(self.code)
        return await super().manifest(repository, digest)


@pytest.mark.parametrize("manifests", [False, True])
def test_a_repository_that_cannot_be_read_holds_itself(pantry: Pantry, manifests: bool) -> None:
    fill(pantry.world, "shop/older", 10 * DAY)
    pantry.world.registry.__class__ = Odd
    odd: Any = pantry.world.registry
    odd.manifests_too = manifests
    plan = pantry.plan()
    assert [v.cache.repository.path for v in plan.going] == ["cache/ci/shop/older"]
    (told,) = plan.caches.unread
    assert (told.code, "ci/shop" in told.message) == ("registry-denied", True)
    pantry.prune(plan)
    assert left(pantry.world)[OLD] == {LATEST, PREVIOUS, MOUNTS}


def test_a_registry_that_does_not_answer_is_told(pantry: Pantry) -> None:
    pantry.world.points.faults["repositories"] = problem("registry-unreachable")
    plan = pantry.plan()
    assert ([p.code for p in plan.caches.unread], plan.verdicts) == (["registry-unreachable"], ())
    assert [cupboard.catalog for cupboard in plan.caches.cupboards] == [None]


class Peopled(FakeSource):
    """The fleet has actors."""

    async def load(self) -> Desired:
        desired = await super().load()
        access = Access(actors={"alice": ActorAccess(("a",)), "bob": ActorAccess(("b",), ("web",))})
        return replace(desired, fleet=replace(desired.fleet, access=access))


def test_without_a_catalogue_what_directives_lead_to_is_looked_at(pantry: Pantry) -> None:
    pantry.world.registry.unreadable.add("catalog")
    pantry.world.source.__class__ = Peopled
    fill(pantry.world, "shop/api", DAY, actor="bob")
    told = pantry.list()
    assert {v.cache.repository.path for v in told.verdicts} == {API, DEV}
    assert [cupboard.catalog for cupboard in told.caches.cupboards] == [False]
    assert "does not list" in told.caches.notes[0]


# -- what hinders


def test_a_cache_that_was_written_meanwhile_stays_whole(pantry: Pantry) -> None:
    plan = pantry.plan()
    fill(pantry.world, "shop/old", 0, b"new")
    (end,) = pantry.prune(plan).values()
    assert (end.status, end.removed, set(end.spared)) == (CacheStatus.DONE, (), {LATEST, PREVIOUS, MOUNTS})
    assert left(pantry.world)[OLD] == {LATEST, PREVIOUS, MOUNTS}


def test_a_first_save_of_mounts_meanwhile_spares_the_rest(tmp_path: Path) -> None:
    pantry = Pantry(tmp_path)
    fill(pantry.world, "shop/old", DAY)
    fill(pantry.world, "shop/old", DAY, platform="linux/arm64")
    plan = pantry.plan()
    fill(pantry.world, "shop/old", 0, generation=Generation.MOUNTS)
    (end,) = pantry.prune(plan).values()
    assert (end.removed, end.spared) == (("linux-arm64",), (LATEST,))


def test_what_a_tag_that_stays_names_too_is_not_deleted(tmp_path: Path) -> None:
    """Someone keeps a cache by a tag of their own."""
    pantry = Pantry(tmp_path)
    made = layers(b"x", created=pantry.world.clock.now - DAY)
    digest = put(pantry.world, spot("shop/old"), made)
    put(pantry.world, spot("shop/old"), made, "mine")
    pantry.prune()
    assert left(pantry.world) == {OLD: {"mine"}}
    assert (where(spot("shop/old")), digest) in pantry.world.registry.manifests


def test_two_tags_of_one_cache_go_at_once(tmp_path: Path) -> None:
    pantry = Pantry(tmp_path)
    made = layers(b"x", created=pantry.world.clock.now - DAY)
    put(pantry.world, spot("shop/old"), made)
    put(pantry.world, spot("shop/old", generation=Generation.PREVIOUS), made)
    (end,) = pantry.prune().values()
    assert set(end.removed) == {LATEST, PREVIOUS}
    assert [line for line in pantry.world.registry.journal if "delete" in line] == [
        f"delete {made.manifest.digest.short}"
    ]


def test_what_someone_else_has_removed_is_gone(pantry: Pantry) -> None:
    plan = pantry.plan()
    del pantry.world.registry.tags[where(spot("shop/old")), PREVIOUS]
    (end,) = pantry.prune(plan).values()
    assert (end.status, set(end.removed)) == (CacheStatus.DONE, {LATEST, PREVIOUS, MOUNTS})


def test_a_desired_repo_that_moved_stops_it(pantry: Pantry) -> None:
    plan = pantry.plan()
    pantry.world.source.commit = pantry.world.source.commit.changed()
    with pytest.raises(LianError) as error:
        pantry.prune(plan)
    assert error.value.problems[0].code == "revisions-moved"
    assert OLD in left(pantry.world)


def test_a_registry_that_refuses_is_told_once(pantry: Pantry) -> None:
    pantry.world.points.faults["delete"] = problem("registry-refused")
    (end,) = pantry.prune().values()
    assert (end.status, [p.code for p in end.problems]) == (CacheStatus.FAILED, ["registry-refused"])
    assert left(pantry.world)[OLD] == {LATEST, PREVIOUS, MOUNTS}


def test_what_cannot_be_looked_at_again_is_held(pantry: Pantry) -> None:
    plan = pantry.plan()
    pantry.world.points.faults["list"] = problem("registry-unreachable")
    (end,) = pantry.prune(plan).values()
    assert (end.status, end.removed) == (CacheStatus.HELD, ())


@pytest.mark.parametrize("number", range(0, 26, 3))
def test_one_that_is_cut_off_anywhere_is_finished_by_the_next(pantry: Pantry, number: int) -> None:
    fill(pantry.world, "shop/older", 10 * DAY)
    plan = pantry.plan()
    world = pantry.world
    world.points.seen.clear()

    async def cut() -> None:
        task = asyncio.ensure_future(carry_out(world.removing(), plan))
        world.points.victim, world.points.cancel_at = task, number
        with contextlib.suppress(asyncio.CancelledError):
            await task
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(cut())
    world.points.victim = None
    assert left(world)[API] == {LATEST, PREVIOUS, MOUNTS}
    pantry.prune()
    assert left(world) == {API: {LATEST, PREVIOUS, MOUNTS}, DEV: {LATEST}}


# -- how much


def test_what_is_shared_is_counted_once(tmp_path: Path) -> None:
    pantry = Pantry(tmp_path)
    shared = b"s" * 10_000
    fill(pantry.world, "shop/api", DAY, shared, b"a")
    fill(pantry.world, "shop/api", DAY, shared, b"b", generation=Generation.PREVIOUS)
    fill(pantry.world, "shop/api", DAY, shared, b"c", actor="alice")
    told = asyncio.run(usage_of(pantry.world.removing(), Selection()))
    whole = told.registries[HOST]
    assert (whole.caches, whole.shared) == (3, 10_000)
    ci, dev = told.namespaces[HOST, "ci/shop"], told.namespaces[HOST, "dev/alice-shop"]
    assert (ci.shared, dev.shared, ci.caches) == (10_000, 10_000, 2)
    assert whole.size == ci.size + dev.size - 10_000
    assert told.artifacts[HOST, "ci/shop", "shop/api"] == ci
