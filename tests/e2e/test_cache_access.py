"""Access to caches, from a commit to a registry that refuses: rendered, deployed, checked, and lived with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from tests.e2e.bench import Bench, directive
from tests.schemas.evaluation import validator
from tests.servers.docker_auth import granted, users_of
from tests.servers.secured_registry import run_secured
from tests.servers.token_server import TokenServer

if TYPE_CHECKING:
    from pathlib import Path

SHOP = {
    "base": 'image = "shop/base", context.path = "images/base"',
    "api": 'image = "shop/api", context.path = "images/api", contexts = { base = { artifact = "base" } }',
}
IMAGES = {
    "images/base/Dockerfile": "FROM scratch\nCOPY base.txt /\n",
    "images/base/base.txt": "base\n",
    "images/api/Dockerfile": "FROM base\nCOPY api.txt /\n",
    "images/api/api.txt": "api\n",
}
ACCESS = 'ci = ["ci"], actors = { ada = {}, bob = { workspaces = ["tools"] } }'
ACCOUNTS = ("ci", "ada", "bob")


def settings(host: str, access: str = ACCESS, provider: str = "Distribution") -> str:
    registry = f'provider = \'{provider}, url = "http://{host}"'
    return f"{{ registry = {{ {registry} }}, policy.access = {{ {access} }} }}"


def fleet(folder: Path, host: str = "registry.example.org", **how: str) -> Bench:
    bench = Bench.new(folder / "bench")
    bench.commit({"lian.ncl": settings(host, **how), "directives/shop.ncl": directive("shop", SHOP), **IMAGES})
    return bench


def rendered(bench: Bench, provider: str) -> Any:
    return bench.lian("cache", "policy", "--provider", provider).json


@pytest.mark.buildkit
def test_a_rendered_policy_lets_ci_build_and_an_actor_only_look(tmp_path: Path) -> None:
    """The service grants by what `lian cache policy` printed; lian and BuildKit ask it for nothing that the rule does
    not give."""
    service = TokenServer({})
    with service.running() as tokens, run_secured(tmp_path / "server", tokens=tokens) as server:
        bench = fleet(tmp_path, server.host)
        acl = rendered(bench, "distribution-token")["acl"]
        tokens.users = users_of(acl, ACCOUNTS)
        bench.env |= {"LIAN_REGISTRY_USER": "ci", "LIAN_REGISTRY_PASSWORD": "canary-ci"}
        assert {result["status"] for result in bench.reconcile().values()} == {"done"}
        bench.write({"images/api/api.txt": "other\n"})
        bench.commit()
        assert bench.reconcile()["shop/api"]["status"] == "done"
        asked = {(each.user, scope) for each in tokens.asked for scope in each.scopes}
        for user, scope in asked:
            repository, _, actions = scope.removeprefix("repository:").rpartition(":")
            assert user is None or set(actions.split(",")) <= granted(acl, user, repository), scope
        assert any("cache/ci/shop/" in scope for _, scope in asked)
        assert not [scope for _, scope in asked if "cache/dev/" in scope]

        bench.env |= {"LIAN_REGISTRY_USER": "ada", "LIAN_REGISTRY_PASSWORD": "canary-ada"}
        tokens.asked.clear()
        assert {change["action"] for change in bench.plan(0).values()} == {"none"}
        scopes = {scope for each in tokens.asked for scope in each.scopes} - {"registry:catalog:*"}  # nobody gets that
        assert {scope.rpartition(":")[2] for scope in scopes} == {"pull"}
        bench.write({"images/api/api.txt": "a session's\n"})
        bench.commit()
        refused = bench.reconcile(code=4)["shop/api"]
        assert (refused["status"], refused["problem"]["code"]) == ("held", "push-refused")


@pytest.mark.parametrize("provider", ["zot", "harbor", "distribution-token"])
def test_what_is_rendered_is_deployed_as_it_should_be(tmp_path: Path, provider: str) -> None:
    bench = fleet(tmp_path)
    printed = bench.lian("cache", "policy", "--provider", provider)
    assert bench.lian("cache", "policy", "--provider", provider).out == printed.out
    (tmp_path / "deployed.json").write_text(printed.out)
    ran = bench.lian("cache", "policy", "--provider", provider, "--check", str(tmp_path / "deployed.json"))
    assert "deployed as it should be" in ran.out
    assert "names the workspace tools" in ran.err
    assert ("lian keeps caches in folders" in printed.err) == (provider == "harbor")


def test_a_hole_is_told_with_who_where_and_why(tmp_path: Path) -> None:
    bench = fleet(tmp_path)
    document = rendered(bench, "zot")
    document["repositories"]["cache/ci/shop/api"] = {"policies": [{"users": ["ada"], "actions": ["read", "create"]}]}
    (tmp_path / "zot.json").write_text(json.dumps({"http": {"accessControl": document}}))
    words = ("cache", "policy", "--provider", "zot", "--check", str(tmp_path / "zot.json"))
    ran = bench.lian(*words, code=2)
    assert ran.out.splitlines()[:3] == [
        "opens: ada can create in cache/ci/shop/**",
        "  such as: cache/ci/shop/api",
        "  because: repositories 'cache/ci/shop/api'",
    ]
    assert ran.out.splitlines()[-1].endswith(": 1 opens, 0 unknown, 1 lacks")
    found = bench.lian(*words, "--json", code=2).json
    validator("cache_policy_check").validate(found)
    assert (found["equal"], found["findings"][0]["kind"]) == (False, "opens")


@pytest.mark.parametrize(("content", "cause"), [("acl: []\n", "yq -o json"), ("[]", "no object"), (None, "No such")])
def test_what_cannot_be_read_is_said(tmp_path: Path, content: str | None, cause: str) -> None:
    if content is not None:
        (tmp_path / "deployed").write_text(content)
    words = ("cache", "policy", "--provider", "zot", "--check", str(tmp_path / "deployed"))
    ran = fleet(tmp_path).lian(*words, code=1)
    assert "error[cache-policy-unreadable]" in ran.err
    assert cause in ran.err
    assert ran.out == ""


def test_an_account_of_two_is_refused(tmp_path: Path) -> None:
    bench = fleet(tmp_path, access='ci = ["ada"], actors = { ada = {} }')
    ran = bench.lian("cache", "policy", "--provider", "zot", code=1)
    assert "the account ada is that of CI and of ada" in ran.err
    assert ran.out == ""


def test_which_caches_a_build_uses(tmp_path: Path) -> None:
    bench = fleet(tmp_path)
    ci = "registry.example.org/cache/ci/shop/api:linux-"
    ours = bench.lian("cache", "refs", "shop/api", "--json").json
    validator("cache_refs").validate(ours)
    (platform,) = ours["platforms"]
    assert all(reference.startswith(ci) for reference in platform["reads"] + platform["writes"])
    own = f"registry.example.org/cache/dev/ada-shop/api:{platform['platform'].replace('/', '-')}"
    theirs = bench.lian("cache", "refs", "shop/api", "--actor", "ada", "--cache-to", own, "--cache-from", own, "--json")
    validator("cache_refs").validate(theirs.json)
    (session,) = theirs.json["platforms"]
    assert session["writes"][0] == own
    assert [reference.startswith(ci) for reference in session["reads"]] == [False, False, True, True]
    assert (theirs.json["cache_from"], theirs.json["cache_to"]) == ([own], own)
    told = bench.lian("cache", "refs", "shop/api", "--actor", "ada").out
    assert "built by a session of ada" in told
    assert f"    writes  {own}\n" in told


def test_a_cache_that_has_no_place_is_told_as_a_build_tells_it(tmp_path: Path) -> None:
    bench = fleet(tmp_path, access='ci = ["ci"], actors = { "ada--b" = {} }', provider="Harbor")
    ran = bench.lian("cache", "refs", "shop/api", "--actor", "ada--b", code=1)
    assert "error[cache-name]" in ran.err


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["shop/nothing"], "selection-empty"),
        (["Shop"], "artifact-name"),
        (["shop/api", "--actor", "eve"], "actor-unknown"),
        (["shop/api", "--actor", "bob"], "actor-workspace"),
        (["shop/api", "--actor", "Ada"], "actor-name"),
        (["shop/api", "--actor", "ada", "--cache-to", "registry.example.org/cache/ci/shop/api:x"], "cache-forbidden"),
        (["shop/api", "--cache-from", "registry.example.org/cache/dev/ada-shop/api:x"], "cache-forbidden"),
        (["shop/api", "--cache-from", "elsewhere.example.org/cache/ci/shop/api:x"], "cache-forbidden"),
        (["shop/api", "--cache-from", "cache/ci/../x:y"], "cache-reference"),
    ],
)
def test_what_the_rules_do_not_admit_is_refused(tmp_path: Path, words: list[str], code: str) -> None:
    ran = fleet(tmp_path).lian("cache", "refs", *words, code=1)
    assert f"error[{code}]" in ran.err
    assert ran.out == ""


def test_an_artifact_of_an_invalid_directive_is_not_just_unknown(tmp_path: Path) -> None:
    """What keeps it from being read is told, and what may have been meant."""
    bench = fleet(tmp_path)
    assert "did you mean shop/api?" in bench.lian("cache", "refs", "shop/apy", code=1).err
    bench.commit({"directives/broken.ncl": directive("other", {"web": 'imagine = "other/web"'})})
    ran = bench.lian("cache", "refs", "other/web", code=1)
    assert "error[nickel-contract]" in ran.err
    assert "broken.ncl:" in ran.err
