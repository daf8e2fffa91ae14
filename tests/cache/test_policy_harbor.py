"""Harbor's projects and robots: what is rendered, what cannot be, and every hole that is cut into it is found."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from reconciler.cache.namespace import Layout
from reconciler.cache.policy import harbor
from reconciler.cache.policy.compare import compare
from reconciler.cache.policy.rule import rule
from reconciler.cache.rights import Ground
from reconciler.model.access import Access, ActorAccess
from reconciler.model.problem import LianError
from tests.cache.policies import ACCESS, copied, fleet, found_in_harbor, harbor_policy, told

if TYPE_CHECKING:
    from collections.abc import Callable

WRITES = ["pull", "push", "delete"]


def permission(project: str, *actions: str, kind: str = "project") -> dict[str, Any]:
    access = [{"resource": "repository", "action": action} for action in actions]
    return {"kind": kind, "namespace": project, "access": access}


def robot(document: Any, name: str) -> Any:
    return next(each for each in document["robots"] if each["name"] == name)


def test_what_is_rendered() -> None:
    document = harbor_policy()
    names = [project["project_name"] for project in document["projects"]]
    assert names == [
        "cache.ci.shop", "cache.ci.tools", "cache.dev.ada.shop", "cache.dev.ada.tools", "cache.dev.bob.shop",
        "dev.ada.shop", "dev.ada.tools", "dev.bob.shop", "shop", "tools",
    ]  # fmt: skip
    assert {str(project["metadata"]) for project in document["projects"]} == {"{'public': 'false'}"}
    assert [each["name"] for each in document["robots"]] == ["ada", "bob", "ci"]
    assert robot(document, "bob") == {
        "name": "bob",
        "description": "lian: bob",
        "level": "system",
        "duration": -1,
        "disable": False,
        "permissions": [
            permission("cache.ci.shop", "pull"),
            permission("cache.dev.bob.shop", *WRITES),
            permission("dev.bob.shop", *WRITES),
            permission("shop", "pull"),
        ],
    }


def test_what_is_rendered_is_found_equal() -> None:
    assert found_in_harbor(harbor_policy()) == ()


def test_what_the_api_lists_is_found_equal() -> None:
    """Its names, and more fields than one may set."""
    document = harbor_policy()
    for project in document["projects"]:
        project |= {"name": project.pop("project_name"), "project_id": 1, "owner_name": "admin", "repo_count": 0}
    for each in document["robots"]:
        each |= {"name": f"robot${each['name']}", "id": 7, "editable": True, "expires_at": -1}
    document["projects"].append({"name": "library", "metadata": {"public": "true"}})
    scans = {"kind": "project", "namespace": "library", "access": [{"resource": "scan", "action": "create"}]}
    document["robots"].append({"name": "robot$scanner", "permissions": [scans]})
    document["members"] = {"cache.ci.shop": [{"entity_name": "root", "entity_type": "u", "role_id": 1}]}
    assert told(found_in_harbor(document)) == {
        ("opens", "root", "cache.ci.shop/x", "delete pull push"),
    }
    admins = rule(Access(("ci",), ACCESS.actors, ("root",)), Ground(Layout("cache", True), Layout("", True), (), ()))
    assert not [one for one in compare(admins, harbor.read(document)) if one.who and one.who.account == "root"]


def granted(name: str, namespace: str, resource: str, action: str, kind: str = "project") -> Callable[[Any], None]:
    access = {"kind": kind, "namespace": namespace, "access": [{"resource": resource, "action": action}]}
    return lambda document: robot(document, name)["permissions"].append(access)


def publish(project: str) -> Callable[[Any], None]:
    def tamper(document: Any) -> None:
        next(one for one in document["projects"] if one["project_name"] == project)["metadata"]["public"] = "true"

    return tamper


def add_project(document: Any) -> None:
    document["projects"].append({"name": "cache.ci.old"})
    granted("bob", "cache.ci.old", "repository", "push")(document)


HOLES: dict[str, tuple[Callable[[Any], None], tuple[str, str, str, str]]] = {
    "a session writes CI's": (
        granted("ada", "cache.ci.shop", "repository", "push"), ("opens", "ada", "cache.ci.shop/x", "push"),
    ),
    "by the artifact": (
        granted("ada", "cache.ci.shop", "artifact", "create"), ("opens", "ada", "cache.ci.shop/x", "push"),
    ),
    "by a tag": (granted("bob", "shop", "tag", "create"), ("opens", "bob", "shop/api", "push")),
    "everything": (granted("bob", "shop", "*", "*"), ("opens", "bob", "shop/api", "delete push")),
    "CI reads sessions": (
        granted("ci", "cache.dev.ada.shop", "repository", "pull"), ("opens", "ci", "cache.dev.ada.shop/x", "pull"),
    ),
    "all projects": (granted("bob", "*", "repository", "pull"), ("opens", "bob", "cache.ci.tools/x", "pull")),
    "another's session": (
        granted("bob", "dev.ada.shop", "repository", "pull"), ("opens", "bob", "dev.ada.shop/x", "pull"),
    ),
    "a public project": (publish("cache.dev.ada.shop"), ("opens", "", "cache.dev.ada.shop/x", "pull")),
    "that is, everyone's": (publish("shop"), ("opens", "stranger", "shop/api", "pull")),
    "a robot of a project": (
        lambda d: d["robots"].append(
            {"name": "robot$shop+deploy", "level": "project", "permissions": [permission("shop", "push")]}
        ),
        ("opens", "shop+deploy", "shop/api", "push"),
    ),
    "a project like ours": (add_project, ("opens", "bob", "cache.ci.old/x", "push")),
    "a member": (
        lambda d: d.update(members={"cache.ci.shop": [{"entity_name": "eve", "entity_type": "u", "role_id": 2}]}),
        ("opens", "eve", "cache.ci.shop/x", "pull push"),
    ),
    "a group of members": (
        lambda d: d.update(members={"cache.ci.shop": [{"entity_name": "crew", "entity_type": "g", "role_id": 3}]}),
        ("opens", "crew", "cache.ci.shop/x", "pull"),
    ),
    "a role that is new": (
        lambda d: d.update(members={"shop": [{"entity_name": "eve", "entity_type": "u", "role_id": 99}]}),
        ("unknown", "eve", "shop/api", "delete pull push"),
    ),
    "a right that leads to others": (
        granted("ada", "cache.ci.shop", "member", "create"), ("unknown", "ada", "cache.ci.shop/x", "delete pull push"),
    ),
    "a right on all of Harbor": (granted("ada", "/", "robot", "create", "system"), ("unknown", "?", "?", "")),
    "no such project": (
        lambda d: d["projects"].pop(0), ("lacks", "ci", "cache.ci.shop/x", "delete pull push"),
    ),
    "switched off": (
        lambda d: robot(d, "bob").update(disable=True), ("lacks", "bob", "cache.ci.shop/x", "pull"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("hole", HOLES)
def test_each_hole_is_found(hole: str) -> None:
    document = harbor_policy()
    tamper, expected = HOLES[hole]
    tamper(document)
    assert expected in told(found_in_harbor(document))


def problems_of(access: Access, *images: tuple[str, str], prefix: str = "cache", workspace: str = "shop") -> list[Any]:
    ground = Ground(Layout(prefix, True), Layout("", True), images, (workspace,))
    with pytest.raises(LianError) as caught:
        harbor.render(rule(access, ground))
    return list(caught.value.problems)


def test_images_of_one_project_have_the_same_rights() -> None:
    (problem,) = problems_of(ACCESS, ("shop", "acme/api"), ("tools", "acme/cli"))
    assert problem.code == "cache-policy-project"
    assert "acme/api and acme/cli lie in one project, acme" in problem.message
    assert "differ for bob" in problem.cause
    same = Access(("ci",), {"ada": ActorAccess(("ada",))})
    ground = Ground(Layout("cache", True), Layout("", True), (("shop", "acme/api"), ("tools", "acme/cli")), ("shop",))
    assert {"project_name": "acme", "metadata": {"public": "false"}} in harbor.render(rule(same, ground))["projects"]


def test_an_image_without_a_project_has_no_place() -> None:
    assert [problem.code for problem in problems_of(ACCESS, ("shop", "api"))] == ["cache-policy-project"]


@pytest.mark.parametrize(
    ("prefix", "workspace", "cause"),
    [("a/b", "shop", "several parts"), ("cache", "shop--api", "'shop--api' has two")],
)
def test_a_name_that_no_project_may_have_is_told(prefix: str, workspace: str, cause: str) -> None:
    (problem,) = problems_of(Access(), prefix=prefix, workspace=workspace)
    assert problem.code == "cache-policy-name"
    assert cause in str(problem.cause)


def test_accounts_are_robots_with_or_without_their_prefix() -> None:
    access = Access(("robot$ci",), {"ada": ActorAccess(("ada",))})
    ours = fleet(access, projects=True)
    document = copied(harbor.render(ours))
    assert [each["name"] for each in document["robots"]] == ["ada", "ci"]
    assert compare(harbor.named(ours), harbor.read(document)) == ()
    twice = Access(("ci", "robot$ci"))
    assert [problem.code for problem in problems_of(twice)] == ["cache-policy-account"]
    assert [problem.code for problem in problems_of(Access(("C I",)))] == ["cache-policy-account"]


@pytest.mark.parametrize(
    "document",
    [
        [], {}, {"projects": []}, {"projects": {}, "robots": []}, {"projects": [{}], "robots": []},
        {"projects": [], "robots": [{}]}, {"projects": [], "robots": [], "members": []},
        {"projects": [], "robots": [{"name": "a", "permissions": [{"kind": "project", "access": [{}]}]}]},
        {"projects": [], "robots": [], "members": {"a": [{}]}},
    ],
)  # fmt: skip
def test_what_is_no_answer_of_the_api_is_said(document: Any) -> None:
    with pytest.raises(LianError) as caught:
        harbor.read(document)
    assert caught.value.problems[0].code == "cache-policy-unreadable"
