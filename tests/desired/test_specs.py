"""What a context says of its builds' size: real git, real Nickel."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.desired.nickel.settings import EvaluatorSettings
from reconciler.identity.resolve import identify
from reconciler.model.name import ArtifactName
from reconciler.model.tier import BuildSpec, RunnerOverride
from tests.desired.repos import SYMLINK, Content
from tests.desired.test_source import Bench, codes, directives, images

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.desired import Desired, Wanted


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> EvaluatorSettings:
    return EvaluatorSettings(cache=tmp_path_factory.mktemp("evaluations") / "cache.sqlite", workers=1)


@pytest.fixture
def bench(tmp_path: Path, evaluations: EvaluatorSettings) -> Bench:
    return Bench(tmp_path, evaluations)


def shop(**specs: Content) -> dict[str, Content]:
    """Two artifacts in folders of their own, with these specs in them."""
    files = {"directives/shop.ncl": directives("shop", "base", "api"), **images("base", "api")}
    return {**files, **{f"images/{name}/.build-spec.ncl": text for name, text in specs.items()}}


def of(desired: Desired, name: str) -> Wanted:
    return desired.wanted[ArtifactName.parse(f"shop/{name}")]


def key(wanted: Wanted) -> str:
    return identify(wanted, {}, {}, builder=None, moment=0.0).key


def test_a_spec_is_read_with_its_context(bench: Bench) -> None:
    spec = 'let B = import "schemas/build_spec.ncl" in { cpu = 2 + 2, memory_gb = 7.5, language = "go" } | B.BuildSpec'
    desired = bench.load(shop(api=spec))
    assert of(desired, "api").spec == BuildSpec("images/api/.build-spec.ncl", 4, 7.5, None, "go")
    assert of(desired, "base").spec is None
    assert desired.problems == ()


def test_a_spec_is_part_of_no_key(bench: Bench) -> None:
    without = bench.load(shop())
    small, large = bench.load(shop(api="{ cpu = 2 }")), bench.load(shop(api="{ cpu = 16 }"))
    assert key(of(without, "api")) == key(of(small, "api")) == key(of(large, "api"))
    assert of(without, "api").materials == of(large, "api").materials


@pytest.mark.parametrize(
    ("text", "place", "words"),
    [
        ("{\n  cpu = 1000,\n}", "images/api/.build-spec.ncl:2:3", "at most 256"),
        ("{\n  cpus = 2,\n}", "images/api/.build-spec.ncl:2:3", "cpus"),
        ("{ cpu = ", "images/api/.build-spec.ncl:1", ""),
        ("{ cpu = undefined_name }", "images/api/.build-spec.ncl:1:9", "undefined_name"),
        ('{ cpu = import "/etc/passwd" }', "images/api/.build-spec.ncl:1", ""),
    ],
)
def test_a_bad_spec_is_one_problem_at_its_place_and_costs_its_artifact_alone(
    bench: Bench, text: str, place: str, words: str
) -> None:
    desired = bench.load(shop(api=text))
    (problem,) = desired.problems
    assert problem.place.startswith(place)
    assert words in problem.message
    assert problem.artifact == "shop/api"
    assert of(desired, "api").materials is None
    assert [held.code for held in of(desired, "api").holds] == [problem.code]
    assert of(desired, "base").materials is not None


def test_a_spec_that_is_a_link_is_not_followed(bench: Bench) -> None:
    desired = bench.load({**shop(api=(SYMLINK, b"../spec.ncl")), "images/spec.ncl": "{ cpu = 2 }"})
    assert codes(desired) == [("build-spec-is-link", "images/api/.build-spec.ncl")]
    assert of(desired, "base").holds == ()


def test_artifacts_of_one_context_share_its_spec(bench: Bench) -> None:
    both = [f'{name} = lian.make_artifact {{ image = "shop/{name}", context.path = "./images/base" }}' for name in "ab"]
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", *both), **images("base")}
    desired = bench.load({**files, "images/base/.build-spec.ncl": "{ memory_gb = 8 }"})
    assert {wanted.spec and wanted.spec.memory_gb for wanted in desired.wanted.values()} == {8}
    broken = bench.load({**files, "images/base/.build-spec.ncl": "{ memory_gb = 0 }"})
    assert {problem.artifact for problem in broken.problems} == {"shop/a", "shop/b"}
    assert len({problem.of("") for problem in broken.problems}) == 1


def test_a_context_behind_a_link_has_the_spec_of_its_folder(bench: Bench) -> None:
    files: dict[str, Content] = {**shop(base="{ cpu = 8 }"), "way": (SYMLINK, b"images/base")}
    linked = 'x = lian.make_artifact { image = "shop/x", context.path = "way" }'
    files["directives/shop.ncl"] = directives("shop", linked)
    desired = bench.load(files)
    assert of(desired, "x").spec == BuildSpec("images/base/.build-spec.ncl", 8)


def test_the_root_may_be_a_context(bench: Bench) -> None:
    whole = 'x = lian.make_artifact { image = "shop/x" }'
    files: dict[str, Content] = {"directives/shop.ncl": directives("shop", whole), "Dockerfile": b"FROM scratch\n"}
    files[".build-spec.ncl"] = "{ cpu = 3 }"
    assert of(bench.load(files), "x").spec == BuildSpec(".build-spec.ncl", 3)


LADDER = """{
  tiers = { tiny = { cpu = 1, memory_gb = 0.5, time_budget = 5 }, huge = { cpu = 64, memory_gb = 256 } },
  compute = { provider = 'Local, tiers = %s },
}"""


def test_the_sizes_ship_with_lian(bench: Bench) -> None:
    source = bench.source()
    bench.load(shop())
    asyncio.run(source.load())
    sizes = asyncio.run(source.sizes())
    assert [(t.name, t.cpu, t.memory_gb) for t in sizes.ladder.tiers] == [
        ("small", 2, 4),
        ("medium", 4, 8),
        ("large", 8, 16),
        ("xlarge", 16, 32),
    ]
    assert sizes.ladder.currency is None
    got = {name: sizes.of_language(name) for name in ("rust", "go", "java", "kotlin", "scala", "cobol", None)}
    minutes = {"rust": (4, 8, 60), "go": (2, 4, 30), "cobol": (2, 4, 30), None: (2, 4, 30)}
    assert {name: (t.cpu, t.memory_gb, t.time_budget) for name, t in got.items()} == minutes | dict.fromkeys(
        ("java", "kotlin", "scala"), (4, 8, 45)
    )


def test_a_fleet_has_its_own_ladder(bench: Bench) -> None:
    source = bench.source()
    bench.load({**shop(), "lian.ncl": LADDER % '["tiny", "medium", "huge"]'})
    asyncio.run(source.load())
    ladder = asyncio.run(source.sizes()).ladder
    assert [(t.name, t.memory_gb, t.time_budget) for t in ladder.tiers] == [
        ("tiny", 0.5, 5),
        ("medium", 8, None),
        ("huge", 256, None),
    ]


@pytest.mark.parametrize(
    ("names", "code", "place"),
    [('["tiny", "middle"]', "tier-unknown", "lian.ncl:3:"), ('["huge", "tiny"]', "tiers-unordered", "lian.ncl:3:")],
)
def test_a_ladder_that_is_none_holds_everything_and_is_told(bench: Bench, names: str, code: str, place: str) -> None:
    desired = bench.load({**shop(), "lian.ncl": LADDER % names})
    (problem,) = desired.problems
    assert (problem.code, problem.place.startswith(place)) == (code, True), problem
    assert {wanted.holds[0].code for wanted in desired.wanted.values()} == {code}


def test_a_runner_is_a_tier_by_name(bench: Bench) -> None:
    files = shop()
    files["directives/shop.ncl"] = directives("shop", "base", more='  runner = { tier = "large", cpu = 3 },\n')
    assert of(bench.load(files), "base").artifact.runner == RunnerOverride(cpu=3, tier="large")


def test_a_tier_that_is_not_there_costs_who_asks_for_it_alone(bench: Bench) -> None:
    files = shop()
    own = 'api = lian.make_artifact {\n image = "shop/api", context.path = "images/api",\n runner.tier = "cx22" }'
    files["directives/shop.ncl"] = directives("shop", "base", own)
    desired = bench.load(files)
    (problem,) = desired.problems
    assert problem.message == "shop/api: there is no tier cx22; the ladder has small, medium, large, xlarge"
    assert problem.place.startswith("directives/shop.ncl:8:")
    assert [str(name) for name in desired.wanted] == ["shop/base"]
    files["directives/shop.ncl"] = directives("shop", "base", more='  runner.tier = "cx22",\n')
    (problem,) = bench.load(files).problems
    assert problem.place.startswith("directives/shop.ncl:7:")
