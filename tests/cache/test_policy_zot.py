"""zot's accessControl: what is rendered, and every hole that is cut into it is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reconciler.cache.policy import zot
from reconciler.cache.policy.findings import Kind
from reconciler.model.access import Access, ActorAccess
from reconciler.model.problem import LianError
from tests.cache.policies import copied, fleet, found_in_zot, told, zot_policy

if TYPE_CHECKING:
    from collections.abc import Callable

WRITES = ["read", "create", "update", "delete"]
CI, ADA, BOB = ({"users": [name], "actions": WRITES} for name in ("ci", "ada", "bob"))


def only(*policies: Any) -> dict[str, Any]:
    return {"policies": list(policies), "defaultPolicy": [], "anonymousPolicy": []}


def reads(*users: str) -> dict[str, Any]:
    return {"users": list(users), "actions": ["read"]}


def test_what_is_rendered() -> None:
    assert zot_policy() == {
        "repositories": {
            "cache/ci/**": only(),
            "cache/ci/shop/**": only(CI, reads("ada", "bob")),
            "cache/ci/tools/**": only(CI, reads("ada")),
            "cache/dev/**": only(),
            "cache/dev/ada-shop/**": only(ADA),
            "cache/dev/ada-tools/**": only(ADA),
            "cache/dev/bob-shop/**": only(BOB),
            "dev/**": only(),
            "dev/ada-shop/**": only(ADA),
            "dev/ada-tools/**": only(ADA),
            "dev/bob-shop/**": only(BOB),
            "shop/api": only(CI, reads("ada", "bob")),
            "tools/cli": only(CI, reads("ada")),
        },
        "adminPolicy": {"users": [], "actions": []},
    }


def test_admins_may_do_anything() -> None:
    rule = fleet(Access(("ci",), {"ada": ActorAccess(("ada",))}, ("root",)))
    document = copied(zot.render(rule))
    assert document["adminPolicy"] == {"users": ["root"], "actions": WRITES}
    assert "root" not in str(document["repositories"])


@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: {"http": {"accessControl": d, "auth": {"htpasswd": {}}}}])
def test_what_is_rendered_is_found_equal(wrap: Callable[[Any], Any]) -> None:
    assert found_in_zot(wrap(zot_policy())) == ()


def test_an_entry_for_all_that_is_shorter_than_ours_opens_nothing_of_ours() -> None:
    """zot: the longest pattern decides alone."""
    document = zot_policy()
    document["repositories"]["**"] = {"defaultPolicy": WRITES, "anonymousPolicy": ["read"]}
    assert found_in_zot(document) == ()


def put(pattern: str, **entry: Any) -> Callable[[Any], None]:
    return lambda document: document["repositories"].__setitem__(pattern, entry)


def drop(pattern: str) -> Callable[[Any], None]:
    return lambda document: document["repositories"].pop(pattern)


def several(*changes: Callable[[Any], None]) -> Callable[[Any], None]:
    def all_of_them(document: Any) -> None:
        for change in changes:
            change(document)

    return all_of_them


HOLES: dict[str, tuple[Callable[[Any], None], tuple[str, str, str, str]]] = {
    "one repository of CI's": (
        put("cache/ci/shop/api", policies=[CI, reads("ada"), {"users": ["bob"], "actions": ["read", "create"]}]),
        ("opens", "bob", "cache/ci/shop/api", "create"),
    ),
    "more than one workspace": (
        put("cache/ci/{shop,tools}/**", policies=[CI, ADA]),
        ("opens", "ada", "cache/ci/shop/x", "create delete update"),
    ),
    "folders that look alike": (
        put("cache/ci/sh*/**", defaultPolicy=["create"]),
        ("opens", "stranger", "cache/ci/shx", "create"),
    ),
    "everything of a name, anywhere": (
        put("**/very-long-name-of-an-artifact", anonymousPolicy=["read"]),
        ("opens", "", "cache/ci/shop/very-long-name-of-an-artifact", "read"),
    ),
    "as long as ours": (
        put("cache/ci/sho?/**", policies=[ADA]),
        ("opens", "ada", "cache/ci/shop/x", "create delete update"),
    ),
    "everyone reads CI's": (
        lambda d: d["repositories"]["cache/ci/shop/**"].update(defaultPolicy=["read"]),
        ("opens", "stranger", "cache/ci/shop/x", "read"),
    ),
    "without a login": (
        lambda d: d["repositories"]["cache/dev/ada-shop/**"].update(anonymousPolicy=["read"]),
        ("opens", "", "cache/dev/ada-shop/x", "read"),
    ),
    "another's session": (
        lambda d: d["repositories"]["cache/dev/ada-shop/**"]["policies"].append(reads("bob")),
        ("opens", "bob", "cache/dev/ada-shop/x", "read"),
    ),
    "CI reads sessions": (
        lambda d: d["repositories"]["cache/dev/ada-shop/**"]["policies"].append(reads("ci")),
        ("opens", "ci", "cache/dev/ada-shop/x", "read"),
    ),
    "another workspace": (
        lambda d: d["repositories"]["cache/ci/tools/**"]["policies"].append(reads("bob")),
        ("opens", "bob", "cache/ci/tools/x", "read"),
    ),
    "a group": (
        several(
            lambda d: d.update(groups={"Crew": {"users": ["bob"]}}),
            lambda d: d["repositories"]["cache/ci/tools/**"]["policies"].append(
                {"groups": ["crew"], "actions": ["update"]}
            ),
        ),
        ("opens", "bob", "cache/ci/tools/x", "update"),
    ),
    "a group of elsewhere": (
        lambda d: d["repositories"]["cache/ci/tools/**"]["policies"].append({"groups": ["ops"], "actions": ["delete"]}),
        ("opens", "ops", "cache/ci/tools/x", "delete"),
    ),
    "an admin": (
        lambda d: d["adminPolicy"].update(users=["bob"], actions=["create"]),
        ("opens", "bob", "cache/ci/shop/x", "create"),
    ),
    "no fence": (
        several(drop("cache/ci/**"), put("**", defaultPolicy=["create"])),
        ("opens", "stranger", "cache/ci/x", "create"),
    ),
    "sessions of who is no actor any more": (
        several(drop("dev/**"), put("**", defaultPolicy=["read"])),
        ("opens", "stranger", "dev/x", "read"),
    ),
    "nothing of CI's": (drop("cache/ci/shop/**"), ("lacks", "ci", "cache/ci/shop/x", "create delete read update")),
    "a developer may not read": (
        lambda d: d["repositories"]["cache/ci/shop/**"]["policies"].pop(),
        ("lacks", "bob", "cache/ci/shop/x", "read"),
    ),
    "no update": (
        lambda d: d["repositories"]["cache/dev/bob-shop/**"]["policies"][0]["actions"].remove("update"),
        ("lacks", "bob", "cache/dev/bob-shop/x", "update"),
    ),
    "nobody reads an image": (drop("shop/api"), ("lacks", "ada", "shop/api", "read")),
    "a session pushes an image": (
        lambda d: d["repositories"]["shop/api"]["policies"].append({"users": ["ada"], "actions": ["create"]}),
        ("opens", "ada", "shop/api", "create"),
    ),
    "sessions' images": (
        put("dev/**/secret-project", defaultPolicy=["read"]),
        ("opens", "stranger", "dev/ada-shop/secret-project", "read"),
    ),
    "on a condition": (
        lambda d: d["repositories"]["cache/ci/shop/**"]["policies"].append(
            {"users": ["bob"], "actions": ["create"], "conditions": [{"expression": "true"}]}
        ),
        ("unknown", "bob", "cache/ci/shop/x", "create"),
    ),
    "a pattern that zot refuses": (put("cache/[", defaultPolicy=["create"]), ("unknown", "?", "?", "")),
    "an empty pattern takes what none does": (
        several(drop("shop/api"), put("", defaultPolicy=["read"])),
        ("opens", "stranger", "shop/api", "read"),
    ),
}


@pytest.mark.parametrize("hole", HOLES)
def test_each_hole_is_found(hole: str) -> None:
    document = zot_policy()
    tamper, expected = HOLES[hole]
    tamper(document)
    findings = found_in_zot(document)
    assert expected in told(findings)
    kinds = [finding.kind for finding in findings]
    assert kinds == sorted(kinds, key=list(Kind).index)


def test_keys_are_read_in_any_case_as_zot_reads_them() -> None:
    document = zot_policy()
    document["REPOSITORIES"] = document.pop("repositories")
    document["REPOSITORIES"]["Cache/CI/shop/API"] = {"DefaultPolicy": ["delete"]}
    assert ("opens", "stranger", "cache/ci/shop/api", "delete") in told(found_in_zot(document))


def test_without_access_control_all_is_open() -> None:
    findings = told(found_in_zot({"http": {"auth": {"htpasswd": {"path": "x"}}}}))
    assert ("opens", "stranger", "cache/ci/shop/x", "create delete read update") in findings
    assert ("unknown", "?", "?", "") in told(found_in_zot({"http": {}}))


def test_what_decides_elsewhere_is_unknown() -> None:
    document = {"http": {"accessControl": zot_policy(), "auth": {"bearer": {"realm": "https://tokens.example.org"}}}}
    (finding,) = found_in_zot(document)
    assert finding.kind is Kind.UNKNOWN
    assert "token service" in str(finding.because)


def test_members_of_a_directory_are_looked_at_too() -> None:
    document = zot_policy()
    document["groups"] = {"crew": {"users": []}}
    document["repositories"]["shop/api"]["policies"].append({"groups": ["crew"], "actions": ["create"]})
    assert found_in_zot(document) == ()
    whole = {"http": {"accessControl": document, "auth": {"ldap": {"address": "ldap.example.org"}}}}
    assert told(found_in_zot(whole)) == {("opens", "crew", "shop/api", "create")}


@pytest.mark.parametrize(
    "document",
    [
        [], 1, None, {}, {"http": 1}, {"repositories": []}, {"repositories": {"a": 1}},
        {"repositories": {"a": {"policies": {}}}}, {"repositories": {"a": {"defaultPolicy": [1]}}},
        {"adminPolicy": []}, {"repositories": {}, "groups": []},
    ],
)  # fmt: skip
def test_what_is_no_policy_is_said(document: Any) -> None:
    with pytest.raises(LianError) as caught:
        zot.read(document)
    assert caught.value.problems[0].code == "cache-policy-unreadable"
