"""A pull request, as a platform engineer's CI previews it: real git, a real registry, and nothing checked out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e.bench import Bench, directive
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.buildkit

SETTINGS = '{ fleet = "acme", registry = { provider = \'Zot, url = "%s" } }\n'
CHILDREN = [f"s{number:02}" for number in range(1, 6)]


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Bench]:
    """A base and five images on it, converged on a registry; on `topic`, one file more is changed."""
    with run_registry(tmp_path / "registry") as server:
        bench = Bench.new(tmp_path)
        artifacts = {"base": 'image = "shop/base", context.path = "images/base"'}
        files: dict[str, str | bytes] = {"lian.ncl": SETTINGS % server.url, "images/base/a": "1\n"}
        files["images/base/Dockerfile"] = "FROM scratch\nCOPY a /a\n"
        for name in CHILDREN:
            on = 'contexts.base = { artifact = "base" }'
            artifacts[name] = f'image = "shop/{name}", context.path = "images/{name}", {on}'
            files |= {f"images/{name}/Dockerfile": "FROM base\nCOPY a /b\n", f"images/{name}/a": f"{name}\n"}
        bench.commit({**files, "directives/shop.ncl": directive("shop", artifacts)})
        bench.lian("reconcile", "--once")
        bench.git("checkout", "-qb", "topic")
        yield bench


def preview(bench: Bench, *words: str, code: int = 2) -> str:
    return bench.lian("diff", "--base", "main", "--head", "topic", *words, code=code).out


def test_a_base_that_changes_is_one_paragraph(shop: Bench) -> None:
    head = shop.commit({"images/base/a": "2\n"})
    shop.git("checkout", "-q", "main")
    main = shop.commit({"README": "main has moved\n"})
    told = preview(shop)
    *lines, last = told.splitlines()
    assert last == f"merging topic ({head[:12]}) into main ({main[:12]}): 6 to build"
    assert lines[:6] == [
        "+ build 6 artifacts",
        f"           context changed: images/base/a, in {head[:7]}",
        "           shop/base",
        "           and 5 behind, each unless what it stands on comes out identical:",
        "             shop/s01, shop/s02, shop/s03, shop/s04, shop/s05",
        "",
    ]
    assert lines[6].startswith("forecast  ")
    document = shop.lian("diff", "--base", "main", "--head", "topic", "--json", code=2).json
    assert document["merge"] == {"base": main, "head": head}
    assert document["summary"]["build"] == 6
    assert shop.git("status", "--porcelain") == ""


def test_the_preview_keeps_its_word(shop: Bench) -> None:
    """What it said would be built once it is merged is what is built then."""
    shop.commit({"images/s03/a": "changed\n"})
    shop.git("checkout", "-q", "main")
    shop.commit({"images/s04/Dockerfile": "FROM base\nCOPY a /other\n"})
    shop.lian("reconcile", "--once")
    document = shop.lian("diff", "--base", "main", "--head", "topic", "--json", code=2).json
    said = {change["artifact"]: change["key"] for change in document["changes"]}
    shop.git("merge", "-q", "--no-edit", "topic")
    made = shop.plan(2)
    assert (
        {name: c["key"] for name, c in made.items() if c["action"] == "build"} == said == {"shop/s03": said["shop/s03"]}
    )
    assert shop.lian("diff", "--base", "main", "--head", "topic").out.endswith(": no artifact differs\n")


def test_what_cannot_be_read_is_told_as_that_and_never_as_taken_out(shop: Bench) -> None:
    on = 'image = "ops/%s", context.path = "images/s01", contexts.base = { artifact = "shop/base" }'
    shop.git("checkout", "-q", "main")
    shop.commit({"directives/ops.ncl": directive("ops", {f"o{n}": on % f"o{n}" for n in range(6)})})
    shop.git("checkout", "-qB", "topic")
    text = (shop.repo / "directives/shop.ncl").read_text("utf-8")
    shop.commit({"directives/shop.ncl": text.replace('"shop"', '"shop', 1)})
    told = preview(shop, "--out", "plan.json", code=1)
    assert "! hold  12 artifacts" in told
    assert "and 6 behind, held with them" in told
    assert "orphan" not in told
    assert told.splitlines()[-1].endswith(": 12 held, 1 problem")
    document = shop.lian("diff", "--base", "main", "--head", "topic", "--json", code=1).json
    assert {change["action"] for change in document["changes"]} == {"hold"}
    assert {reason["code"] for change in document["changes"] for reason in change["reasons"]} == {"unknown"}
    assert "orphaned" not in (shop.repo / "plan.json").read_text("utf-8")
    comment = preview(shop, "--format", "markdown", code=1)
    assert "### lian: 1 problem, 12 held\n" in comment
    assert comment.index("error[nickel-syntax]") < comment.index("! hold")
    alone = shop.lian("diff", "--rev", "topic", code=1).out
    assert "parent-unknown" not in alone
    assert alone.count("held[parent-unread]") == 1
    assert "directives/shop.ncl cannot be" in alone
    assert "6 held, 1 problem" in alone


def test_a_comment_for_the_forge(shop: Bench) -> None:
    shop.commit({"images/base/a": "2\n"})
    comment = preview(shop, "--format", "markdown")
    assert comment.startswith("<!-- lian diff -->\n\n### lian: 6 to build\n")
    assert "```diff\n+ build 6 artifacts\n" in comment
    shop.commit({"images/base/Dockerfile": "FROM scratch\nCOPY a /ours\n"})
    shop.git("checkout", "-q", "main")
    shop.commit({"images/base/Dockerfile": "FROM scratch\nCOPY a /theirs\n"})
    ran = shop.lian("diff", "--base", "main", "--head", "topic", "--format", "markdown", code=1)
    assert "### lian: no plan" in ran.out
    assert "they conflict in images/base/Dockerfile" in ran.out


def test_what_a_stranger_proposes_decides_nothing(shop: Bench) -> None:
    """Settings that push elsewhere and print secrets, and a directive with a registry of its own."""
    evil = (
        'registry = { provider = \'Zot, url = "http://127.0.0.1:1", credentials = { source = \'Env, name = "PATH" } }'
    )
    secrets = 'secrets.shop.x = { source = \'Command, name = "touch pwned" }'
    own = directive("evil", {"x": 'image = "evil/x", context.path = "images/base"'}).rstrip()[:-1] + f"  {evil},\n}}\n"
    shop.commit({"lian.ncl": f'{{ fleet = "evil", {evil}, {secrets} }}\n', "directives/evil.ncl": own})
    ran = shop.lian("diff", "--base", "main", "--head", "topic", "--json", code=2)
    assert "topic changes lian.ncl: until it is merged, the settings are those of main" in ran.err
    (change,) = ran.json["changes"]
    assert (change["artifact"], change["action"]) == ("evil/x", "hold")
    assert [problem["code"] for problem in change["holds"]] == ["registry-proposed"]
    assert not (shop.repo / "pwned").exists()
    comment = preview(shop, "--format", "markdown")
    assert "\n\n1 artifact is held until this is merged" in comment


def test_settings_and_rules_that_would_break_everything_are_no_green_preview(shop: Bench) -> None:
    own = (shop.repo / "lian.ncl").read_bytes()
    shop.commit({"lian.ncl": "{ fleet = "})
    ran = shop.lian("diff", "--base", "main", "--head", "topic", "--format", "markdown", code=1)
    assert "### lian: 1 problem, " in ran.out
    assert "at lian.ncl:1:" in ran.out
    assert "topic changes lian.ncl: until it is merged, the settings are those of main" in ran.err
    shop.commit({"lian.ncl": own, "policy/a.ncl": "{ rules = { a = { tgs = 1 } } }\n", "images/s01/a": "x\n"})
    ran = shop.lian("diff", "--base", "main", "--head", "topic", code=1)
    assert "at policy/a.ncl:1:" in ran.err
    assert ran.out.endswith(": 1 to build, 1 problem\n")


def test_the_rules_are_those_of_the_base(shop: Bench) -> None:
    """A proposal cannot lift a rule that it breaks; one that the base breaks as well is not its doing."""
    rule = '{ rules = { released = { tags.deny = ["latest"], artifacts = ["shop/s0*"], except = ["shop/s02"] } } }\n'
    shop.git("checkout", "-q", "main")
    shop.commit({"policy/tags.ncl": rule})
    shop.git("checkout", "-q", "topic")
    shop.git("merge", "-q", "main")
    shop.commit({"policy/tags.ncl": "{ rules = {} }\n", "images/s01/a": "x\n", "images/s02/a": "x\n"})
    ran = shop.lian("diff", "--base", "main", "--head", "topic", "--json", code=1)
    assert "topic changes policy: until it is merged, the rules are those of main" in ran.err
    actions = {change["artifact"]: change["action"] for change in ran.json["changes"]}
    assert actions == {"shop/s01": "hold", "shop/s02": "build"}
    assert {problem["code"] for problem in ran.json["problems"]} == {"policy-violation"}


def test_mistakes(shop: Bench, tmp_path: Path) -> None:
    ran = shop.lian("diff", "--base", "mian", code=1)
    assert "did you mean main?" in ran.err
    for words in (
        ["--head", "topic"],
        ["--base", "main", "--force", "*"],
        ["--base", "main", "--changed-since", "main"],
    ):
        assert "error[usage]" in shop.lian("diff", *words, code=1).err
    shop.git("checkout", "-q", "--orphan", "other")
    shop.commit()
    assert "revisions-unrelated" in shop.lian("diff", "--base", "main", code=1).err
    shop.git("checkout", "-q", "topic")
    shop.commit({"images/base/a": "2\n"})
    shop.git("checkout", "-q", "main")
    shop.commit({"images/base/a": "3\n"})
    shop.git("clone", "-q", "--depth", "1", "--no-single-branch", f"file://{shop.repo}", str(tmp_path / "shallow"))
    ran = shop.lian(
        "diff", "--repo", str(tmp_path / "shallow"), "--base", "origin/main", "--head", "origin/topic", code=1
    )
    assert "error[clone-partial]" in ran.err


def test_only_what_has_changed_since(shop: Bench) -> None:
    shop.commit({"images/s03/a": "changed\n"})
    assert "1 to build, 1 in sync" in shop.lian("diff", "--changed-since", "main", code=2).out
    assert shop.reconcile("--changed-since", "main")["shop/s03"]["status"] == "done"
    assert set(shop.reconcile("--changed-since", "main")) == {"shop/s03", "shop/base"}
    assert shop.lian("diff", "--changed-since", "HEAD").out.endswith(": no artifact differs\n")
    assert shop.lian("reconcile", "--once", "--changed-since", "HEAD").out.endswith(": nothing to do\n")
