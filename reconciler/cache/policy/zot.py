"""zot's `accessControl` (zot: pkg/api/authz.go, pkg/api/config/config.go).

The longest pattern that matches a repository decides alone, so each of ours names everyone who may do something there,
and shorter ones of others open nothing. Only the admins of `adminPolicy` are asked after as well.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from reconciler.cache.policy.compare import Given
from reconciler.cache.policy.documents import entries, optional, part, record, texts
from reconciler.cache.policy.findings import ANONYMOUS, Standing, Who
from reconciler.cache.policy.globs import doublestar, escaped
from reconciler.cache.policy.language import ANYTHING, Language, UnmodelledError
from reconciler.cache.rights import Right

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from reconciler.cache.policy.compare import Decisions
    from reconciler.cache.policy.rule import Rule
    from reconciler.cache.rights import Territory

WORDS: Mapping[Right, frozenset[str]] = {
    Right.PULL: frozenset({"read"}),
    Right.PUSH: frozenset({"create", "update"}),
    Right.DELETE: frozenset({"delete"}),
}
_ACTIONS = ("read", "create", "update", "delete")
_ALL = frozenset(_ACTIONS)
_KEPT_ELSEWHERE = ("ldap", "openid", "bearer")
"""Ways to log in whose users may be in groups that the file does not list."""


def render(rule: Rule) -> dict[str, Any]:
    """The `accessControl` object. The same for the same rule."""
    fences = [_below(fence) for fence in rule.fences]
    repositories = {fence: _group(()) for fence in fences}
    for territory in rule.territories:
        pattern = _exactly(territory.folder, fences) if territory.exact else _below(territory.folder)
        repositories[pattern] = _group(_policies(territory))
    admins = {"users": list(rule.admins), "actions": list(_ACTIONS) if rule.admins else []}
    return {"repositories": dict(sorted(repositories.items())), "adminPolicy": admins}


def _below(folder: str) -> str:
    return f"{escaped(folder)}/**"


def _exactly(path: str, fences: Sequence[str]) -> str:
    """A pattern for this repository. One that is no longer than a fence's around it would not win: it is said twice."""
    pattern = escaped(path)
    fenced = any(f"{pattern}/".startswith(fence.removesuffix("**")) and len(pattern) <= len(fence) for fence in fences)
    return f"{{{pattern},{pattern}}}" if fenced else pattern


def _policies_of(patterns: Iterable[_Pattern]) -> Iterator[_Policy]:
    for pattern in patterns:
        yield from pattern.policies


def _policies(territory: Territory) -> Sequence[dict[str, Any]]:
    """One for each set of rights."""
    users: dict[tuple[str, ...], list[str]] = {}
    for account, rights in territory.rights:
        given = frozenset().union(*(WORDS[right] for right in rights))
        users.setdefault(tuple(action for action in _ACTIONS if action in given), []).append(account)
    return [
        {"users": sorted(named), "actions": list(actions)}
        for actions, named in sorted(users.items(), key=lambda item: (-len(item[0]), item))
    ]


def _group(policies: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return {"policies": list(policies), "defaultPolicy": [], "anonymousPolicy": []}


@dataclass(slots=True)
class _Pattern:
    """One entry of `repositories`."""

    text: str
    policies: Sequence[_Policy]
    default: frozenset[str]
    anonymous: frozenset[str]

    @property
    def shown(self) -> str:
        return f"repositories {self.text!r}"


@dataclass(slots=True)
class _Policy:
    users: frozenset[str]
    groups: frozenset[str]
    actions: frozenset[str]
    conditions: bool

    def names(self, who: Who, groups: frozenset[str]) -> bool:
        """A group's members from elsewhere have no known name."""
        user = who.account if who.standing in {Standing.ACCOUNT, Standing.ADMIN, Standing.ANONYMOUS} else None
        return user in self.users or not groups.isdisjoint(self.groups)


@dataclass(slots=True)
class Config:
    """What zot was told, as it reads it: keys in any case, patterns and names of groups in lower case."""

    patterns: list[_Pattern] = field(default_factory=list)
    admin: _Policy = field(default_factory=lambda: _Policy(frozenset(), frozenset(), frozenset(), False))
    groups: dict[str, frozenset[str]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    languages: list[Language] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)
    """For each language the pattern that it is of."""
    members_elsewhere: bool = False

    def decisions(self, rule: Rule) -> Decisions:
        """See Deployed."""
        policies = [self.admin, *(policy for pattern in self.patterns for policy in pattern.policies)]
        named = {user for policy in policies for user in policy.users} - {""}
        named |= {user for users in self.groups.values() for user in users}
        asked = {group for policy in policies for group in policy.groups}
        strange = next(name for number in range(10**9) if (name := f"stranger{number or ''}") not in named)
        people = {
            ANONYMOUS,
            Who(strange, Standing.STRANGER),
            *(Who(account, Standing.ADMIN) for account in rule.admins),
            *(Who(account) for account in (named | set(rule.accounts)) - set(rule.admins)),
            *(Who(group, Standing.GROUP) for group in asked if self.members_elsewhere or group not in self.groups),
        }
        return _Decisions(self, frozenset(people))


@dataclass(frozen=True, slots=True)
class _Decisions:
    """See Decisions."""

    words: ClassVar[Mapping[Right, frozenset[str]]] = WORDS
    config: Config
    people: frozenset[Who]
    _groups: dict[Who, frozenset[str]] = field(default_factory=dict)
    """One who was asked about -> the groups that he is in."""

    @property
    def languages(self) -> Sequence[Language]:
        """See Decisions."""
        return self.config.languages

    @property
    def unread(self) -> Sequence[str]:
        """See Decisions."""
        return self.config.unread

    def given(self, matched: frozenset[int], asked: Collection[Who]) -> Mapping[Who, Given]:
        """See Decisions. Of patterns of the same length zot takes any."""
        found = [self.config.patterns[index] for index in {self.config.owner[index] for index in matched}]
        longest = max((len(pattern.text.encode()) for pattern in found), default=0)
        deciding = sorted((one for one in found if len(one.text.encode()) == longest), key=lambda one: one.text)
        named = {who for policy in (self.config.admin, *_policies_of(deciding)) for who in self._named(policy)}
        return {who: self._of(who, deciding) for who in named | set(asked)}

    def catalogue(self) -> Mapping[Who, Given]:
        """See Decisions."""
        return {}

    def _named(self, policy: _Policy) -> Iterable[Who]:
        """Those of `people` whom a policy names, by account or by group."""
        users = policy.users.union(*(self.config.groups.get(group, frozenset()) for group in policy.groups))
        return self.people & {*map(Who, users), *(Who(group, Standing.GROUP) for group in policy.groups)}

    def _of(self, who: Who, deciding: Sequence[_Pattern]) -> Given:
        if who not in self._groups:
            self._groups[who] = self._groups_of(who)
        groups = self._groups[who]
        doubts: dict[str, frozenset[str]] = {}
        each = [self._by(pattern, who, groups, doubts) for pattern in deciding] or [frozenset[str]()]
        admin = frozenset[str]()
        if self.config.admin.names(who, groups):
            if self.config.admin.conditions:
                doubts["adminPolicy has conditions"] = self.config.admin.actions
            else:
                admin = self.config.admin.actions
        always, ever = frozenset.intersection(*each) | admin, frozenset.union(*each) | admin
        because = " or ".join(pattern.shown for pattern in deciding) or "no pattern matches"
        return Given(always, f"{because}, and adminPolicy" if admin else because, ever - always, doubts)

    def _by(
        self, pattern: _Pattern, who: Who, groups: frozenset[str], doubts: dict[str, frozenset[str]]
    ) -> frozenset[str]:
        given = pattern.anonymous if who.standing is Standing.ANONYMOUS else pattern.default
        for policy in pattern.policies:
            if policy.names(who, groups):
                if policy.conditions:
                    doubts[f"{pattern.shown} has conditions"] = policy.actions
                else:
                    given |= policy.actions
        return given

    def _groups_of(self, who: Who) -> frozenset[str]:
        if who.standing is Standing.GROUP:
            return frozenset({who.account})
        return frozenset(group for group, users in self.config.groups.items() if who.account in users)


def read(document: Any) -> Config:
    """zot's config, or the `accessControl` object of one. Raises LianError for what is neither."""
    whole = record(document, "zot's config")
    config = Config()
    if part(whole, "repositories") is None and part(whole, "adminPolicy") is None:
        _read_surroundings(whole, config)
        control = part(record(part(whole, "http"), "http"), "accessControl")
        whole = _OPEN if control is None else record(control, "http.accessControl")
    for name, group in optional(part(whole, "groups"), "groups").items():
        config.groups[name.lower()] = frozenset(
            texts(part(record(group, f"groups.{name}"), "users"), f"groups.{name}.users")
        )
    config.admin = _policy(optional(part(whole, "adminPolicy"), "adminPolicy"), "adminPolicy")
    for text, group in sorted(optional(part(whole, "repositories"), "repositories").items()):
        _read_pattern(text.lower(), record(group, f"repositories.{text}"), config)
    return config


_OPEN = {"repositories": {"**": {"defaultPolicy": list(_ACTIONS)}}}
"""Without access control, whoever logs in may do anything."""


def _read_surroundings(whole: Mapping[str, Any], config: Config) -> None:
    http = record(part(whole, "http"), "http")
    methods = optional(part(http, "auth"), "http.auth")
    if part(methods, "bearer") is not None:
        config.unread.append("http.auth.bearer is set: a token service decides, and zot does not look at accessControl")
    if part(http, "accessControl") is None and not methods:
        config.unread.append("there is neither http.auth nor http.accessControl: anyone may do anything")
    config.members_elsewhere = any(part(methods, name) is not None for name in _KEPT_ELSEWHERE)


def _read_pattern(text: str, group: Mapping[str, Any], config: Config) -> None:
    where = f"repositories.{text}.policies"
    policies = [_policy(each, f"{where}[{n}]") for n, each in enumerate(entries(part(group, "policies"), where))]
    default = frozenset(texts(part(group, "defaultPolicy"), f"repositories.{text}.defaultPolicy")) & _ALL
    anonymous = frozenset(texts(part(group, "anonymousPolicy"), f"repositories.{text}.anonymousPolicy")) & _ALL
    try:
        languages: Sequence[Language] = doublestar(text) if text else (ANYTHING,)
    except UnmodelledError as error:
        config.unread.append(f"repositories: {error}")
        return
    config.patterns.append(_Pattern(text, policies, default, anonymous))
    config.languages += languages
    config.owner += [len(config.patterns) - 1] * len(languages)


def _policy(value: Any, where: str) -> _Policy:
    policy = record(value, where)
    return _Policy(
        frozenset(texts(part(policy, "users"), f"{where}.users")),
        frozenset(group.lower() for group in texts(part(policy, "groups"), f"{where}.groups")),
        frozenset(texts(part(policy, "actions"), f"{where}.actions")) & _ALL,
        bool(part(policy, "conditions")),
    )
