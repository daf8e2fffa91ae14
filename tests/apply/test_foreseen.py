"""Forecasts through whole passes: what is asked for them, what is written down of them, and whether caches are."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.model.cache import CacheMode, CachePolicy
from reconciler.model.forecast import Basis, Warmth
from reconciler.model.plan import Action
from reconciler.model.record import BuildRecord
from reconciler.model.run import Run, newest, runs_from_json
from reconciler.reconcile import Options, foreseen, plan_once
from tests.apply.test_runs import again, record_of, run, world
from tests.commits import Commit, artifact, chain
from tests.fakes import World

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.apply.work import Work


def looked_at(one: World, **options: object) -> Work:
    """The next plan, with its forecast."""
    chosen = Options(jobs=2, **options)  # type: ignore[arg-type]

    async def plan() -> Work:
        return await foreseen(one.ports(), await plan_once(one.ports(), chosen), chosen)

    return asyncio.run(plan())


def warmth_of(one: World, name: str = "shop/api", **options: object) -> Warmth:
    changes = {str(change.artifact): change for change in looked_at(one, **options).plan.changes}
    told = changes[name].forecast
    assert told is not None
    return told.warmth


def change(one: World, text: str, *names: str) -> None:
    one.clock.now += 60
    changed = {f"{name}/a": text.encode() for name in names or ("shop/api",)}
    one.source.commit = one.source.commit.changed(changed)


# -- what is asked


def test_in_sync_nothing_is_asked(tmp_path: Path) -> None:
    shop = world(tmp_path)
    run(shop)
    before = len(shop.points.seen)
    asyncio.run(plan_once(shop.ports(), Options()))
    plain = shop.points.seen[before:]
    before = len(shop.points.seen)
    assert looked_at(shop).plan.forecast is None
    assert shop.points.seen[before:] == plain


def test_drift_costs_one_question_however_much_is_built(tmp_path: Path) -> None:
    names = [f"shop/n{number}" for number in range(40)]
    shop = world(tmp_path, *map(artifact, names))
    run(shop)
    change(shop, "2", *names)
    before = len(shop.points.seen)
    work = asyncio.run(plan_once(shop.ports(), Options()))
    plain, before = shop.points.seen[before:], len(shop.points.seen)
    asyncio.run(foreseen(shop.ports(), work, Options()))
    assert plain.count("referrers") == 40, "the plan has read their records"
    assert shop.points.seen[before:] == ["sizes", "heads"]
    assert len(shop.registry.asked[-1]) == 40


def test_a_pass_asks_for_it_once(tmp_path: Path) -> None:
    shop = world(tmp_path)
    run(shop)
    change(shop, "2")
    before = len(shop.points.seen)
    run(shop)
    assert shop.points.seen[before:].count("sizes") == 1


# -- what is written down


def test_a_run_carries_what_was_expected_of_it(tmp_path: Path) -> None:
    shop = world(tmp_path)
    run(shop)
    (first,) = record_of(shop).runs
    assert first.forecast is None, "nothing was known"
    change(shop, "2")
    outcome = run(shop)
    (result,) = outcome.results
    second, same = record_of(shop).runs
    assert second.forecast is not None and second.forecast == result.forecast
    assert (second.forecast.p50, second.forecast.runs, second.forecast.basis) == (first.seconds, 1, Basis.ARTIFACT)
    assert (same, result.build_seconds) == (first, second.seconds)
    assert outcome.forecast is not None and outcome.forecast.builds.builds == 1
    assert outcome.seconds > 0


def test_a_record_of_an_older_lian_reads_and_is_written_as_it_was(tmp_path: Path) -> None:
    shop = world(tmp_path)
    run(shop)
    again(shop, 2)
    document = record_of(shop).to_json()
    assert "forecast" in document["runs"][0] and "forecast" not in document["runs"][1]
    del document["runs"][0]["forecast"]
    read = BuildRecord.from_json(document)
    assert (len(read.runs), read.to_json()) == (2, document)


@pytest.mark.parametrize("forecast", [1, {}, {"p50": 2, "p95": 1, "runs": 1, "basis": "artifact"}, {"p50": "x"}, []])
def test_a_forecast_that_cannot_be_read_costs_no_run(tmp_path: Path, forecast: object) -> None:
    shop = world(tmp_path)
    run(shop)
    document = record_of(shop).runs[0].to_json()
    (read,) = runs_from_json([{**document, "forecast": forecast}])
    assert (read, read.forecast) == (Run.from_json(document), None)


def test_a_run_that_two_records_tell_of_keeps_its_forecast(tmp_path: Path) -> None:
    shop = world(tmp_path)
    run(shop)
    again(shop, 2)
    known = record_of(shop).runs[0]
    bare = replace(known, forecast=None)
    for pair in ([bare, known], [known, bare]):
        (one,) = newest(pair)
        assert one.forecast == known.forecast is not None


def test_what_was_never_built_rests_on_its_workspace(tmp_path: Path) -> None:
    shop = world(tmp_path, artifact("shop/api"))
    run(shop)
    shop.source.commit = shop.source.commit.changed(artifacts=(artifact("shop/api"), artifact("shop/new")))
    forecasts = {str(c.artifact): c.forecast for c in looked_at(shop).plan.changes if c.action is Action.BUILD}
    assert forecasts.keys() == {"shop/new"}
    new = forecasts["shop/new"]
    assert new is not None and new.time is not None
    assert new.time.basis is Basis.WORKSPACE


# -- caches


def test_a_cache_is_expected_where_one_is_and_may_be_read(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.builder.keeps = True
    assert warmth_of(shop) is Warmth.COLD
    run(shop)
    change(shop, "2")
    assert warmth_of(shop) is Warmth.WARM
    assert warmth_of(shop, forced=("shop/api",)) is Warmth.COLD, "it is made anew"
    run(shop)
    assert record_of(shop).runs[0].hits == 1, "and it was"


def test_what_cannot_be_read_is_unknown(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.builder.keeps = True
    run(shop)
    change(shop, "2")
    shop.registry.unreadable = {"linux-amd64"}
    assert warmth_of(shop) is Warmth.UNKNOWN


def test_a_cache_from_before_the_artifact_was_to_be_fresh_is_none(tmp_path: Path) -> None:
    shop = world(tmp_path, artifact("shop/api", os_epoch="1"))
    shop.builder.keeps = True
    run(shop)
    change(shop, "2")
    assert warmth_of(shop) is Warmth.WARM
    shop.source.commit = shop.source.commit.changed(artifacts=(artifact("shop/api", os_epoch="2"),))
    assert warmth_of(shop) is Warmth.COLD


def test_of_what_stands_on_something_new_nobody_can_say(tmp_path: Path) -> None:
    shop = World(chain("shop/base", "shop/api"), tmp_path)
    shop.builder.keeps = True
    run(shop)
    shop.source.commit = shop.source.commit.changed({"shop/base/app": b"2"})
    assert (warmth_of(shop, "shop/base"), warmth_of(shop, "shop/api")) == (Warmth.WARM, Warmth.UNKNOWN)


def test_an_artifact_without_caches_asks_for_none(tmp_path: Path) -> None:
    shop = world(tmp_path, artifact("shop/api", cache=CachePolicy(CacheMode.OFF)))
    run(shop)
    change(shop, "2")
    assert warmth_of(shop) is Warmth.COLD
    assert not any(str(ref.tag).startswith("linux") for asked in shop.registry.asked for ref in asked)


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    shop = World(Commit((artifact("shop/api"), artifact("shop/web"))), tmp_path)
    run(shop)
    shop.source.commit = shop.source.commit.changed({"shop/api/a": b"2", "shop/web/a": b"2"})
    assert looked_at(shop).plan.to_json() == looked_at(shop).plan.to_json()
