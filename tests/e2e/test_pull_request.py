"""A pull request, as a platform engineer's CI previews it: real git, a real registry, and nothing checked out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.desired.repos import Repo
from tests.e2e.bench import Bench, directive
from tests.servers.files import serve_files
from tests.servers.git_http import git_server
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


def test_what_a_stranger_proposes_decides_nothing(shop: Bench, tmp_path: Path) -> None:
    """Settings that push elsewhere and run commands, and a directive with a registry of its own. Both servers, of git
    and of images, ask for the login that such a command is to give."""
    site = Repo(tmp_path / "served" / "site.git", bare=True)
    site.commit({"Dockerfile": b"FROM scratch\nCOPY . /\n"})
    with git_server(site.path.parent) as git, run_registry(tmp_path / "other", password=True) as other:
        shop.git("checkout", "-q", "main")
        context = f'context = {{ git = "{git.url}/site.git", rev = "main" }}'
        shop.commit({"directives/site.ncl": directive("web", {"site": f'image = "web/site", {context}'})})
        shop.git("checkout", "-qB", "topic")
        git.login = "ci:s3cret"
        login = '{ source = \'Command, name = "touch %s" }'
        evil = f'registry = {{ provider = \'Zot, url = "{other.url}", credentials = %s }}'
        logins = f'git.credentials."{git.url.removeprefix("http://")}" = {login % "pwned-by-git"}'
        own = directive("evil", {"x": 'image = "evil/x", context.path = "images/base"'}).rstrip()[:-1]
        shell = '{ source = \'Env, name = "SHELL" }'
        own += f"  {evil % shell},\n}}\n"
        settings = f'{{ fleet = "evil", {evil % (login % "pwned-by-registry")}, {logins} }}\n'
        files = {"lian.ncl": settings, "directives/evil.ncl": own}
        shop.commit({**files, "directives/site.ncl": directive("web", {"site": f'image = "web/new", {context}'})})
        ran = shop.lian("diff", "--base", "main", "--head", "topic", "--json", code=4)
        assert "topic changes lian.ncl: until it is merged, the settings are those of main" in ran.err
        held = {change["artifact"]: [one["code"] for one in change["holds"]] for change in ran.json["changes"]}
        assert held == {"evil/x": ["registry-proposed"], "web/site": ["git-login-missing"]}
        assert any(request.login is None for request in git.seen)
        shop.lian("diff", "--rev", "topic", "--registry", f"oci-layout:{tmp_path / 'look'}", code=None)
        shop.lian("validate", "--rev", "topic", "--registry", f"oci-layout:{tmp_path / 'look'}", code=None)
        assert not list(shop.repo.glob("pwned*"))
        shop.lian("diff", "--rev", "topic", code=None)
        made = {path.name for path in shop.repo.glob("pwned*")}
        assert made == {"pwned-by-git", "pwned-by-registry"}, "else nothing above says anything"


def test_no_host_is_called_on_a_strangers_word(shop: Bench) -> None:
    with serve_files() as inside:
        host = inside.url.removeprefix("http://")
        at = f'image = "{host}/x", context.path = "images/base"'
        on = 'image = "evil/y", context.path = "images/s01", contexts.base = { artifact = "x" }'
        shop.commit({"directives/evil.ncl": directive("evil", {"x": at, "y": on})})
        ran = shop.lian("diff", "--base", "main", "--head", "topic", "--json", code=2)
        assert inside.asked == []
        assert "\n\n2 artifacts are held until this is merged" in preview(shop, "--format", "markdown")
    first, second = ran.json["changes"]
    assert [problem["code"] for problem in first["holds"]] == ["registry-proposed"]
    assert (second["artifact"], second["action"]) == ("evil/y", "hold")


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


def test_a_size_that_comes_from_elsewhere_is_judged(shop: Bench) -> None:
    """As the commit itself is, which `lian validate` finds wrong."""
    shop.git("checkout", "-q", "main")
    shop.commit(
        {
            "policy/sizes.ncl": "{ rules.sizes = { runner.max.cpu = 8 } }\n",
            "lib/sizes.ncl": "{ big = 4 }\n",
            "images/s02/.build-spec.ncl": '{ cpu = (import "../../lib/sizes.ncl").big }\n',
        }
    )
    shop.git("checkout", "-qB", "topic")
    shop.commit({"lib/sizes.ncl": "{ big = 64 }\n"})
    assert "error[policy-violation]" in shop.lian("validate", code=1).err
    ran = shop.lian("diff", "--base", "main", "--head", "topic", code=1)
    assert "policy-violation" in ran.out + ran.err
    assert "no artifact differs" not in ran.out


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
