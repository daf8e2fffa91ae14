"""What the kernel ended in steps that went on without it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.apply.tries import IN_DOUBT
from reconciler.model.attempt import Again
from reconciler.model.outcome import Status
from reconciler.model.tier import Ladder
from reconciler.ports.builder import OUT_OF_MEMORY
from tests.apply.test_tries import result_of, run, world
from tests.commits import LADDER, SIZES

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.outcome import Result
    from tests.fakes import World


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


def test_nobody_else_is_given_what_is_left_there(tmp_path: Path) -> None:
    """Neither a cache nor the runner."""
    shop = world(tmp_path, "shop/api", "shop/web")
    shop.builder.keeps = True
    shop.builder.swallows["shop/api"] = [8.0]
    outcome = run(shop, jobs=1)
    leases = [request.lease for request in shop.compute.rented]
    assert len(set(leases)) == 3, "one for each try, and the next artifact has another than the first"
    assert result_of(outcome, "shop/web").tries == ()


def test_where_nothing_counts_nothing_is_doubted(tmp_path: Path) -> None:
    shop = world(tmp_path, "shop/api", "shop/web")
    assert all(result.tries == () for result in run(shop).results)
    assert asyncio.run(shop.compute.sweep()).problems == ()
