"""The policy of a commit: real git, real Nickel."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from reconciler.desired.build_source import BuildSource
from reconciler.desired.nickel.settings import EvaluatorSettings
from reconciler.desired.rules import read_rules
from reconciler.model.artifact import Place
from reconciler.model.name import ArtifactName
from reconciler.model.one_build import ByFile, ByFlags
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from reconciler.model.rule import ArgRules, Choice, Most, Rule, Rulebook
from reconciler.reconcile import judged
from tests.desired.repos import SUBMODULE, SYMLINK, Content, Repo
from tests.desired.test_source import Bench, directives, images

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.desired.source import GitSource
    from reconciler.model.desired import Desired
    from reconciler.model.problem import Problem


FULL = """{
  rules = {
    everything = {
      because = "so",
      artifacts = ["shop/*"],
      except = ["shop/old"],
      bases = { allow = ["docker.io/library/*"], deny = ["*:latest"], pinned = true },
      image = { allow = ["oci-layout/*"], deny = ["*"] },
      tags = { allow = ["v*"], deny = ["dev"] },
      platforms = { allow = ["linux/arm64/v8"], require = ["linux/amd64"] },
      labels.require = { "org.opencontainers.image.source" = "https://*" },
      args = { deny = ["A"], no_secrets = true, except = ["B"] },
      runner = { max = { cpu = 1, memory_gb = 2.5, time_budget = 3 }, tiers = ["small"] },
      secrets = { allow = [], deny = ["x"] },
      max_age = "30d",
      force = 'Deny,
    },
    nothing = {},
  },
}
"""


@pytest.fixture(scope="module")
def evaluations(tmp_path_factory: pytest.TempPathFactory) -> EvaluatorSettings:
    return EvaluatorSettings(cache=tmp_path_factory.mktemp("evaluations") / "cache.sqlite", workers=1)


@pytest.fixture
def bench(tmp_path: Path, evaluations: EvaluatorSettings) -> Bench:
    return Bench(tmp_path, evaluations)


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "rules")


def read(repo: Repo, evaluator: EvaluatorSettings, files: dict[str, Content]) -> Rulebook:
    return asyncio.run(read_rules(repo.tree(files), evaluator))


def told(problems: tuple[Problem, ...]) -> list[tuple[str, str]]:
    return [(problem.code, problem.place) for problem in problems]


def test_without_a_policy_there_is_no_rule(repo: Repo, evaluations: EvaluatorSettings) -> None:
    assert read(repo, evaluations, {"lian.ncl": "{}"}) == Rulebook()
    assert read(repo, evaluations, {"policy/README.md": "x", "policy/empty.ncl": "{}"}) == Rulebook()


def test_a_rule_is_read_whole_and_knows_its_places(repo: Repo, evaluations: EvaluatorSettings) -> None:
    book = read(repo, evaluations, {"policy/p.ncl": FULL})
    assert book.problems == ()
    everything, nothing = book.rules
    place = Place("policy/p.ncl", 3, 5)
    assert everything == Rule(
        "everything",
        place,
        because="so",
        artifacts=("shop/*",),
        excepted=("shop/old",),
        bases=Choice(("docker.io/library/*",), ("*:latest",)),
        pinned=True,
        image=Choice(("oci-layout/*",), ("*",)),
        tags=Choice(("v*",), ("dev",)),
        platforms=frozenset({Platform.parse("linux/arm64")}),
        required_platforms=frozenset({Platform.parse("linux/amd64")}),
        labels={"org.opencontainers.image.source": "https://*"},
        args=ArgRules(("A",), True, ("B",)),
        most=Most(1, 2.5, 3),
        tiers=("small",),
        secrets=Choice((), ("x",)),
        max_age="30d",
        force=False,
        places=everything.places,
    )
    assert nothing == Rule("nothing", Place("policy/p.ncl", 18, 5))
    assert everything.place_of("bases", "deny") == Place("policy/p.ncl", 7, 50)
    assert everything.place_of("labels", "require", "org.opencontainers.image.source").line == 11
    assert everything.place_of("runner", "max", "memory_gb") == Place("policy/p.ncl", 13, 35)


def test_all_files_at_any_depth_are_read(repo: Repo, evaluations: EvaluatorSettings) -> None:
    files: dict[str, Content] = {
        "policy/b.ncl": "{ rules.one = {} }",
        "policy/team/deep/a.ncl": "{ rules.one = {}, rules.two = {} }",
        "other/policy/c.ncl": "broken",
    }
    book = read(repo, evaluations, files)
    assert [(rule.place.file, rule.name) for rule in book.rules] == [
        ("policy/b.ncl", "one"),
        ("policy/team/deep/a.ncl", "one"),
        ("policy/team/deep/a.ncl", "two"),
    ]


@pytest.mark.parametrize(
    ("text", "code", "place"),
    [
        ("let f = fun x => x in { rules = f {} }", "policy-not-data", "policy/p.ncl:1:1"),
        ('{\n  rules = (import "other.ncl"),\n}', "policy-not-data", "policy/p.ncl:2:12"),
        ('{ rules.a = import "schemas/policy.ncl" }', "policy-not-data", "policy/p.ncl:1:13"),
        ("{ rules | default = {} }", "policy-not-data", "policy/p.ncl:1:9"),
        ("{ rules = }", "nickel-syntax", "policy/p.ncl:1:11"),
        ("{ rules.a.tgas.deny = [] }", "nickel-contract", "policy/p.ncl:1:11"),
        ('{ rules.a = { bases.allow = ["python"] } }', "nickel-contract", "policy/p.ncl:1:30"),
        ("{ rules.a.runner.max.cpu = 1e999999999 }", "nickel-limit", "policy/p.ncl:1:28"),
        ("[]", "nickel-contract", "policy/p.ncl:1:1"),
        ("{}" + " " * (1 << 20), "nickel-limit", "policy/p.ncl"),
        ("[" * 100 + "]" * 100, "nickel-limit", "policy/p.ncl:1:65"),
        ("", "nickel-syntax", "policy/p.ncl:1:1"),
        ("\ufeff{}", "nickel-syntax", "policy/p.ncl:1:1"),
        (b"\xff", "nickel-syntax", "policy/p.ncl:1:1"),
        ((SYMLINK, b"other.ncl"), "policy-is-link", "policy/p.ncl"),
    ],
)
def test_a_bad_file_is_told_and_the_others_are_read(
    repo: Repo,
    evaluations: EvaluatorSettings,
    text: Content,
    code: str,
    place: str,
) -> None:
    book = read(repo, evaluations, {"policy/p.ncl": text, "policy/good.ncl": "{ rules.a = {} }", "other.ncl": "{}"})
    assert told(book.problems) == [(code, place)]
    assert book.problems[0].hint or code.startswith("nickel")
    assert [rule.name for rule in book.rules] == ["a"]


@pytest.mark.parametrize(
    "node", [(SYMLINK, b"rules"), (SUBMODULE, b"0" * 40), b"a file"], ids=["link", "submodule", "file"]
)
def test_a_policy_that_is_no_folder_is_not_no_policy(
    repo: Repo,
    evaluations: EvaluatorSettings,
    node: Content,
) -> None:
    book = read(repo, evaluations, {"policy": node, "rules/p.ncl": "{}"})
    assert told(book.problems) == [("policy-is-link", "policy")]


# -- with what it is about

_DENY = '{{ rules.r = {{ artifacts = ["{}"], {} }} }}'


def law(bench: Bench, files: dict[str, Content]) -> Desired:
    """As a pass loads it, with the places of what breaks a rule."""
    bench.load(files)
    source = bench.source()
    return asyncio.run(_judged(source))


async def _judged(source: GitSource) -> Desired:
    return await judged(await source.load(), source)


def test_a_commit_comes_with_its_rules(bench: Bench) -> None:
    files = {"directives/shop.ncl": directives("shop", "api"), "policy/p.ncl": FULL, **images("api")}
    desired = bench.load(files)
    assert [rule.name for rule in desired.rules.rules] == ["everything", "nothing"]
    assert (desired.problems, desired.notes) == ((), ("policy/p.ncl: the rule nothing demands nothing",))
    wanted = next(iter(desired.wanted.values()))
    assert wanted.holds == ()


def test_a_policy_is_no_directive(bench: Bench) -> None:
    files = {
        "lian.ncl": '{ directives = ["**/*.ncl"] }',
        "shop.ncl": directives("shop", "api"),
        "policy/p.ncl": "{ rules.a = {} }",
        **images("api"),
    }
    assert bench.load(files).problems == ()


def test_a_rule_about_nothing_is_noted(bench: Bench) -> None:
    files = {
        "directives/shop.ncl": directives("shop", "api"),
        "policy/p.ncl": _DENY.format("shpo/*", 'tags.deny = ["x"]'),
        **images("api"),
    }
    (note,) = bench.load(files).notes
    assert note == "policy/p.ncl: the rule r is about no artifact of this commit (did you mean shop/*?)"


@pytest.mark.parametrize(
    ("says", "demands"),
    [
        ("", False),
        ('because = "later"', False),
        ("bases = {}, tags.deny = []", False),
        ('args.except = ["X"]', False),
        ("runner.max = {}", False),
        ("force = 'Deny", True),
        ("bases.allow = []", True),
        ("runner.max.cpu = 4", True),
        ('platforms.require = ["linux/amd64"]', True),
    ],
)
def test_a_rule_that_demands_nothing_is_noted(bench: Bench, says: str, demands: bool) -> None:
    files = {
        "directives/shop.ncl": directives("shop", "api"),
        "policy/p.ncl": _DENY.format("shop/*", says),
        **images("api"),
    }
    assert bench.load(files).notes == (() if demands else ("policy/p.ncl: the rule r demands nothing",))


TEXT = """let lian = import "defaults/build_directives.ncl" in
let common = { labels = { a = "b" } } in
lian.make_build_directives {
  workspace = "shop",
  artifacts = {
    api = lian.make_artifact ({
      image = "shop/api",
      context.path = "images/api",
      contexts.tools = { image = "quay.io/a/tools:1" },
      args = { NPM_TOKEN = "x" },
      tags = ["latest"],
    } & common),
    web = lian.make_artifact { image = "shop/web", context.path = "images/web", runner.cpu = 9 },
  },
  runner = { memory_gb = 99 },
}
"""
DOCKERFILE = b"""ARG VERSION=3.12
FROM python:$VERSION AS a
FROM scratch AS b
FROM alpine \\
  AS c
COPY --from=a / /
COPY --from=tools / /
"""


def test_places_are_those_of_the_text(bench: Bench) -> None:
    policy = """{ rules.r = { artifacts = ["shop/*"], bases.allow = [], args.no_secrets = true,
      labels.require = { a = "c" }, runner.max = { cpu = 1, memory_gb = 1 }, tags.deny = ["latest"],
      max_age = "1d" } }"""
    files: dict[str, Content] = {
        "directives/shop.ncl": TEXT,
        "policy/p.ncl": policy,
        "images/api/Dockerfile": DOCKERFILE,
        "images/web/Dockerfile": b"FROM scratch\nCOPY . /\n",
        "images/web/.build-spec.ncl": "{\n  memory_gb = 98,\n}",
    }
    desired = law(bench, files)
    told = {(p.artifact, p.message.removeprefix("the rule r ")): p.place for p in desired.problems}
    file = "directives/shop.ncl"
    assert told == {
        ("shop/api", "does not allow the base docker.io/library/python:3.12"): "images/api/Dockerfile:2",
        ("shop/api", "does not allow the base docker.io/library/alpine:latest"): "images/api/Dockerfile:4:6",
        ("shop/api", "does not allow the base quay.io/a/tools:1"): f"{file}:9:16",
        (
            "shop/api",
            "wants no secret in an argument, and NPM_TOKEN is named like one (it ends in TOKEN)",
        ): f"{file}:10:16",
        ("shop/api", "wants the label a to match c, and it is b"): f"{file}:2:27",
        ("shop/api", "denies the tag latest"): f"{file}:11:7",
        ("shop/api", "requires a `max_age` of at most 1d"): f"{file}:6:5",
        ("shop/api", "allows at most 1 GB of memory, and 99 are asked for"): f"{file}:15:14",
        ("shop/web", "requires the label a"): f"{file}:13:5",
        ("shop/web", "denies the tag latest"): f"{file}:13:5",
        ("shop/web", "requires a `max_age` of at most 1d"): f"{file}:13:5",
        ("shop/web", "allows at most 1 cpu, and 9 are asked for"): f"{file}:13:88",
        ("shop/web", "allows at most 1 GB of memory, and 99 are asked for"): f"{file}:15:14",
    }


def test_a_size_of_a_build_spec_is_told_of_its_file(bench: Bench) -> None:
    files: dict[str, Content] = {
        "directives/shop.ncl": directives("shop", "api"),
        "policy/p.ncl": "{ rules.r.runner.max.memory_gb = 8 }",
        "images/api/Dockerfile": b"FROM scratch\nCOPY . /\n",
        "images/api/.build-spec.ncl": "{\n  memory_gb = 98,\n}",
    }
    assert [p.place for p in law(bench, files).problems] == ["images/api/.build-spec.ncl:2:3"]


def test_a_tier_counts_by_its_size(bench: Bench) -> None:
    files = {
        "lian.ncl": "{ tiers = { small = { cpu = 2, memory_gb = 4 }, huge = { cpu = 64, memory_gb = 256 } } }",
        "directives/shop.ncl": directives("shop", "api", "web", more='  runner.tier = "huge",\n'),
        "policy/p.ncl": _DENY.format("shop/api", "runner.max.cpu = 8"),
        **images("api", "web"),
    }
    (problem,) = law(bench, files).problems
    assert (problem.artifact, problem.place) == ("shop/api", "directives/shop.ncl:8:10")
    assert problem.message == "the rule r allows at most 8 cpu, and 64 are asked for"


def test_many_violations_in_one_file_are_placed_without_reading_it_again(bench: Bench) -> None:
    names = [f"a{i}" for i in range(300)]
    text = directives("shop", *names).replace("images/a", "images/x")
    for name in names:
        text = text.replace(f'context.path = "images/x{name[1:]}"', 'context.path = "images/x"')
    files = {"directives/shop.ncl": text, "policy/p.ncl": '{ rules.r.tags.deny = ["latest"] }', **images("x")}
    assert [problem.line for problem in sorted(law(bench, files).problems, key=lambda one: one.line or 0)] == list(
        range(5, 305)
    )


def test_another_commits_rules(bench: Bench) -> None:
    """What a pull request takes away from the policy is still in its base."""
    files = {"directives/shop.ncl": directives("shop", "api"), **images("api")}
    bench.repo.commit({**files, "policy/p.ncl": '{ rules.r.tags.deny = ["latest"] }'}, "base")
    bench.repo.commit(files)

    async def run() -> Desired:
        base, head = bench.source(rev="base"), bench.source()
        return await judged(replace(await head.load(), rules=(await base.load()).rules), head)

    (problem,) = asyncio.run(run()).problems
    assert (problem.code, problem.place) == ("policy-violation", "directives/shop.ncl:5:5")
    assert problem.cause == "policy/p.ncl:1:16 (tags.deny)"


# -- one build


def one_build(bench: Bench, asked: ByFlags | ByFile) -> Desired:
    cache, fallback = bench.folder / "cache", "https://registry.example"
    return asyncio.run(_judged(BuildSource(asked, cache=cache, fallback=fallback, evaluator=bench.evaluator)))


def by_flags(context: Path) -> ByFlags:
    image = Repository.parse("registry.example/shop/api", "")
    return ByFlags(ArtifactName.parse("shop/api"), image, "latest", str(context))


def test_one_build_keeps_the_rules_of_its_commit(bench: Bench) -> None:
    rules = 'tags.deny = ["latest"], bases.allow = []'
    files = {"directives/shop.ncl": directives("shop", "api"), "policy/p.ncl": _DENY.format("shop/*", rules)}
    bench.load({**files, **images("api"), "images/api/Dockerfile": b"FROM alpine\n"})
    told = one_build(bench, ByFile(str(bench.repo.path / "directives/shop.ncl")))
    assert [problem.place for problem in told.problems] == ["images/api/Dockerfile:1:6", "directives/shop.ncl:5:5"]
    flags = one_build(bench, by_flags(bench.repo.path / "images/api"))
    assert [problem.place for problem in flags.problems] == ["images/api/Dockerfile:1:6", "--image"]
    assert flags.notes == ()  # a rule about others is none about nothing


def test_a_folder_in_no_repository_has_no_rules(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    (folder / "policy").mkdir(parents=True)
    (folder / "policy/p.ncl").write_text("broken")
    (folder / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    told = one_build(bench, by_flags(folder))
    assert (told.problems, told.rules) == ((), Rulebook())
    assert "its policy/ has no effect: rules are read from a commit" in told.notes
