"""Harbor's projects and robot accounts, in the form of its API (harbor: api/v2.0/swagger.yaml, src/common/rbac).

Harbor gives rights for whole projects, which are the first part of a repository's path: so each namespace is a project
there. A robot is named after the account that it is for; people keep the roles that they have as members.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from reconciler.cache.policy.compare import ALL, WORDS, Given
from reconciler.cache.policy.documents import entries, optional, record, unreadable
from reconciler.cache.policy.findings import ANONYMOUS, Standing, Who
from reconciler.cache.policy.language import Language, below
from reconciler.cache.rights import Right
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from reconciler.cache.policy.compare import Decisions
    from reconciler.cache.policy.rule import Rule
    from reconciler.cache.rights import Territory

ROBOT = "robot$"
"""What Harbor puts in front of a robot's name, unless its configuration says otherwise."""
_ROBOT_NAME = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_GRANTS: Mapping[tuple[str, str], frozenset[str]] = {
    ("repository", "pull"): frozenset({"pull"}),
    ("repository", "push"): frozenset({"push"}),
    ("repository", "delete"): frozenset({"delete"}),
    ("artifact", "create"): frozenset({"push"}),
    ("artifact", "delete"): frozenset({"delete"}),
    ("tag", "create"): frozenset({"push"}),
    ("tag", "delete"): frozenset({"delete"}),
    ("project", "delete"): frozenset({"delete"}),
}
"""What a right of Harbor comes to for images."""
_HARMLESS = frozenset({"read", "list", "stop"})
_POWERFUL = frozenset({"*", "robot", "user", "user-group", "ldap-user", "replication", "replication-policy"})
"""Resources of Harbor as a whole that lead to rights on images."""
EVERY = "*"
"""The namespace of a robot's rights on all projects."""
_ROLES: Mapping[int, frozenset[str]] = {
    1: ALL,  # project admin
    2: frozenset({"pull", "push"}),  # developer
    3: frozenset({"pull"}),  # guest
    4: ALL,  # maintainer
    5: frozenset({"pull"}),  # limited guest
}
"""Harbor: src/common/const.go and src/common/rbac/project/rbac_role.go."""


def render(rule: Rule) -> dict[str, Any]:
    """An object with `projects` and `robots`: bodies of POST /projects and POST /robots. The same for the same rule.
    Raises LianError for what would need rights on less than a project."""
    projects = _projects(rule)
    robots = [_robot(account, projects) for account in rule.accounts]
    return {
        "projects": [{"project_name": name, "metadata": {"public": "false"}} for name in sorted(projects)],
        "robots": sorted(robots, key=lambda robot: str(robot["name"])),
    }


def _projects(rule: Rule) -> dict[str, Territory]:
    """Project -> a territory in it; all that lie there have the same rights."""
    found: dict[str, Territory] = {}
    problems = [problem for account in rule.accounts if (problem := _misnamed(account))]
    problems += _twice(rule.accounts)
    for territory in rule.territories:
        project, slash, _ = territory.folder.partition("/")
        if territory.exact and not slash:
            hint = 'put a project in front: image = "PROJECT/IMAGE", or registry.images_prefix in lian.ncl'
            message = f"the image {territory.folder} lies in no project"
            problems.append(Problem("cache-policy-project", message, hint=hint))
            continue
        known = found.setdefault(project, territory)
        if known.rights != territory.rights:
            problems.append(_shared(project, known, territory))
    if problems:
        raise LianError(problems)
    return found


def _shared(project: str, one: Territory, other: Territory) -> Problem:
    message = f"{one.folder} and {other.folder} lie in one project, {project}, with different rights"
    cause = f"rights are for whole projects, and these differ for {', '.join(_differing(one, other))}"
    hint = "move one to a project of its own, or give both to the same actors in policy.access of lian.ncl"
    return Problem("cache-policy-project", message, cause=cause, hint=hint)


def _differing(one: Territory, other: Territory) -> list[str]:
    return sorted({account for account, _ in (*one.rights, *other.rights) if one.of(account) != other.of(account)})


def _misnamed(account: str) -> Problem | None:
    if _ROBOT_NAME.fullmatch(account.removeprefix(ROBOT)):
        return None
    hint = "lower-case letters and digits, with one of . _ - between them; an actor's accounts are set in policy.access"
    return Problem("cache-policy-account", f"{account} cannot be a robot of Harbor", file="lian.ncl", hint=hint)


def _twice(accounts: Iterable[str]) -> list[Problem]:
    given = set(accounts)
    return [
        Problem("cache-policy-account", f"{one} and {ROBOT}{one} are one robot of Harbor", file="lian.ncl")
        for one in sorted(given)
        if f"{ROBOT}{one}" in given
    ]


def _robot(account: str, projects: Mapping[str, Territory]) -> dict[str, Any]:
    permissions = [
        {
            "kind": "project",
            "namespace": project,
            "access": [{"resource": "repository", "action": right.value} for right in Right if right in rights],
        }
        for project, territory in sorted(projects.items())
        if (rights := territory.of(account))
    ]
    return {
        "name": account.removeprefix(ROBOT),
        "description": f"lian: {account}",
        "level": "system",
        "duration": -1,
        "disable": False,
        "permissions": permissions,
    }


@dataclass(slots=True)
class _Rights:
    """Of one project, or of all: what each may do, and what each may do besides that may come to more."""

    given: dict[Who, frozenset[str]] = field(default_factory=dict)
    doubts: dict[Who, dict[str, frozenset[str]]] = field(default_factory=dict)

    def give(self, who: Who, actions: frozenset[str]) -> None:
        """Beside what it has."""
        self.given[who] = self.given.get(who, frozenset()) | actions


@dataclass(slots=True)
class Config:
    """What Harbor was told. Robots have the names of the accounts that they are for."""

    projects: list[str] = field(default_factory=list)
    public: set[str] = field(default_factory=set)
    rights: dict[str, _Rights] = field(default_factory=dict)
    """Project -> of it; EVERY -> of all projects."""
    unread: list[str] = field(default_factory=list)
    members_told: bool = False

    def decisions(self, rule: Rule) -> Decisions:
        """See Deployed. What admins of Harbor are given beside it does not matter."""
        named = _named(self.rights.values()) | {Who(account) for account in rule.accounts}
        known = named - set(map(Who, rule.admins))
        return _Decisions(self, frozenset({ANONYMOUS, Who("stranger", Standing.STRANGER), *known}))


def _named(several: Iterable[_Rights]) -> set[Who]:
    return {who for rights in several for who in (*rights.given, *rights.doubts)}


@dataclass(frozen=True, slots=True)
class _Decisions:
    """See Decisions."""

    words: ClassVar[Mapping[Right, frozenset[str]]] = WORDS
    config: Config
    people: frozenset[Who]

    @property
    def languages(self) -> Sequence[Language]:
        """See Decisions."""
        return [below(project) for project in self.config.projects]

    @property
    def unread(self) -> Sequence[str]:
        """See Decisions."""
        return self.config.unread

    def given(self, matched: frozenset[int], asked: Collection[Who]) -> Mapping[Who, Given]:
        """See Decisions. A repository lies in one project."""
        project = next((self.config.projects[index] for index in matched), None)
        if project is None:
            return {who: Given(because="there is no such project") for who in asked}
        shared = frozenset({"pull"}) if project in self.config.public else frozenset[str]()
        because = f"project {project}" + (", which is public" if shared else "")
        both = [self.config.rights[name] for name in (project, EVERY) if name in self.config.rights]
        concerned = (_named(both) & self.people) | set(asked)
        return {who: _given(who, shared, because, both) for who in concerned}

    def catalogue(self) -> Mapping[Who, Given]:
        """See Decisions."""
        return {}


def _given(who: Who, shared: frozenset[str], because: str, both: Sequence[_Rights]) -> Given:
    always = shared.union(*(rights.given.get(who, frozenset()) for rights in both))
    doubts = {doubt: most for rights in both for doubt, most in rights.doubts.get(who, {}).items()}
    return Given(always, because, doubts=doubts)


def named(rule: Rule) -> Rule:
    """The rule with the names that robots have: an account may be written as it logs in, with the prefix."""
    return replace(
        rule,
        territories=tuple(
            replace(each, rights=tuple(sorted((account.removeprefix(ROBOT), given) for account, given in each.rights)))
            for each in rule.territories
        ),
    )


def read(document: Any) -> Config:
    """An object with `projects` and `robots` as Harbor's API lists them, and if they are given `members`: project ->
    its members. Raises LianError for what is not that."""
    whole, config = record(document, "the document"), Config()
    if whole.get("projects") is None or whole.get("robots") is None:
        raise unreadable("what is deployed has no `projects` and `robots`", hint='{"projects": […], "robots": […]}')
    for value in entries(whole["projects"], "projects"):
        _read_project(record(value, "projects"), config)
    for value in entries(whole["robots"], "robots"):
        _read_robot(record(value, "robots"), config)
    if (members := whole.get("members")) is not None:
        config.members_told = True
        for project, listed in record(members, "members").items():
            for value in entries(listed, f"members of {project}"):
                _read_member(project, record(value, f"members of {project}"), config)
    return config


def _read_project(project: Mapping[str, Any], config: Config) -> None:
    name = _text(project.get("name") or project.get("project_name"), "a project's name")
    config.projects.append(name)
    if optional(project.get("metadata"), f"metadata of {name}").get("public") in {"true", True}:
        config.public.add(name)


def _read_robot(robot: Mapping[str, Any], config: Config) -> None:
    name = _text(robot.get("name"), "a robot's name")
    if robot.get("disable") is True:
        return
    who = Who(name.removeprefix(ROBOT))
    for value in entries(robot.get("permissions"), f"permissions of {name}"):
        permission = record(value, f"permissions of {name}")
        for each in entries(permission.get("access"), f"access of {name}"):
            access = record(each, f"access of {name}")
            if permission.get("kind") == "project":
                namespace = _text(permission.get("namespace"), f"a namespace of {name}")
                _take(name, who, access, config.rights.setdefault(namespace, _Rights()))
            elif str(access.get("resource")) in _POWERFUL and str(access.get("action")) not in _HARMLESS:
                config.unread.append(f"robot {name} may {access.get('action')} {access.get('resource')} of all Harbor")


def _take(robot: str, who: Who, access: Mapping[str, Any], rights: _Rights) -> None:
    """What an access comes to. What is neither about images nor harmless may come to anything."""
    resource, action = str(access.get("resource")), str(access.get("action"))
    if access.get("effect") in {None, "", "allow"}:
        if (resource, action) in _GRANTS:
            rights.give(who, _GRANTS[resource, action])
            return
        if action in _HARMLESS:
            return
        matched = [given for (what, do), given in _GRANTS.items() if resource in {what, "*"} and action in {do, "*"}]
        rights.give(who, frozenset[str]().union(*matched))
    effect = f" with the effect {access['effect']}" if access.get("effect") else ""
    rights.doubts.setdefault(who, {})[f"robot {robot} may {action} {resource}{effect}"] = ALL


def _read_member(project: str, member: Mapping[str, Any], config: Config) -> None:
    name = _text(member.get("entity_name"), f"a member's name in {project}")
    role, rights = member.get("role_id"), config.rights.setdefault(project, _Rights())
    who = Who(name, Standing.GROUP) if member.get("entity_type") == "g" else Who(name)
    if isinstance(role, int) and role in _ROLES:
        rights.give(who, _ROLES[role])
    else:
        rights.doubts.setdefault(who, {})[f"the role of {name} in project {project} is not known here"] = ALL


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        raise unreadable(f"{what} in what is deployed is no text")
    return value
