"""`lian stats` through the ports."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING

import pytest

from reconciler.audit.stats import SLOWEST, Stats, stats
from reconciler.cli import exits
from reconciler.cli.views import stats as view
from reconciler.model.problem import LianError
from reconciler.observe import evidence as reading
from reconciler.ports.compute import Usage
from tests.apply.test_runs import GIB, again, run, world
from tests.commits import artifact
from tests.schemas.evaluation import validator

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fakes import World


def told(one: World, *only: str) -> Stats:
    found = asyncio.run(stats(one.ports(), only))
    validator("stats").validate(found.to_json())
    return found


def shown(found: Stats) -> str:
    stream = io.StringIO()
    view.show(found, stream)
    assert all(len(line) <= 80 for line in stream.getvalue().splitlines())
    return stream.getvalue()


def test_before_anything_was_built_there_is_nothing(tmp_path: Path) -> None:
    found = told(world(tmp_path))
    assert (found.all.artifacts, found.all.built, found.all.builds, found.all.p50) == (1, 0, 0, None)
    assert "nothing is known" in shown(found)
    assert exits.of_stats(found) == 0


def test_runs_are_counted_by_workspace(tmp_path: Path) -> None:
    shop = world(tmp_path, artifact("shop/api"), artifact("shop/web"), artifact("www/site"))
    run(shop)
    again(shop, 2)
    again(shop, 3)
    found = told(shop)
    shops, www = found.workspaces["shop"], found.workspaces["www"]
    assert (shops.artifacts, shops.built, shops.builds, shops.steps, shops.hits) == (2, 2, 4, 4, 0)
    assert (www.builds, found.all.builds, found.all.artifacts) == (1, 5, 3)
    assert (shops.forecasts.builds, www.forecasts.builds) == (2, 0)
    assert 0 <= shops.forecasts.within_p50 <= shops.forecasts.within_p95 <= 2
    assert {str(one.artifact) for one in found.slowest} == {"shop/api", "shop/web", "www/site"}
    assert [one.p50 for one in found.slowest] == sorted((one.p50 for one in found.slowest), reverse=True)
    text = shown(found)
    assert "all" in text and "within P95" in text and "2 of 2" in text
    assert text.count("www") == 2, "of its forecasts there is nothing to tell"


def test_the_most_memory_is_told(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.compute.one_build = Usage(3 * GIB, 0.1)
    run(shop)
    assert told(shop).all.peak_memory == 3 * GIB
    assert "3.0 GiB" in shown(told(shop))


def test_only_what_is_chosen_is_read(tmp_path: Path) -> None:
    shop = world(tmp_path, artifact("shop/api"), artifact("shop/web"))
    run(shop)
    before = len(shop.points.seen)
    assert told(shop, "shop/w*").all.artifacts == 1
    assert shop.points.seen[before:].count("referrers") == 1
    with pytest.raises(LianError, match="no artifact matches"):
        told(shop, "shop/wbe")


def test_what_cannot_be_read_is_told_and_costs_nothing_else(tmp_path: Path) -> None:
    shop = world(tmp_path, artifact("shop/api"), artifact("shop/web", tags=("2",)))
    run(shop)
    shop.registry.unreadable = {"2"}
    found = told(shop)
    assert (found.all.builds, exits.of_stats(found)) == (1, 4)
    assert [problem.code for problem in found.unread] == ["registry-down"]


def test_many_are_read_a_few_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "READ_TOGETHER", 4)
    names = [f"shop/n{number:02}" for number in range(SLOWEST + 5)]
    shop = world(tmp_path, *map(artifact, names))
    run(shop)
    found = told(shop)
    assert (found.all.built, len(found.slowest)) == (SLOWEST + 5, SLOWEST)
