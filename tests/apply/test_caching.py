"""The cache of a pass: what builds are given of it, what becomes of it, and that nothing of it fails a build."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest

from reconciler.cache import notes
from reconciler.cache.vet import config_of
from reconciler.model.cache import CacheMode, CachePolicy
from reconciler.model.cache_use import LookStatus
from reconciler.model.digest import Digest
from reconciler.model.outcome import Status
from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.reconcile import Options, reconcile_once
from tests.commits import HOST, Commit, artifact
from tests.fakes import Points, World, cache, problem

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.artifact import Artifact
    from reconciler.model.cache_use import CacheUse
    from reconciler.model.outcome import Result

CACHE = Repository(HOST, "cache/ci/shop/api")
LATEST, PREVIOUS = "linux-amd64", "linux-amd64.previous"


@dataclass
class Failing(Points):
    """Builds fail so often with these codes, when they push or when they check."""

    codes: list[str] = field(default_factory=list)
    where: str = "pushed"

    async def at(self, point: str) -> None:
        await super().at(point)
        if point == self.where and self.codes:
            code = self.codes.pop(0)
            raise problem(code, f"planted: {code}")


@dataclass
class Naming(Failing):
    """The failure names a part of a cache."""

    named: Digest | None = None

    async def at(self, point: str) -> None:
        try:
            await super().at(point)
        except LianError as error:
            cause = f"failed to copy: {self.named}: unexpected EOF"
            raise LianError(replace(error.problems[0], cause=cause)) from error


def api(**changes: object) -> Artifact:
    return replace(artifact("shop/api"), **changes)  # type: ignore[arg-type]


def world(folder: Path, *artifacts: Artifact) -> World:
    files = {"shop/api/Dockerfile": b"FROM scratch\n", "shop/api/app": b"1"}
    made = World(Commit(artifacts or (api(),), files), folder)
    made.builder.keeps = True
    return made


def passed(world: World) -> Result:
    """One pass; the result of shop/api."""
    _, outcome = asyncio.run(reconcile_once(world.ports(), Options()))
    assert not world.compute.out
    return next(result for result in outcome.results if str(result.artifact) == "shop/api")


def changed(world: World, content: bytes) -> Result:
    """The next pass, after a file has changed."""
    world.source.commit = world.source.commit.changed({"shop/api/app": content})
    return passed(world)


def use_of(result: Result) -> CacheUse:
    (use,) = result.caches.values()
    return use


def statuses(result: Result) -> list[LookStatus]:
    return [look.status for look in use_of(result).looked]


def in_cache(world: World, tag: str) -> Digest | None:
    return world.tag(CACHE, tag)


def test_a_build_is_given_what_the_last_one_left_and_leaves_its_own(tmp_path: Path) -> None:
    shop = world(tmp_path)
    first = passed(shop)
    assert (first.status, statuses(first)) == (Status.DONE, [LookStatus.ABSENT] * 2)
    one = in_cache(shop, LATEST)
    assert one is not None
    second = changed(shop, b"2")
    assert statuses(second) == [LookStatus.READ, LookStatus.ABSENT]
    assert [source.digest for source in shop.builder.requests[-1].cache_from] == [one]
    assert in_cache(shop, PREVIOUS) == one
    third = changed(shop, b"3")
    assert statuses(third) == [LookStatus.READ, LookStatus.READ]
    assert len({in_cache(shop, LATEST), in_cache(shop, PREVIOUS), one}) == 3


def test_what_is_left_has_a_note(tmp_path: Path) -> None:
    shop = world(tmp_path, api(os_epoch="2026-11"))
    passed(shop)
    digest = in_cache(shop, LATEST)
    assert digest is not None
    note = notes.note_of(asyncio.run(shop.registry.manifest(CACHE, digest)))
    assert (note.artifact, note.fleet, note.revision) == ("shop/api", "acme", shop.source.commit.revision)
    assert note.freshness == '{"os_epoch":"2026-11"}'
    assert note.seconds == {notes.step_id("[1/1] RUN x"): 0.1}


def test_a_cache_of_another_freshness_is_not_given_and_not_lost(tmp_path: Path) -> None:
    shop = world(tmp_path)
    passed(shop)
    old = in_cache(shop, LATEST)
    shop.source.commit = shop.source.commit.changed(artifacts=(api(os_epoch="new"),))
    fresh = passed(shop)
    assert statuses(fresh) == [LookStatus.STALE, LookStatus.ABSENT]
    assert shop.builder.requests[-1].cache_from == ()
    assert in_cache(shop, PREVIOUS) == old
    shop.source.commit = shop.source.commit.changed({"shop/api/app": b"2"}, artifacts=(api(),))
    assert statuses(passed(shop)) == [LookStatus.READ, LookStatus.READ], "what asks for nothing may read all"


@pytest.mark.parametrize(("code", "told"), [("cache-broken", LookStatus.BROKEN), ("build-error", LookStatus.READ)])
def test_a_build_that_fails_on_a_cache_is_done_without_it(tmp_path: Path, code: str, told: LookStatus) -> None:
    shop = world(tmp_path)
    passed(shop)
    shop.builder.points = Failing(codes=[code])
    result = changed(shop, b"2")
    assert (result.status, statuses(result)[0]) == (Status.DONE, told)
    first, again = shop.builder.requests[-2:]
    assert first.cache_from
    assert (again.cache_from, again.cache_to) == ((), first.cache_to)
    assert again.deadline <= first.deadline
    assert (in_cache(shop, PREVIOUS) is None) is (told is LookStatus.BROKEN), "what is broken is kept nowhere"


@pytest.mark.parametrize("code", ["cache-broken", "build-error"])
def test_without_a_cache_such_a_failure_is_one(tmp_path: Path, code: str) -> None:
    shop = world(tmp_path)
    shop.builder.points = Failing(codes=[code])
    assert passed(shop).status is Status.FAILED
    assert len(shop.builder.requests) == 1


def test_a_second_failure_tells_of_the_first(tmp_path: Path) -> None:
    shop = world(tmp_path)
    passed(shop)
    shop.builder.points = Failing(codes=["cache-broken", "build-failed"])
    result = changed(shop, b"2")
    assert result.status is Status.FAILED
    assert result.problem is not None
    assert result.problem.code == "build-failed"
    assert "the try before it" in result.problem.message


def test_failures_of_one_kind_are_told_once(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.builder.points = Failing(codes=["push-failed", "push-failed"] * 3)
    result = passed(shop)
    assert result.problem is not None
    assert len(shop.builder.requests) == 6
    assert result.problem.message.count("planted: push-failed") == 1
    assert len(result.tries) == 2


def test_a_cache_that_takes_too_long_is_left_out_and_told(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.builder.points = Failing(codes=["cache-stalled"])
    result = passed(shop)
    assert result.status is Status.DONE
    assert use_of(result).problem is not None
    assert use_of(result).written is None
    assert [request.cache_to is None for request in shop.builder.requests] == [False, True]


def test_a_cache_that_the_registry_refuses_is_told_and_the_image_is_there(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.builder.refused = "error writing layer blob: 403 Forbidden"
    result = passed(shop)
    assert result.status is Status.DONE
    told = use_of(result).problem
    assert told is not None
    assert (told.code, told.cause) == ("cache-not-written", "error writing layer blob: 403 Forbidden")


@pytest.mark.parametrize("codes", [[], ["build-error"], ["cache-broken"]])
def test_a_check_writes_no_cache_whatever_becomes_of_it(tmp_path: Path, codes: list[str]) -> None:
    shop = world(tmp_path, api(checks=("test",)))
    passed(shop)
    written = in_cache(shop, LATEST)
    shop.builder.points = Failing(codes=list(codes), where="build shop/api")
    result = changed(shop, b"2")
    assert result.status is Status.DONE
    checks = [request for request in shop.builder.requests if request.destination is None]
    assert len(checks) == 2 + len(codes)
    assert all(request.cache_to is None for request in checks)
    last = shop.builder.requests[-1]
    assert bool(last.cache_from) == (not codes), "what a check failed on is given to no other build"
    assert in_cache(shop, PREVIOUS) == (None if "cache-broken" in codes else written)


def test_a_registry_that_fails_for_a_cache_is_left_in_peace_before_the_image_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.apply.building.PEACE_SECONDS", 0.5)
    shop = world(tmp_path)
    shop.registry.unreadable = {LATEST, PREVIOUS}
    began = time.monotonic()
    assert passed(shop).status is Status.DONE
    without = time.monotonic() - began
    shop.registry.down_code = "registry-busy"
    began = time.monotonic()
    result = changed(shop, b"2")
    assert (result.status, statuses(result)) == (Status.DONE, [LookStatus.UNREADABLE] * 2)
    assert time.monotonic() - began >= max(0.5, without)


def test_a_runner_whose_cache_fell_silent_builds_nothing_more(tmp_path: Path) -> None:
    """The build is done on another one, without any cache; both runners go back."""
    shop = world(tmp_path, api(), artifact("shop/web"))
    passed(shop)
    shop.builder.points = Failing(codes=["cache-silent"])
    rented = len(shop.compute.rented)
    shop.builder.requests.clear()
    result = changed(shop, b"2")
    assert result.status is Status.DONE
    assert len({lease.lease for lease in shop.compute.rented[rented:]}) == 2
    first, again = (request for request in shop.builder.requests if request.artifact == "shop/api")
    assert (bool(first.cache_from), again.cache_from, again.cache_to) == (True, (), None)
    told = use_of(result).problem
    assert told is not None and told.code == "cache-silent"


def test_the_next_build_reads_its_cache_on_the_runner_that_came_in_place(tmp_path: Path) -> None:
    shop = world(tmp_path, api(), artifact("shop/web"))
    passed(shop)
    shop.builder.points = Failing(codes=["cache-silent"])
    shop.builder.requests.clear()
    rented = len(shop.compute.rented)
    shop.source.commit = shop.source.commit.changed({"shop/api/app": b"2", "shop/web/app": b"2"})
    _, outcome = asyncio.run(reconcile_once(shop.ports(), Options(jobs=1)))
    assert {result.status for result in outcome.results} == {Status.DONE}
    assert [bool(request.cache_from) for request in shop.builder.requests] == [True, False, True]
    assert len(shop.compute.rented[rented:]) == 2
    assert not shop.compute.out


def test_a_build_that_fails_tells_what_it_read(tmp_path: Path) -> None:
    shop = world(tmp_path)
    passed(shop)
    shop.builder.points = Failing(codes=["build-failed"])
    result = changed(shop, b"2")
    assert (result.status, statuses(result)) == (Status.FAILED, [LookStatus.READ, LookStatus.ABSENT])


def test_a_policy_of_none_keeps_and_reads_none(tmp_path: Path) -> None:
    shop = world(tmp_path)
    passed(shop)
    shop.source.commit = shop.source.commit.changed(artifacts=(api(cache=CachePolicy(CacheMode.OFF)),))
    result = changed(shop, b"2")
    assert use_of(result).looked == ()
    last = shop.builder.requests[-1]
    assert (last.cache_from, last.cache_to) == ((), None)


def test_a_name_that_no_registry_takes_goes_without_and_says_so(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.source.commit = replace(shop.source.commit, cache_prefix="/".join(["x" * 60] * 5))
    result = passed(shop)
    assert result.status is Status.DONE
    told = use_of(result).problem
    assert told is not None
    assert told.code == "cache-name"


def test_an_unchanged_cache_does_not_push_the_one_before_out(tmp_path: Path) -> None:
    shop = world(tmp_path)
    passed(shop)
    changed(shop, b"2")
    before = in_cache(shop, PREVIOUS)
    latest = in_cache(shop, LATEST)
    assert latest is not None
    found = asyncio.run(shop.registry.manifest(CACHE, latest))
    shop.builder.next_cache = cache(shop.registry.blobs[CACHE, config_of(found)])
    changed(shop, b"3")
    assert in_cache(shop, PREVIOUS) == before


@pytest.fixture
def three(tmp_path: Path) -> World:
    """Three passes: both tags hold a cache."""
    shop = world(tmp_path)
    passed(shop)
    changed(shop, b"2")
    changed(shop, b"3")
    return shop


def lose(world: World, tag: str) -> Digest:
    """A part of what lies there."""
    digest = in_cache(world, tag)
    assert digest is not None
    del world.registry.blobs[CACHE, config_of(world.registry.manifests[CACHE, digest])]
    return digest


def test_one_that_is_broken_keeps_nobody_from_the_other_and_goes(three: World) -> None:
    before, lost = in_cache(three, LATEST), lose(three, PREVIOUS)
    result = changed(three, b"4")
    assert statuses(result) == [LookStatus.READ, LookStatus.BROKEN]
    assert in_cache(three, PREVIOUS) == before != lost
    assert statuses(changed(three, b"5")) == [LookStatus.READ, LookStatus.READ]


def test_the_newer_one_that_is_broken_is_not_kept_beside_its_successor(three: World) -> None:
    before, lost = in_cache(three, PREVIOUS), lose(three, LATEST)
    assert statuses(changed(three, b"4")) == [LookStatus.BROKEN, LookStatus.READ]
    assert lost not in {in_cache(three, LATEST), in_cache(three, PREVIOUS)}
    assert in_cache(three, PREVIOUS) == before


def test_two_that_are_broken_go_at_once(three: World) -> None:
    lost = {lose(three, PREVIOUS), lose(three, LATEST)}
    assert statuses(changed(three, b"4")) == [LookStatus.BROKEN, LookStatus.BROKEN]
    assert not lost & {in_cache(three, LATEST), in_cache(three, PREVIOUS)}
    assert statuses(changed(three, b"5")) == [LookStatus.READ]


@pytest.mark.parametrize("tag", [LATEST, PREVIOUS])
def test_a_build_that_fails_on_one_blames_that_one_alone(three: World, tag: str) -> None:
    """The registry says that all is there, and BuildKit finds it damaged."""
    other = {LATEST: PREVIOUS, PREVIOUS: LATEST}[tag]
    digest, good = in_cache(three, tag), in_cache(three, other)
    assert digest is not None
    part = config_of(three.registry.manifests[CACHE, digest])
    three.builder.points = Naming(codes=["cache-broken"], named=part)
    found = {look.reference: look.status for look in use_of(changed(three, b"4")).looked}
    assert found == {f"{CACHE}:{tag}": LookStatus.BROKEN, f"{CACHE}:{other}": LookStatus.SET_ASIDE}
    assert digest not in {in_cache(three, LATEST), in_cache(three, PREVIOUS)}
    assert in_cache(three, PREVIOUS) == good, "what is good stays beside the new one"


def test_a_cache_whose_parts_cannot_be_asked_for_is_not_read(three: World) -> None:
    three.registry.unreadable.add("parts")
    assert set(statuses(changed(three, b"4"))) == {LookStatus.UNREADABLE}


@pytest.mark.parametrize("config", [b'{"garbage":1}', b"[]", b"", b"[" * 100_000, b"\xff"])
def test_a_description_that_says_nothing_is_told(three: World, config: bytes) -> None:
    three.registry.blobs[CACHE, Digest.of(config)] = config
    made = cache(config)
    three.registry.put(CACHE, made)
    three.registry.tags[CACHE, LATEST] = made.digest
    assert statuses(changed(three, b"4")) == [LookStatus.FOREIGN, LookStatus.READ]


def test_what_no_commit_holds_is_built_with_the_caches_of_ci_and_leaves_none(tmp_path: Path) -> None:
    """They hold what was built from commits."""
    shop = world(tmp_path)
    passed(shop)
    kept = in_cache(shop, LATEST)
    commit = shop.source.commit.changed({"shop/api/app": b"2"})
    shop.source.commit = replace(commit, revision="", before=())
    result = passed(shop)
    assert (result.status, statuses(result)) == (Status.DONE, [LookStatus.READ, LookStatus.ABSENT])
    assert shop.builder.requests[-1].cache_to is None
    assert (in_cache(shop, LATEST), in_cache(shop, PREVIOUS)) == (kept, None)
