"""Rules below policy/, with the real command: what breaks one is told with both places and never built."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.cli.test_documents import checked
from tests.e2e.bench import Bench, directive, layout_tags

if TYPE_CHECKING:
    from pathlib import Path

POLICY = """{
  rules = {
    our-bases = {
      because = "we patch these",
      artifacts = ["shop/*"],
      bases.allow = ["docker.io/library/*"],
    },
    named = { tags.deny = ["latest"], except = ["shop/old"] },
    no-secrets = { args.no_secrets = true },
    by-hand = { artifacts = ["shop/good"], force = 'Deny },
  },
}
"""
BAD = 'image = "shop/bad", context.path = "bad", args = { NPM_TOKEN = "made-up" }'
GOOD = 'image = "shop/good", context.path = "good", tags = ["1"]'


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """One artifact that keeps the rules, and one that breaks three of them."""
    made = Bench.new(tmp_path, f"oci-layout:{tmp_path / 'registry'}")
    made.commit(
        {
            "policy/platform.ncl": POLICY,
            "directives/shop.ncl": directive("shop", {"good": GOOD, "bad": BAD}),
            "good/Dockerfile": "FROM scratch\nCOPY a /\n",
            "good/a": "a",
            "bad/Dockerfile": "# mirrors\nFROM quay.io/tools/x:1 AS x\nFROM scratch\nCOPY --from=x /x /\n",
        }
    )
    return made


BOTH = {
    ("bad/Dockerfile", 2, 6): "policy/platform.ncl:6:13 (bases.allow): we patch these",
    ("directives/shop.ncl", 6, 5): "policy/platform.ncl:8:20 (tags.deny)",
    ("directives/shop.ncl", 6, 83): "policy/platform.ncl:9:25 (args.no_secrets)",
}


def violations(problems: list[dict[str, Any]]) -> dict[tuple[str, int, int], str]:
    assert {(p["code"], p["artifact"]) for p in problems} == {("policy-violation", "shop/bad")}
    return {(p["file"], p["line"], p["column"]): p["cause"] for p in problems}


def test_validate_tells_both_places(bench: Bench) -> None:
    ran = bench.lian("validate", "--json", code=1)
    assert violations(checked("problems", ran.out)["problems"]) == BOTH
    assert "made-up" not in ran.out + ran.err
    human = bench.lian("validate", code=1)
    assert "error[policy-violation]: the rule our-bases does not allow the base quay.io/tools/x:1" in human.err
    assert "  at bad/Dockerfile:2:6 (shop/bad)\n  cause: policy/platform.ncl:6:13 (bases.allow): we patch" in human.err
    assert "1 artifact valid, 3 problems" in human.out


def test_diff_tells_them_too_and_plans_the_rest(bench: Bench) -> None:
    document = checked("plan", bench.lian("diff", "--json", code=1).out)
    assert violations(document["problems"]) == BOTH
    actions = {change["artifact"]: change["action"] for change in document["changes"]}
    assert actions == {"shop/bad": "hold", "shop/good": "build"}
    human = bench.lian("diff", code=1)
    assert human.out.count("held, because it breaks a rule (policy-violation)") == 1
    assert bench.lian("diff", "--only", "shop/good", code=2).err == ""
    assert "[policy-violation]" not in human.out  # told once, on stderr
    assert "held[policy-violation]" in bench.lian("why", "shop/bad", code=4).out


def test_sources_are_told_with_their_line(bench: Bench) -> None:
    rule = '{ rules.known.sources = { allow = ["dl.example.org/*"], deny = ["*/evil/*"], pinned = true } }'
    adds = "FROM scratch\nADD https://dl.example.org/x \\\n  /x\nADD git@git.example.org:evil/r.git#main /r\n"
    bench.commit(
        {
            "policy/platform.ncl": rule,
            "directives/shop.ncl": directive("shop", {"good": GOOD, "bad": 'image = "shop/bad", context.path = "bad"'}),
            "bad/Dockerfile": adds,
        }
    )
    problems = checked("problems", bench.lian("validate", "--json", code=1).out)["problems"]
    assert [
        (p["line"], p["cause"].rpartition("(")[2], p["message"].removeprefix("the rule known ")) for p in problems
    ] == [
        (2, "sources.pinned)", "wants sources to be fixed, and https://dl.example.org/x may change"),
        (4, "sources.deny)", "denies the source git@git.example.org:evil/r.git#main"),
        (4, "sources.allow)", "does not allow the source git@git.example.org:evil/r.git#main"),
        (4, "sources.pinned)", "wants sources to be fixed, and git@git.example.org:evil/r.git#main may change"),
    ]
    assert {(p["file"], p["artifact"]) for p in problems} == {("bad/Dockerfile", "shop/bad")}


def test_what_is_mended_or_excepted_passes(bench: Bench) -> None:
    mended = 'image = "shop/bad", context.path = "good", tags = ["2"]'
    bench.commit(
        {
            "directives/shop.ncl": directive(
                "shop", {"good": GOOD, "bad": mended, "old": 'image = "shop/old", context.path = "good"'}
            )
        }
    )
    assert "3 artifacts valid" in bench.lian("validate").out


def test_a_policy_with_a_function_stops_everything(bench: Bench) -> None:
    text = '{\n  rules = {\n    clever = { tags.deny = (fun x => [x]) "latest" },\n  },\n}\n'
    bench.commit({"policy/clever.ncl": text})
    problems = checked("problems", bench.lian("validate", "--json", code=1).out)["problems"]
    (clever,) = [p for p in problems if p["code"] == "policy-not-data"]
    assert (clever["file"], clever["line"], clever["column"]) == ("policy/clever.ncl", 3, 29)
    assert clever["message"] == "a policy is data only, and a function stands here"
    assert clever["hint"]
    assert {p["code"] for p in problems} == {"policy-not-data", "policy-violation"}
    plan = bench.plan(1)
    assert {change["action"] for change in plan.values()} == {"hold"}
    results = bench.reconcile(code=1)
    assert {result["status"] for result in results.values()} == {"held"}
    assert not (bench.repo.parent / "registry").exists()


def test_force_is_refused(bench: Bench) -> None:
    ran = bench.lian("diff", "--only", "shop/good", "--force", "shop/good", "--json", code=1)
    (problem,) = checked("problems", ran.out)["problems"]
    assert (problem["code"], problem["file"], problem["artifact"]) == ("force-denied", "--force", "shop/good")
    assert problem["cause"] == "policy/platform.ncl:10:44 (force)"


def test_one_build_keeps_the_rules(bench: Bench) -> None:
    ran = bench.lian("build", "--directives", "directives/shop.ncl", code=None)
    assert ran.code == 1
    assert "error[policy-violation]" in ran.err


def test_prune_does_not_ask(bench: Bench) -> None:
    """An image of an artifact that breaks a new rule is still wanted."""
    breaks = directive("shop", {"good": GOOD.replace('"1"', '"latest"')})
    bench.commit({"policy/broken.ncl": "let x = 1 in {}", "directives/shop.ncl": breaks})
    assert "policy-violation" in bench.lian("validate", code=1).err
    ran = bench.lian("prune", "--dry-run", code=0)
    assert "policy" not in ran.out + ran.err


@pytest.mark.buildkit
def test_a_pass_builds_what_keeps_the_rules_and_nothing_else(bench: Bench) -> None:
    results = bench.reconcile(code=1)
    assert {name: result["status"] for name, result in results.items()} == {"shop/bad": "held", "shop/good": "done"}
    assert results["shop/bad"]["problem"]["code"] == "policy-violation"
    registry = bench.repo.parent / "registry"
    assert "1" in layout_tags(registry, "shop/good")
    assert not (registry / "shop/bad").exists()
    before = bench.lian("diff", "--only", "shop/good", "--json").json["changes"][0]["key"]
    bench.commit({"policy/platform.ncl": POLICY.replace('"latest"', '"latest", "dev"')})
    again = bench.lian("diff", "--only", "shop/good", "--json").json["changes"][0]
    assert (again["action"], again["key"]) == ("none", before)
