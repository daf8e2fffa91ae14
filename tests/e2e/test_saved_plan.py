"""A plan that was reviewed, and is carried out later: by the real commands, on a real registry."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.canonical import fingerprint
from tests.e2e.bench import Bench, directive
from tests.servers.registry import run_registry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.buildkit

SETTINGS = '{ fleet = "acme", registry = { provider = \'Distribution, url = "%s" } }\n'
SHOP = {
    "base": 'image = "shop/base", context.path = "base"',
    "api": 'image = "shop/api", context.path = "api", contexts.base = { artifact = "base" }',
    "web": 'image = "shop/web", context.path = "web"',
}
FILES: dict[str, str | bytes] = {
    "base/Dockerfile": "FROM scratch\nCOPY a /a\n",
    "base/a": "1\n",
    "api/Dockerfile": "FROM base\nCOPY a /b\n",
    "api/a": "1\n",
    "web/Dockerfile": "FROM scratch\nCOPY a /a\n",
    "web/a": "1\n",
}


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Bench]:
    """Three images, converged; on `topic`, the base and web are changed."""
    with run_registry(tmp_path / "registry") as server:
        bench = Bench.new(tmp_path)
        bench.commit({**FILES, "lian.ncl": SETTINGS % server.url, "directives/shop.ncl": directive("shop", SHOP)})
        bench.lian("reconcile", "--once")
        bench.git("checkout", "-qb", "topic")
        bench.commit({"base/a": "2\n", "web/a": "2\n"})
        bench.git("checkout", "-q", "main")
        yield bench


def follow(bench: Bench, *words: str, code: int = 0) -> dict[str, Any]:
    document = bench.lian("reconcile", "--once", "--plan", "plan.json", "--json", *words, code=code).json
    return {result["artifact"]: result for result in document["results"]}


def test_a_plan_of_a_pull_request_is_carried_out_after_a_squash(shop: Bench) -> None:
    shop.lian("diff", "--base", "main", "--head", "topic", "--out", "plan.json", code=2)
    shop.git("merge", "-q", "--squash", "topic")
    shop.git("commit", "-qm", "squashed")
    ran = shop.lian("reconcile", "--once", "--plan", "plan.json")
    assert "3 built" in ran.out
    again = shop.lian("reconcile", "--once", "--plan", "plan.json")
    assert "nothing is left to do: what the plan says has been done" in again.err
    assert "in sync" in shop.lian("diff").out


def test_a_stale_plan_goes_as_far_as_it_holds(shop: Bench) -> None:
    shop.git("merge", "-q", "topic")
    shop.lian("diff", "--out", "plan.json", code=2)
    shop.commit({"web/a": "3\n"})
    ran = shop.lian("reconcile", "--once", "--plan", "plan.json", "--strict", code=4)
    assert "plan-stale" in ran.out + ran.err
    results = follow(shop, code=4)
    assert {name: result["status"] for name, result in results.items()} == {
        "shop/base": "done",
        "shop/api": "done",
        "shop/web": "held",
    }
    assert results["shop/web"]["problem"]["message"].endswith(": it is made of something else now")


def test_what_is_forced_is_built_once(shop: Bench) -> None:
    """The image comes out the same, so that only its build record tells that it was done."""
    shop.lian("diff", "--force", "shop/base", "--out", "plan.json", code=2)
    assert follow(shop)["shop/base"]["status"] == "done"
    again = follow(shop, "--strict")
    assert {result["status"] for result in again.values()} == {"none"}


def test_bad_plans(shop: Bench, tmp_path: Path) -> None:
    shop.git("merge", "-q", "topic")
    shop.lian("diff", "--out", "plan.json", code=2)
    path = shop.repo / "plan.json"
    whole = path.read_text()
    document = json.loads(whole)

    def refused(text: str | bytes, *, code: str = "plan-invalid") -> str:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
        err = shop.lian("reconcile", "--once", "--plan", "plan.json", code=1).err
        assert f"error[{code}]" in err
        return err

    assert "was cut off" in refused(whole[: len(whole) // 2])
    assert "its seal is broken" in refused(whole.replace('"latest"', '"stable"', 1))
    assert "from a newer lian" in refused(json.dumps({**document, "version": 2}))
    assert "a document of kind plan" in refused(shop.lian("diff", "--json", code=2).out)
    assert "it is no text" in refused(b"\xff\xfe", code="plan-unreadable")
    assert "another document" in refused("[]")
    other = {key: value for key, value in document.items() if key != "seal"} | {"fleet": "other"}
    refused(json.dumps({**other, "seal": fingerprint(other)}), code="plan-foreign")
    path.unlink()
    assert "plan-unreadable" in shop.lian("reconcile", "--once", "--plan", "plan.json", code=1).err
    assert "plan-unwritable" in shop.lian("diff", "--out", str(tmp_path / "no" / "plan.json"), code=1).err
    for words in (["--plan", "p"], ["--once", "--strict"], ["--once", "--plan", "p", "--only", "*"]):
        assert "error[usage]" in shop.lian("reconcile", *words, code=1).err
    assert shop.plan(2)["shop/web"]["action"] == "build"


def test_a_plan_holds_no_secret(shop: Bench) -> None:
    shop.env = {"LIAN_REGISTRY_USER": "ci", "LIAN_REGISTRY_PASSWORD": "canary-1234", "TOKEN": "canary-5678"}
    settings = (shop.repo / "lian.ncl").read_text().rstrip()[:-1]
    bound = 'secrets.shop.token = { source = \'Env, name = "TOKEN" }'
    own = {**SHOP, "web": SHOP["web"] + ', secrets.t = { name = "token" }'}
    shop.git("remote", "add", "origin", "https://user:canary-9999@git.example/shop.git")
    shop.commit({"lian.ncl": f"{settings}, {bound} }}\n", "directives/shop.ncl": directive("shop", own)})
    shop.lian("diff", "--out", "plan.json", code=2)
    assert "canary" not in (shop.repo / "plan.json").read_text()
