"""docker_auth's acl: what is rendered, that it grants what the rule gives, and every hole that is cut into it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.cache.policy import tokens
from reconciler.cache.policy.compare import compare
from reconciler.model.access import Access, ActorAccess
from reconciler.model.problem import LianError
from tests.cache.policies import copied, fleet, found_in_tokens, token_policy, told
from tests.servers.docker_auth import granted

if TYPE_CHECKING:
    from collections.abc import Callable

ALL = "delete pull push"


def entry(account: str, name: str, *actions: str) -> dict[str, Any]:
    return {"match": {"account": account, "type": "repository", "name": name}, "actions": list(actions)}


def test_what_is_rendered() -> None:
    acl = [{k: v for k, v in each.items() if k != "comment"} for each in token_policy()["acl"]]
    writes = ("pull", "push", "delete")
    assert acl == [
        entry("ada", "/^cache/ci/shop/.+$/", "pull"),
        entry("bob", "/^cache/ci/shop/.+$/", "pull"),
        entry("ci", "/^cache/ci/shop/.+$/", *writes),
        entry("ada", "/^cache/ci/tools/.+$/", "pull"),
        entry("ci", "/^cache/ci/tools/.+$/", *writes),
        entry("ada", "/^cache/dev/ada-shop/.+$/", *writes),
        entry("ada", "/^cache/dev/ada-tools/.+$/", *writes),
        entry("bob", "/^cache/dev/bob-shop/.+$/", *writes),
        entry("ada", "/^dev/ada-shop/.+$/", *writes),
        entry("ada", "/^dev/ada-tools/.+$/", *writes),
        entry("bob", "/^dev/bob-shop/.+$/", *writes),
        entry("ada", "shop/api", "pull"),
        entry("bob", "shop/api", "pull"),
        entry("ci", "shop/api", *writes),
        entry("ada", "tools/cli", "pull"),
        entry("ci", "tools/cli", *writes),
        *(
            {"match": {"type": "repository", "name": name}, "actions": []}
            for name in (
                "/^cache/ci/.+$/", "/^cache/dev/.+$/", "/^dev/.+$/", "shop/api", "tools/cli",
            )
        ),
        {"match": {"type": "registry", "name": "catalog"}, "actions": []},
    ]  # fmt: skip
    assert all(each["comment"] for each in token_policy()["acl"])


ROOT = Access(("ci",), {"ada": ActorAccess(("ada",)), "bob": ActorAccess(("bob",), ("shop",))}, ("root",))


def test_admins_may_do_anything_and_nobody_else_lists_the_catalogue() -> None:
    rule = fleet(ROOT)
    acl = tokens.render(rule)["acl"]
    assert [(each["match"], each["actions"]) for each in acl[:2]] == [
        ({"account": "root", "type": "repository"}, ["*"]),
        ({"account": "root", "type": "registry", "name": "catalog"}, ["*"]),
    ]
    everything = matching(["*"], account="/.+/")
    assert compare(rule, tokens.read(copied([*acl, everything]))) == ()
    for account in ("ci", "ada", "bob", "eve"):
        assert granted([*acl, everything], account, "catalog", "registry") == frozenset()
    assert granted(acl, "root", "catalog", "registry") == {"*"}


CATALOGUE: dict[str, tuple[Callable[[list[Any]], None], set[tuple[str, str, str, str]]]] = {
    "no entry for the admin": (
        lambda acl: acl.__delitem__(1), {("lacks", "root", "catalog", "list")},
    ),
    "an actor": (
        lambda acl: acl.insert(0, matching(["*"], account="ada", type="/^reg/", name="*")),
        {("opens", "ada", "catalog", "list")},
    ),
    "one who is named nowhere else": (
        lambda acl: acl.insert(0, matching(["*"], account="eve", type="registry")),
        {("opens", "eve", "catalog", "list")},
    ),
    "everyone": (
        lambda acl: acl.insert(0, matching(["pull", "*"], type="registry", name="/cat/")),
        {("opens", "", "catalog", "list"), ("opens", "x", "catalog", "list")},
    ),
    "without a login": (
        lambda acl: acl.insert(0, matching(["*"], account="", type="registry", name="catalog")),
        {("opens", "", "catalog", "list")},
    ),
    "from some addresses": (
        lambda acl: acl.insert(0, matching(["*"], account="ada", type="registry", name="catalog", ip="10.0.0.0/8")),
        {("unknown", "ada", "catalog", "list")},
    ),
    "whoever is called as the list": (
        lambda acl: acl.insert(0, matching(["*"], account="catalog", type="registry", name="${account}")),
        {("opens", "catalog", "catalog", "list")},
    ),
    "another list, and other actions": (
        lambda acl: acl.__setitem__(
            slice(0, 0),
            [
                matching(["*"], account="ada", type="registry", name="other"),
                matching(["*"], account="ada", type="registry", name="${account}"),
                matching(["pull"], account="bob", type="registry", name="catalog"),
            ],
        ),
        set(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("hole", CATALOGUE)
def test_who_lists_the_catalogue_is_looked_at(hole: str) -> None:
    rule = fleet(ROOT)
    acl = copied(tokens.render(rule))["acl"]
    tamper, expected = CATALOGUE[hole]
    tamper(acl)
    assert told(compare(rule, tokens.read(acl))) == expected


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: d["acl"], lambda d: {"server": {}, "token": {}, **d}])
def test_what_is_rendered_is_found_equal(wrap: Callable[[Any], Any]) -> None:
    assert found_in_tokens(wrap(token_policy())) == ()


strange = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=12)
odd = st.sampled_from(["*", "?", "/.+/", "/a/", "${account}", "a*", "[a-z]", "\\", "a\\*", "robot$ci", "//", "/^$/"])


@given(st.lists(strange | odd, min_size=3, max_size=3, unique=True), strange | odd)
def test_an_account_is_matched_by_its_own_name_alone(accounts: list[str], other: str) -> None:
    """Whatever its name would mean as a pattern."""
    ci, ada, bob = accounts
    access = Access((ci,), {"ada": ActorAccess((ada,)), "bob": ActorAccess((bob,), ("shop",))})
    acl = tokens.render(fleet(access))["acl"]
    for account in (*accounts, other):
        wanted = {"pull", "push", "delete"} if account == ci else {"pull"} if account in {ada, bob} else set()
        assert granted(acl, account, "cache/ci/shop/api") == wanted
        assert granted(acl, account, "cache/ci/shop") == set()
    assert compare(fleet(access), tokens.read(copied(acl))) == ()


def first(*entries: Any) -> Callable[[list[Any]], None]:
    return lambda acl: acl.__setitem__(slice(0, 0), entries)


def last(*entries: Any) -> Callable[[list[Any]], None]:
    return lambda acl: acl.extend(entries)


def without(comment: str, *more: Any) -> Callable[[list[Any]], None]:
    def tamper(acl: list[Any]) -> None:
        acl[:] = [*(each for each in acl if not each["comment"].startswith(comment)), *more]

    return tamper


def matching(actions: list[str], **match: Any) -> dict[str, Any]:
    return {"match": match, "actions": actions}


HOLES: dict[str, tuple[Callable[[list[Any]], None], tuple[str, str, str, str]]] = {
    "one repository": (first(entry("bob", "cache/ci/shop/api", "push")), ("opens", "bob", "cache/ci/shop/api", "push")),
    "an expression without ends": (
        first(entry("ada", "/ci/", "push", "pull")), ("opens", "ada", "cache/ci/shop/x", "push"),
    ),
    "which also matches in sessions' folders": (
        first(entry("bob", "/ci\\//", "push")), ("opens", "bob", "cache/dev/ada-shop/ci/x", "push"),
    ),
    "a glob": (first(entry("ada", "cache/ci/sh*/*", "*")), ("opens", "ada", "cache/ci/shop/x", "delete push")),
    "everyone": (first(matching(["pull"], account="/.+/")), ("opens", "x", "cache/ci/shop/x", "pull")),
    "even without a login": (first(matching(["pull"], name="*/*/*/*")), ("opens", "", "cache/ci/shop/x", "pull")),
    "accounts that look alike": (
        first(matching(["*"], account="/^ci/", name="/^cache/")), ("opens", "cix", "cache/ci/shop/x", ALL),
    ),
    "its own name as a folder": (
        first(matching(["*"], account="/.+/", name="/^cache/ci/${account}/")),
        ("unknown", "x", "cache/ci/x", ALL),
    ),
    "its own name, known": (
        first(matching(["*"], account="/^[ab].+/", name="/^cache/dev/${account}-tools/")),
        ("opens", "bob", "cache/dev/bob-tools", ALL),
    ),
    "no fence, and then everybody": (
        without("cache/ci: nobody", matching(["*"], account="/.+/")), ("opens", "x", "cache/ci/x", ALL),
    ),
    "sessions of who is no actor any more": (
        without("dev: nobody", matching(["*"], account="/.+/")), ("opens", "x", "dev/x", ALL),
    ),
    "an image that everybody may push": (
        without("shop/api: nobody", matching(["push"], type="*")), ("opens", "x", "shop/api", "push"),
    ),
    "CI reads sessions": (
        first(entry("ci", "/^cache/dev/.+$/", "pull")), ("opens", "ci", "cache/dev/ada-shop/x", "pull"),
    ),
    "another's session": (
        first(entry("ada", "/^dev/.+/", "pull", "push", "delete")), ("opens", "ada", "dev/bob-shop/x", ALL),
    ),
    "from some addresses": (
        first(matching(["*"], ip="10.0.0.0/8")), ("unknown", "x", "dev/x", ALL),
    ),
    "by a label": (
        first(matching(["push"], labels={"group": "ops"}, name="cache/ci/shop/api")),
        ("unknown", "ada", "cache/ci/shop/api", "push"),
    ),
    "a folder of each label": (first(matching(["push"], name="${labels:group}/*")), ("unknown", "?", "?", "")),
    "an expression that is not read": (first(matching(["push"], name="/(?i)CI/")), ("unknown", "?", "?", "")),
    "a denial before ours": (first(entry("ci", "/^cache/ci/shop/")), ("lacks", "ci", "cache/ci/shop/x", ALL)),
    "nothing for bob": (
        lambda acl: acl.remove(next(e for e in acl if e["match"].get("account") == "bob")),
        ("lacks", "bob", "cache/ci/shop/x", "pull"),
    ),
    "all but CI": (
        lambda acl: acl.__setitem__(slice(0), [matching(["*"], account="/^[^c]|^c[^i]|^ci./")]),
        ("opens", "ada", "cache/ci/shop/x", "delete push"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("hole", HOLES)
def test_each_hole_is_found(hole: str) -> None:
    acl = token_policy()["acl"]
    tamper, expected = HOLES[hole]
    tamper(acl)
    assert expected in told(found_in_tokens({"acl": acl}))


def test_what_others_do_elsewhere_is_none_of_ours() -> None:
    acl = token_policy()["acl"]
    last(matching(["*"], account="/.+/", name="public/*"), matching(["*"], type="registry", name="catalog"))(acl)
    first(matching(["*"], ip="10.0.0.0/8", name="other/*"))(acl)
    assert found_in_tokens(acl) == ()


def test_another_way_to_say_the_same_is_equal() -> None:
    acl = [
        matching(["pull", "push", "delete"], account="ci", name="/^cache/ci/(?:shop|tools)/./"),
        matching(["pull"], account="/^(ada|bob)$/", name="/^cache/ci/shop/./"),
        matching(["pull"], account="ada", name="/^cache/ci/tools/./"),
        matching(["*"], account="ada", name="/^(cache/)?dev/ada-(shop|tools)/./"),
        matching(["*"], account="bob", name="/^(cache/)?dev/bob-shop/./"),
        matching(["pull"], account="/^(ada|bob)$/", name="shop/api"),
        matching(["pull"], account="ada", name="tools/cli"),
        matching(["*"], account="ci", name="/^(shop/api|tools/cli)$/"),
    ]
    assert found_in_tokens(acl) == ()


def test_others_that_decide_are_unknown() -> None:
    document = token_policy() | {"ext_authz": {"command": "x"}}
    assert told(found_in_tokens(document)) == {("unknown", "?", "?", "")}


@pytest.mark.parametrize(
    "document",
    [1, None, {}, {"acl": 1}, ["x"], [{"match": []}], [{"match": {"account": 1}}], [{"actions": [1]}]],
)
def test_what_is_no_acl_is_said(document: Any) -> None:
    with pytest.raises(LianError) as caught:
        tokens.read(document)
    assert caught.value.problems[0].code == "cache-policy-unreadable"
