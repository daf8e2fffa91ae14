"""`lian sizing` through the ports: what is told of one artifact, and what is suggested for a repo."""

from __future__ import annotations

import asyncio
import io
import subprocess
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.audit.sizing import Explanation, Suggestions, explain, suggest
from reconciler.cli import exits
from reconciler.cli.views import sizing as view
from reconciler.model.desired import Wanted
from reconciler.model.problem import LianError, Problem
from reconciler.model.tier import BuildSpec, Ladder, RunnerOverride
from reconciler.plan.select import Selection
from reconciler.ports.compute import Usage
from reconciler.reconcile import Options, reconcile_once
from reconciler.sizing.choose import Rule, size
from tests import strategies as some
from tests.apply.test_runs import GIB, again, run, world
from tests.cli.test_views import steers
from tests.commits import LADDER, SIZES, artifact
from tests.schemas.evaluation import validator

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.artifact import Artifact
    from reconciler.model.tier import Sizes
    from reconciler.sizing.evidence import Evidence
    from tests.fakes import World


def told(one: World, name: str = "shop/api") -> Explanation:
    found = asyncio.run(explain(one.ports(), name))
    validator("sizing").validate(found.to_json())
    return found


def suggested(one: World, *only: str) -> Suggestions:
    found = asyncio.run(suggest(one.ports(), only))
    validator("sizing_suggestions").validate(found.to_json(view.patches(found)))
    return found


def shown(found: Explanation) -> str:
    stream = io.StringIO()
    view.show(found, stream)
    assert all(len(line) <= 80 for line in stream.getvalue().splitlines())
    return stream.getvalue()


# -- explain


def test_before_anything_was_built_the_language_decides(tmp_path: Path) -> None:
    found = told(world(tmp_path, artifact("shop/api", language="rust")))
    assert (found.sizing.rule, exits.of_sizing(found)) == (Rule.LANGUAGE, 0)
    text = shown(found)
    assert "shop/api  medium (4 cpu, 8 GiB), 60 min" in text
    assert "the default of the language rust" in text
    assert "small 2/4 → [medium 4/8] → large 8/16" in text


def test_earlier_runs_are_told_with_their_numbers(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.compute.one_build = Usage(5 * GIB, 0.001)
    run(shop)
    for number in range(11):
        again(shop, 10 + number)
    found = told(shop)
    assert found.sizing.rule is Rule.EARLIER_RUNS
    text = " ".join(shown(found).split())
    assert "memory 8 GiB P95 of 12 runs is 5 GiB, × 1.2 is 6 GiB" in text
    assert text.count("s, 5.0 GiB, 0.0 cpu s, ") == text.count(" sent, 0 of 1 step cached, ") == 12
    assert shop.builder.requests[-1].tier == found.sizing.tier, "what is explained is what builds get"


def test_a_price_is_told_where_there_is_one(tmp_path: Path) -> None:
    shop = world(tmp_path)
    priced = Ladder(tuple(replace(tier, hourly=0.25) for tier in LADDER.tiers), "EUR")
    shop.source.commit = replace(shop.source.commit, sizes=replace(SIZES, ladder=priced))
    found = told(shop)
    assert "price 0.25 EUR an hour" in shown(found)
    assert (found.to_json()["machine"]["hourly"], found.to_json()["currency"]) == (0.25, "EUR")


def test_a_directive_and_a_spec_are_named(tmp_path: Path) -> None:
    shop = world(tmp_path, artifact("shop/api", runner=RunnerOverride(cpu=3)))
    spec = BuildSpec("shop/api/.build-spec.ncl", memory_gb=6, time_budget=9)
    shop.source.commit = replace(shop.source.commit, specs={"shop/api": spec})
    text = shown(told(shop))
    assert "cpu     3  the directive says so (directives/shop.ncl)" in text
    assert "memory  6 GiB  shop/api/.build-spec.ncl says so" in text
    assert "time    9 min  shop/api/.build-spec.ncl says so" in text


def test_others_of_the_workspace_are_named(tmp_path: Path) -> None:
    there = artifact("shop/api")
    shop = world(tmp_path, there)
    shop.compute.one_build = Usage(6 * GIB, 0.0)
    run(shop)
    shop.source.commit = shop.source.commit.changed(artifacts=(there, artifact("shop/new")))
    text = " ".join(shown(told(shop, "shop/new")).split())
    assert "maximum of 1 run of others in the workspace is 6 GiB" in text
    assert "runs of shop/api" in text


def test_what_needs_more_than_there_is_says_so(tmp_path: Path) -> None:
    shop = world(tmp_path)
    shop.compute.one_build = Usage(100 * GIB, 0.0)
    run(shop)
    text = " ".join(shown(told(shop)).split())
    assert "memory 16 GiB" in text
    assert "it needs 120 GiB, and this is the largest tier" in text


def test_what_is_held_says_why(tmp_path: Path) -> None:
    shop = world(tmp_path)
    problem = Problem("nickel-contract", "the file has no field `cpus`", "shop/api/.build-spec.ncl", 1, 3)
    held = problem.of("shop/api")
    shop.source.commit = replace(shop.source.commit, holds={"shop/api": problem}, problems=(held,))
    found = told(shop)
    assert exits.of_sizing(found) == 1
    assert "held[nickel-contract]" in shown(found)
    shop.source.commit = replace(shop.source.commit, problems=())
    assert exits.of_sizing(told(shop)) == 4


def test_runs_that_cannot_be_read_are_told(tmp_path: Path) -> None:
    shop = world(tmp_path)
    run(shop)
    shop.registry.unreadable = {"latest"}
    found = told(shop)
    assert (len(found.unread), exits.of_sizing(found)) == (1, 4)


def test_an_artifact_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(LianError) as raised:
        told(world(tmp_path), "shop/apy")
    assert raised.value.problems[0].code == "selection-empty"


def test_explaining_writes_nothing(tmp_path: Path) -> None:
    shop = world(tmp_path)
    run(shop)
    before = list(shop.registry.journal)
    told(shop)
    suggested(shop)
    assert shop.registry.journal == before


@given(some.artifacts, some.specs, some.evidences, some.all_sizes, st.lists(some.problems, max_size=1))
def test_whatever_is_told_steers_nothing_and_satisfies_its_schema(
    a: Artifact, spec: BuildSpec | None, evidence: Evidence, sizes: Sizes, problems: list[Problem]
) -> None:
    wanted = Wanted(a, None, tuple(problems), spec)
    found = Explanation("0" * 40, wanted, size(a, spec, evidence, sizes), sizes.ladder, unread=tuple(problems))
    stream = io.StringIO()
    view.show(found, stream)
    assert not steers(stream.getvalue())
    validator("sizing").validate(found.to_json())


# -- suggest


def grown(folder: Path, *artifacts: Artifact, gib: int = 6) -> World:
    """Artifacts whose builds needed so much."""
    shop = world(folder, *artifacts)
    shop.compute.one_build = Usage(gib * GIB, 0.0)
    run(shop, jobs=1)
    return shop


def test_a_patch_that_git_applies_is_what_later_commits_say(tmp_path: Path) -> None:
    shop = grown(tmp_path, artifact("shop/api"), artifact("web/site"))
    old = "{ memory_gb = 2, # too little\n}\n"
    shop.source.commit = shop.source.commit.changed({"web/site/.build-spec.ncl": old.encode()})
    spec = BuildSpec("web/site/.build-spec.ncl", memory_gb=2)
    shop.source.commit = replace(shop.source.commit, specs={"web/site": spec})
    found = suggested(shop)
    assert [one.file for one in found.suggestions] == ["shop/api/.build-spec.ncl", "web/site/.build-spec.ncl"]
    repo = tmp_path / "repo"
    (repo / "web/site").mkdir(parents=True)
    (repo / "web/site/.build-spec.ncl").write_text(old)
    subprocess.run(["git", "init", "-q"], cwd=repo, check=True)
    stream = io.StringIO()
    view.show_patch(found, stream)
    subprocess.run(["git", "apply", "-"], input=stream.getvalue(), text=True, cwd=repo, check=True)
    written = (repo / "shop/api/.build-spec.ncl").read_text()
    assert written == "# What 1 run of shop/api needed.\n{\n  cpu = 4,\n  memory_gb = 8,\n}\n"
    assert (repo / "web/site/.build-spec.ncl").read_text() == "{\n  cpu = 4, memory_gb = 8, # too little\n}\n"
    said = {name: BuildSpec("x", 4, 8) for name in ("shop/api", "web/site")}
    shop.source.commit = replace(shop.source.commit, specs=said)
    assert suggested(shop).suggestions == ()


def test_nothing_is_suggested_where_nothing_is_known(tmp_path: Path) -> None:
    assert suggested(world(tmp_path)).suggestions == ()


def test_nothing_is_suggested_where_all_is_right(tmp_path: Path) -> None:
    found = suggested(grown(tmp_path, gib=1))
    assert (found.suggestions, found.by_hand, found.advice) == ((), (), ())
    stream = io.StringIO()
    view.show_beside(found, stream)
    assert "no size that is written down should be another one" in stream.getvalue()


def test_artifacts_of_one_context_are_asked_together(tmp_path: Path) -> None:
    both = [artifact(f"shop/{name}", context=artifact("shop/api").context) for name in ("api", "web")]
    shop = grown(tmp_path, *both)
    (one,) = suggested(shop, "shop/web").suggestions
    assert one.wish.artifacts == ("shop/api", "shop/web")


def test_runs_of_others_are_not_written_down(tmp_path: Path) -> None:
    shop = grown(tmp_path, artifact("shop/api"))
    new = artifact("shop/new")
    shop.source.commit = shop.source.commit.changed(artifacts=(artifact("shop/api"), new))
    assert [one.file for one in suggested(shop).suggestions] == ["shop/api/.build-spec.ncl"]


def test_a_file_that_is_more_than_a_record_and_a_directive_are_told_beside(tmp_path: Path) -> None:
    fixed = artifact("web/site", runner=RunnerOverride(memory_gb=2))
    shop = grown(tmp_path, artifact("shop/api"), fixed)
    shop.source.commit = shop.source.commit.changed({"shop/api/.build-spec.ncl": b"let n = 1 in { cpu = n }"})
    shop.source.commit = replace(shop.source.commit, specs={"shop/api": BuildSpec("shop/api/.build-spec.ncl", 1)})
    found = suggested(shop)
    assert found.suggestions == ()
    stream = io.StringIO()
    view.show_beside(found, stream)
    text = " ".join(stream.getvalue().split())
    assert "shop/api/.build-spec.ncl is more than a plain record: have it say cpu = 4, memory_gb = 8 yourself" in text
    assert "web/site 2 cpu, 2 GiB" not in text and "its directive says the size, change `runner` there" in text
    assert exits.of_suggestions(found) == 0


def test_what_is_held_is_left_out(tmp_path: Path) -> None:
    shop = grown(tmp_path)
    problem = Problem("nickel-contract", "the file has no field `cpus`", "shop/api/.build-spec.ncl", 1, 3)
    shop.source.commit = replace(shop.source.commit, holds={"shop/api": problem}, problems=(problem.of("shop/api"),))
    found = suggested(shop)
    assert (found.suggestions, exits.of_suggestions(found)) == ((), 1)


def test_a_narrowed_pass_and_a_whole_one_give_the_same_size(tmp_path: Path) -> None:
    shop = grown(tmp_path, artifact("shop/api"))
    shop.source.commit = shop.source.commit.changed(artifacts=(artifact("shop/api"), artifact("shop/new")))
    expected = told(shop, "shop/new").sizing.tier
    asyncio.run(reconcile_once(shop.ports(), Options(Selection(("shop/new",)))))
    assert shop.builder.requests[-1].tier == expected
