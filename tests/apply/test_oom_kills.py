"""What the kernel ended in steps that went on without it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.runners import MOST_LOST
from reconciler.apply.tries import IN_DOUBT
from reconciler.cache import notes
from reconciler.model.attempt import Again
from reconciler.model.cache_use import LookStatus
from reconciler.model.digest import Digest
from reconciler.model.outcome import Status
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.tier import Ladder
from reconciler.ports.builder import OUT_OF_MEMORY
from tests.apply.test_caching import CACHE
from tests.apply.test_tries import result_of, run, world
from tests.commits import AMD64, ARM64, LADDER, SIZES, Commit, artifact
from tests.fakes import Points, World, cache

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.outcome import Result


def tries(result: Result) -> list[tuple[str, str, Again]]:
    return [(one.problem.code, one.tier.name, one.then) for one in result.tries]


def meet(shop: World) -> None:
    """Both builds are on the runner when a process of the one is ended, and the other one ends after that."""
    points = shop.builder.points
    points.arrivals = {"build shop/web": asyncio.Event(), "killed shop/api": asyncio.Event()}
    points.holds = {
        "build shop/api": points.arrivals["build shop/web"],
        "build shop/web": points.arrivals["killed shop/api"],
    }


def test_a_step_that_lost_a_process_is_done_again_with_more_memory(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.builder.swallows["shop/api"] = [8.0]
    result = result_of(run(shop))
    assert (result.status, tries(result)) == (Status.DONE, [(OUT_OF_MEMORY, "small", Again.LARGER_RUNNER)])
    told = "the kernel ended 1 process of theirs for want of memory; the limit of a step was 4 GiB"
    assert result.tries[0].problem.message == f"the steps ended well, but {told}"
    assert len(shop.compute.rented) == 2


def test_with_the_most_memory_it_fails_and_no_tag_moves(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.source.commit = replace(shop.source.commit, sizes=replace(SIZES, ladder=Ladder(LADDER.tiers[:1])))
    shop.builder.swallows["shop/api"] = [8.0]
    result = result_of(run(shop))
    assert result.problem is not None
    assert (result.status, result.problem.code) == (Status.FAILED, OUT_OF_MEMORY)
    assert shop.tag(shop.source.commit.artifacts[0].image, "latest") is None


@pytest.mark.parametrize("jobs", [2, 1], ids=["beside", "one after another"])
def test_a_build_beside_it_is_done_again_where_nobody_else_is(tmp_path: Path, jobs: int) -> None:
    """It may be the one, or have been given what the other one's step had made."""
    shop = world(tmp_path, "shop/api", "shop/web")
    shop.builder.swallows["shop/api"] = [8.0]
    if jobs == 2:
        meet(shop)
    outcome = run(shop, jobs=jobs)
    api, web = (result_of(outcome, name) for name in ("shop/api", "shop/web"))
    assert (api.status, web.status) == (Status.DONE, Status.DONE)
    if jobs == 1:
        assert (tries(api), tries(web)) == ([(OUT_OF_MEMORY, "small", Again.LARGER_RUNNER)], [])
        return
    for result in (api, web):
        assert tries(result) == [(IN_DOUBT, "small", Again.OWN_RUNNER)]
        assert result.tier is not None and result.tier.name == "small"


def test_in_doubt_and_then_certain(tmp_path: Path) -> None:
    shop = world(tmp_path, "shop/api", "shop/web")
    shop.builder.swallows["shop/api"] = [8.0, 8.0]
    meet(shop)
    api = result_of(run(shop))
    assert api.status is Status.DONE
    assert tries(api) == [
        (IN_DOUBT, "small", Again.OWN_RUNNER),
        (OUT_OF_MEMORY, "small", Again.LARGER_RUNNER),
    ]


def test_a_command_that_failed_after_it_failed_for_memory(tmp_path: Path) -> None:
    """`make` says that a compiler was killed, and ends with a status of its own."""
    shop = world(tmp_path)
    shop.source.commit = shop.source.commit.changed({"shop/api/Dockerfile": b"FROM scratch\nRUN false\n"})
    assert tries(result_of(run(shop))) == []
    shop.builder.swallows["shop/api"] = [8.0]
    (first,) = result_of(run(shop)).tries
    assert (first.problem.code, first.then) == (OUT_OF_MEMORY, Again.LARGER_RUNNER)
    assert first.problem.message.startswith("RUN false exited with 1; before that the kernel ended 1 process")


def test_a_command_that_failed_beside_others_is_done_again_where_nobody_else_is(tmp_path: Path) -> None:
    """It would be no more than a failed command otherwise, and the others would be doubted for it."""
    shop = world(tmp_path, "shop/api", "shop/web")
    shop.source.commit = shop.source.commit.changed({"shop/api/Dockerfile": b"FROM scratch\nRUN false\n"})
    shop.builder.swallows["shop/api"] = [8.0, 8.0]
    meet(shop)
    api = result_of(run(shop))
    assert [(one.problem.code, one.then) for one in api.tries] == [
        (IN_DOUBT, Again.OWN_RUNNER),
        (OUT_OF_MEMORY, Again.LARGER_RUNNER),
    ]
    assert api.tries[0].problem.cause == "RUN false exited with 1"
    assert api.problem is not None and api.problem.code == "build-failed", "with enough memory it fails all the same"


def test_a_check_that_lost_a_process_is_seen_though_nothing_else_is_built(tmp_path: Path) -> None:
    """All platforms are there already: their content tags, and no tag that the directive names."""
    wide = replace(artifact("shop/api"), platforms=(AMD64, ARM64), checks=("test",))
    files = {"shop/api/Dockerfile": b"FROM scratch\n", "shop/api/app": b"1"}
    shop = World(Commit((wide,), files), tmp_path)
    assert result_of(run(shop)).status is Status.DONE
    for where, tag in list(shop.registry.tags):
        digest = shop.registry.tags[where, tag]
        if "manifests" in shop.registry.manifests[where, digest].document:
            del shop.registry.tags[where, tag]
    shop.builder.swallows["shop/api"] = [8.0]
    result = result_of(run(shop))
    assert [(one.problem.code, one.then) for one in result.tries] == [(OUT_OF_MEMORY, Again.LARGER_RUNNER)]
    assert result.status is Status.DONE


def test_nobody_else_is_given_what_is_left_there(tmp_path: Path) -> None:
    shop = world(tmp_path, "shop/api", "shop/web")
    shop.builder.swallows["shop/api"] = [8.0]
    outcome = run(shop, jobs=1)
    leases = [request.lease for request in shop.compute.rented]
    assert len(set(leases)) == 3, "one for each try, and the next artifact has another than the first"
    assert result_of(outcome, "shop/web").tries == ()


def test_what_is_ended_after_the_last_step_taints_the_runner_and_fails_nothing(tmp_path: Path) -> None:
    """While cache mounts are saved, say: what was built is good, and the next build is not blamed."""
    shop = world(tmp_path, "shop/api", "shop/web")

    class Late(Points):
        async def at(self, point: str) -> None:
            await super().at(point)
            if point == "publish manifest" and len(shop.compute.rented) == 1 and not shop.compute.returned:
                shop.compute.kills(shop.compute.rented[0].lease)

    shop.builder.keeps = True
    shop.registry.points = Late()
    outcome = run(shop, jobs=1)
    assert all(result.tries == () for result in outcome.results)
    assert len(shop.compute.rented) == 2


def test_a_cache_of_a_build_that_was_not_good_is_read_by_nobody_and_in_nobodys_way(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.builder.keeps = True
    run(shop)
    good = shop.tag(CACHE, "linux-amd64")
    shop.source.commit = shop.source.commit.changed({"shop/api/a": b"2"})
    ladder = Ladder(LADDER.tiers[:1])
    shop.source.commit = replace(shop.source.commit, sizes=replace(SIZES, ladder=ladder))
    shop.builder.swallows["shop/api"] = [8.0]
    assert result_of(run(shop)).status is Status.FAILED
    assert shop.tag(CACHE, "linux-amd64") == good, "put back"
    assert not notes.is_finished(cache(b"{}")), "what BuildKit writes has no note"
    shop.registry.blobs[CACHE, Digest.of(b'{"layers":[]}')] = b'{"layers":[]}'
    shop.registry.put(CACHE, unfinished := cache(b'{"layers":[]}'))
    shop.registry.tags[CACHE, "linux-amd64"] = unfinished.digest
    result = result_of(run(shop))
    (use,) = result.caches.values()
    assert [look.status for look in use.looked] == [LookStatus.UNFINISHED, LookStatus.ABSENT]
    assert shop.builder.requests[-1].cache_from == ()


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_runner_that_cannot_be_asked_is_not_one_without_kills(tmp_path: Path, when: str) -> None:
    shop = world(tmp_path)
    shop.compute.points = Silent(2 if when == "after" else 1)
    result = result_of(run(shop))
    assert (result.status, [one.then for one in result.tries]) == (Status.DONE, [Again.NEW_RUNNER])


class Silent(Points):
    """What is used cannot be told, at this call of all."""

    def __init__(self, number: int) -> None:
        super().__init__()
        self.number, self.asked = number, 0

    async def at(self, point: str) -> None:
        await super().at(point)
        if point == "usage":
            self.asked += 1
            if self.asked == self.number:
                raise LianError(Problem("builder-lost", "it is silent", next=Next.RETRY))


def test_runners_that_are_dead_are_counted_though_they_tell_nothing(tmp_path: Path) -> None:
    """Where all are lost, no more are asked for after seven."""
    names = [f"shop/a{number}" for number in range(9)]
    shop = world(tmp_path, *names, **{name.removeprefix("shop/"): ["builder-lost"] * 9 for name in names})
    shop.compute.points = Dead()
    outcome = run(shop, jobs=1)
    assert {result.status for result in outcome.results} == {Status.FAILED}
    assert len(shop.compute.rented) == MOST_LOST + 1


class Dead(Points):
    """A runner tells what is used until a build has failed there."""

    async def at(self, point: str) -> None:
        await super().at(point)
        if point == "usage" and self.seen.count("usage") % 2 == 0:
            raise LianError(Problem("builder-lost", "it is gone", next=Next.RETRY))
