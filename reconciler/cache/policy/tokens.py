"""The `acl` of docker_auth, the token service that most self-hosted distribution registries stand behind.

Its first entry that matches decides (docker_auth: auth_server/authz/acl.go). A name is matched whole by a glob, but
anywhere by an expression between slashes: so ours begin with ^ and end with $. At the end the areas of the fleet are
closed to everybody else, whatever entries follow, and so is the list of all repositories, which admins alone get.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar

from reconciler.cache.policy.compare import ALL, LISTS, WORDS, Given
from reconciler.cache.policy.documents import entries, optional, record, texts, unreadable
from reconciler.cache.policy.findings import ANONYMOUS, Standing, Who
from reconciler.cache.policy.globs import escaped, path_match
from reconciler.cache.policy.language import (
    PRINTABLE,
    Kind,
    Language,
    TooManyError,
    UnmodelledError,
    kinds,
    literal,
)
from reconciler.cache.policy.regexes import quoted, regex
from reconciler.cache.rights import Right

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from reconciler.cache.policy.compare import Decisions
    from reconciler.cache.policy.rule import Rule
    from reconciler.cache.rights import Territory

_REPOSITORY, _REGISTRY = "repository", "registry"
_CATALOG = "catalog"
"""The name, of the type _REGISTRY, that the list of all repositories is asked for by; with the action `*`."""
_ACCOUNTS = Language((((PRINTABLE, 1),), ((PRINTABLE, 1),)), frozenset({1}))
_VARIABLE = re.compile(r"\$\{[^}]*\}")
_PLAIN = re.compile(r"(?:\\.|[^\\*?\[])+")
_ACCOUNT = "${account}"
_OTHER_DECIDERS = ("acl_mongo", "acl_xorm", "ext_authz", "plugin_authz", "casbin_authz")


def render(rule: Rule) -> dict[str, Any]:
    """An object with `acl`, as JSON, which is YAML too. The same for the same rule."""
    acl = []
    for admin in rule.admins:
        acl.append(_entry({"account": _exactly(admin)}, ["*"], "looks after the registry"))
        acl.append(_entry({"account": _exactly(admin), "name": _CATALOG}, ["*"], "lists all of it", _REGISTRY))
    for territory in rule.territories:
        for account, rights in territory.rights:
            match = {"account": _exactly(account), "name": _name(territory)}
            acl.append(_entry(match, [right.value for right in Right if right in rights], territory.folder))
    for folder in rule.fences:
        acl.append(_entry({"name": _below(folder)}, [], f"{folder}: nobody else"))
    for territory in rule.territories:
        if not any(territory.folder.startswith(f"{fence}/") for fence in rule.fences):
            acl.append(_entry({"name": _name(territory)}, [], f"{territory.folder}: nobody else"))
    acl.append(_entry({"name": _CATALOG}, [], "the list of all repositories: nobody else", _REGISTRY))
    return {"acl": acl}


def _entry(match: Mapping[str, str], actions: Sequence[str], comment: str, kind: str = _REPOSITORY) -> dict[str, Any]:
    ordered = {"account": match.get("account"), "type": kind, "name": match.get("name")}
    return {"match": {k: v for k, v in ordered.items() if v is not None}, "actions": list(actions), "comment": comment}


def _exactly(account: str) -> str:
    """A glob for this account: what reads as an expression or as a variable is written so that it does not."""
    glob = escaped(account)
    return f"\\{glob}" if glob.startswith("/") else glob


def _name(territory: Territory) -> str:
    return territory.folder if territory.exact else _below(territory.folder)


def _below(folder: str) -> str:
    return f"/^{quoted(folder)}/.+$/"


@dataclass(slots=True)
class _Entry:
    """One of the list. `doubt` is what it asks for besides account and name, which is not known here."""

    number: int
    account: str | None
    name: str | None
    actions: frozenset[str]
    doubt: str | None

    @property
    def shown(self) -> str:
        parts = [f"{key} {value!r}" for key, value in (("account", self.account), ("name", self.name)) if value]
        return f"acl entry {self.number + 1}" + (f" ({', '.join(parts)})" if parts else "")

    @property
    def own(self) -> bool:
        """Whether its name depends on the account."""
        return self.name is not None and _ACCOUNT in self.name


@dataclass(slots=True)
class Config:
    """What docker_auth was told."""

    acl: list[_Entry] = field(default_factory=list)
    """Of repositories."""
    of_catalogue: list[_Entry] = field(default_factory=list)
    unread: list[str] = field(default_factory=list)

    def decisions(self, rule: Rule) -> Decisions:
        """See Deployed."""
        every = (*self.acl, *self.of_catalogue)
        people, unread = dict[Who, frozenset[str]](), list(self.unread)
        try:
            for who, patterns in _told_apart(every, rule):
                people[who] = patterns
        except TooManyError:
            unread.append("the patterns of accounts are too tangled to be looked through")
        applies = {entry.number: frozenset(_concerned(entry, people)) for entry in every}
        made = _Decisions(frozenset(people), unread, applies)
        for entry in self.acl:
            made.take(entry)
        for entry in self.of_catalogue:
            made.take_listing(entry)
        return made


def _told_apart(listed: Sequence[_Entry], rule: Rule) -> Iterator[tuple[Who, frozenset[str]]]:
    """Whoever the accounts' patterns tell apart, with the patterns that match. Raises TooManyError, after some."""
    admins = set(rule.admins)
    known = sorted({*rule.accounts, *admins, *filter(None, map(_plain, listed))})
    patterns = sorted({entry.account for entry in listed if entry.account is not None})
    languages = [*(literal(account) for account in known), *(_language(pattern) for pattern in patterns)]
    yield ANONYMOUS, frozenset(pattern for pattern in patterns if ANONYMOUS.account in _language(pattern))
    for kind in kinds(languages, _ACCOUNTS):
        matched = frozenset(patterns[at - len(known)] for at in kind.matched if at >= len(known))
        yield _who(kind, known, admins), matched


def _concerned(entry: _Entry, people: Mapping[Who, frozenset[str]]) -> Iterable[Who]:
    return (who for who, patterns in people.items() if entry.account is None or entry.account in patterns)


@dataclass(slots=True)
class _Decisions:
    """See Decisions. Each name's pattern is read once."""

    words: ClassVar[Mapping[Right, frozenset[str]]] = WORDS
    people: frozenset[Who]
    unread: Sequence[str]
    applies: Mapping[int, frozenset[Who]]
    """Number of an entry -> who it is about."""
    languages: list[Language] = field(default_factory=list)
    _names: dict[str, int] = field(default_factory=dict)
    """Pattern -> number of its language."""
    _by_name: dict[int, list[tuple[_Entry, Who | None]]] = field(default_factory=dict)
    """Number of a language -> entries that it is the name of, for one account alone or for all."""
    _anywhere: list[tuple[_Entry, Who | None]] = field(default_factory=list)
    _listing: list[tuple[_Entry, Who | None]] = field(default_factory=list)

    def take(self, entry: _Entry) -> None:
        """One of repositories."""
        for who in self._each(entry):
            self._place(entry, who)

    def take_listing(self, entry: _Entry) -> None:
        """One of the registry as such."""
        for who in self._each(entry):
            name = _named(entry, who)
            if name is None or _CATALOG in _fitting(name):
                self._listing.append((entry, who))

    def _each(self, entry: _Entry) -> Iterable[Who | None]:
        return self.applies[entry.number] if entry.own else [None]

    def _place(self, entry: _Entry, who: Who | None) -> None:
        pattern = _named(entry, who)
        if pattern is None:
            self._anywhere.append((entry, who))
            return
        if pattern not in self._names:
            self._names[pattern] = len(self.languages)
            self.languages.append(_fitting(pattern))
        self._by_name.setdefault(self._names[pattern], []).append((entry, who))

    def given(self, matched: frozenset[int], asked: Collection[Who]) -> Mapping[Who, Given]:
        """See Decisions. An entry for everybody tells nobody apart."""
        candidates = [*self._anywhere, *(each for name in matched for each in self._by_name[name])]
        with_login = self.people - {ANONYMOUS}
        named = [self.applies[entry.number] if only is None else {only} for entry, only in candidates]
        narrow = frozenset[Who]().union(*(who for who in named if not who >= with_login))
        unnamed = any(who.standing is Standing.STRANGER for who in with_login - narrow)
        pending = set(asked) | (narrow if unnamed else with_login)
        return self._decided(pending, candidates)

    def catalogue(self) -> Mapping[Who, Given]:
        """See Decisions."""
        return self._decided(self.people, self._listing)

    def _decided(self, people: Collection[Who], candidates: Iterable[tuple[_Entry, Who | None]]) -> Mapping[Who, Given]:
        """By the first of these entries that is about one; an entry may be in question for one account alone."""
        pending = set(people)
        found = {who: Given(because="no entry matches") for who in pending}
        for entry, only in sorted(candidates, key=lambda each: each[0].number):
            for who in pending & self.applies[entry.number] if only is None else pending & {only}:
                if entry.doubt is not None or (entry.own and who.standing is Standing.STRANGER):
                    doubt = entry.doubt or "holds for accounts of fitting names"
                    found[who].doubts[f"{entry.shown} {doubt}"] = entry.actions
                    continue
                found[who].always, found[who].because = entry.actions, entry.shown
                pending = pending - {who}
        return found


def _plain(entry: _Entry) -> str | None:
    """The account of an entry that names just one."""
    account = entry.account or ""
    if _is_expression(account) or _VARIABLE.search(account) or not _PLAIN.fullmatch(account):
        return None
    return re.sub(r"\\(.)", r"\1", account)


def _named(entry: _Entry, who: Who | None) -> str | None:
    """What is asked of names, with the account in it, or with a NUL for that of any stranger."""
    if entry.name is None or who is None:
        return entry.name
    return entry.name.replace(_ACCOUNT, "\0" if who.standing is Standing.STRANGER else quoted(who.account))


def _who(kind: Kind, known: Sequence[str], admins: set[str]) -> Who:
    account = next((known[at] for at in kind.matched if at < len(known)), None)
    if account is None:
        return Who(kind.example, Standing.STRANGER)
    return Who(account, Standing.ADMIN if account in admins else Standing.ACCOUNT)


def _is_expression(pattern: str) -> bool:
    return len(pattern) > 2 and pattern[0] == pattern[-1] == "/"


def _language(pattern: str) -> Language:
    """Raises UnmodelledError."""
    if _VARIABLE.search(pattern):
        raise UnmodelledError(f"{pattern!r} has a variable")
    return regex(pattern[1:-1]) if _is_expression(pattern) else path_match(pattern)


def _fitting(pattern: str) -> Language:
    """Of a name, which may depend on an account: for some account of a name without slashes then."""
    if "\0" not in pattern:
        return _language(pattern)
    if _is_expression(pattern):
        return regex(pattern[1:-1].replace("\0", "[^/]+"))
    return path_match(pattern.replace("\0", "?*"))


def read(document: Any) -> Config:
    """docker_auth's config, or the list `acl` of one. Raises LianError for what is neither."""
    config = Config()
    acl = document
    if isinstance(document, dict):
        whole = record(document, "docker_auth's config")
        acl = whole.get("acl")
        config.unread += [f"{name} decides as well" for name in _OTHER_DECIDERS if whole.get(name) is not None]
    if acl is None and not config.unread:
        raise unreadable("what is deployed has no `acl`")
    for number, value in enumerate(entries(acl, "acl")):
        _read_entry(number, record(value, f"acl entry {number + 1}"), config)
    return config


def _read_entry(number: int, value: Mapping[str, Any], config: Config) -> None:
    where = f"acl entry {number + 1}"
    match = optional(value.get("match"), f"{where}: match")
    for name in ("account", "type", "name", "service", "ip"):
        if not isinstance(match.get(name), str | None):
            raise unreadable(f"{where} of what is deployed has a {name} that is no text")
    listed = texts(value.get("actions"), where)
    actions = ALL if list(listed) == ["*"] else frozenset(listed) & ALL
    lists = LISTS if "*" in listed else frozenset[str]()
    kind = match.get("type")
    asked = [name for name in ("ip", "service", "labels") if match.get(name)]
    doubt = f"depends on {' and '.join(asked)}" if asked else None
    entry = _Entry(number, match.get("account"), match.get("name"), actions, doubt)
    try:
        types = [one for one in (_REPOSITORY, _REGISTRY) if kind is None or one in _language(kind)]
        if not types:
            return
        if entry.account is not None:
            _language(entry.account)
        if entry.name is not None:
            _language(entry.name.replace(_ACCOUNT, "account"))
    except UnmodelledError as error:
        config.unread.append(f"{where}: {error}")
        return
    if _REPOSITORY in types:
        config.acl.append(entry)
    if _REGISTRY in types:
        config.of_catalogue.append(replace(entry, actions=lists))
