"""Compare a rule with what is deployed: every kind of repository that the deployed patterns tell apart, for everyone
whom they name, for a stranger and for one who shows no login."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from reconciler.cache.policy.findings import Finding, Kind, Standing, Who, in_order
from reconciler.cache.policy.language import Language, TooManyError, below, kinds, literal
from reconciler.cache.policy.regexes import regex
from reconciler.cache.rights import Right

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from reconciler.cache.policy.rule import Rule
    from reconciler.cache.rights import Territory

_COMPONENT = "[a-z0-9]+(?:(?:[.]|_|__|-+)[a-z0-9]+)*"
NAMES = regex(f"^{_COMPONENT}(?:/{_COMPONENT})*$")
"""Repositories that a registry takes (OCI distribution-spec)."""
LISTS = frozenset({"list"})
WORDS: Mapping[Right, frozenset[str]] = {right: frozenset({right.value}) for right in Right}
"""Of a registry that calls the rights as they are called here."""
ALL = frozenset(right.value for right in Right)
"""Every action of such a registry."""


@dataclass(slots=True)
class Given:
    """What is deployed gives one account in one place. `sometimes` is what it gives at times, beyond `always`."""

    always: frozenset[str] = frozenset()
    because: str | None = None
    sometimes: frozenset[str] = frozenset()
    doubts: dict[str, frozenset[str]] = field(default_factory=dict)
    """What cannot be told -> the actions that would be given by it."""

    @property
    def all(self) -> frozenset[str]:
        """At any time."""
        return self.always | self.sometimes


class Decisions(Protocol):
    """What a registry gives everybody who is to be looked at for one rule."""

    @property
    def words(self) -> Mapping[Right, frozenset[str]]:
        """What the registry calls each right."""

    @property
    def languages(self) -> Sequence[Language]:
        """The patterns of repositories in what it was told."""

    @property
    def unread(self) -> Sequence[str]:
        """What in that is not modelled, and may concern anything."""

    @property
    def people(self) -> Collection[Who]:
        """All who are to be looked at, and a stranger."""

    def given(self, matched: frozenset[int], asked: Collection[Who]) -> Mapping[Who, Given]:
        """What each of `asked` may do with a repository that these of its patterns match; and everybody else who is
        told apart from strangers there."""

    def catalogue(self) -> Mapping[Who, Given]:
        """What all who are to be looked at may do with the list of all repositories: LISTS it, or nothing. Nobody where
        what is deployed does not say."""


class Deployed(Protocol):
    """What a registry was told."""

    def decisions(self, rule: Rule) -> Decisions:
        """What it comes to for all whom the rule or what is deployed names, and for those whom neither does."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Part of what the rule speaks of. `lenient`: the repository that a folder's own name is; a registry may count it
    to the folder."""

    shown: str
    territory: Territory | None
    weight: int
    lenient: bool = False


_CATALOGUE = _Place("the list of all repositories", None, 0)


def compare(rule: Rule, deployed: Deployed) -> tuple[Finding, ...]:
    """Every difference, worst first; none if both say the same of all that the rule speaks of."""
    places = _places(rule)
    shift = len(places)
    decisions = deployed.decisions(rule)
    people = frozenset(decisions.people)
    always = {who for who in people if who.standing in {Standing.STRANGER, Standing.ANONYMOUS, Standing.ADMIN}}
    report = _Report(rule, decisions.words)
    languages = [*(language for _, language in places), *decisions.languages]
    try:
        for kind in kinds(languages, NAMES, range(shift)):
            place = max((places[index][0] for index in kind.matched if index < shift), key=lambda one: one.weight)
            matched = frozenset(index - shift for index in kind.matched if index >= shift)
            owners = place.territory.rights if place.territory else ()
            asked = always | (people & {Who(account) for account, _ in owners})
            report.take(place, kind.example, decisions.given(matched, asked))
    except TooManyError:
        report.unknown("the patterns are too tangled to be looked through")
    report.take(_CATALOGUE, "catalog", decisions.catalogue())
    for text in decisions.unread:
        report.unknown(text)
    return in_order(report.findings)


def _places(rule: Rule) -> list[tuple[_Place, Language]]:
    """Heavier ones go before lighter ones where several hold a repository."""
    found: list[tuple[_Place, Language]] = []
    for fence in rule.fences:
        shown = f"{fence}{rule.joint}**, of no workspace or actor here"
        found.append((_Place(shown, None, 0), below(fence, rule.joint)))
    for territory in rule.territories:
        folder = territory.folder
        if territory.exact:
            found.append((_Place(folder, territory, 100_000), literal(folder)))
            continue
        found.append((_Place(f"{folder}/**", territory, len(folder)), below(folder)))
        found.append((_Place(folder, territory, len(folder), lenient=True), literal(folder)))
    return found


@dataclass(slots=True)
class _Report:
    """Findings, each once: with the first example that was met."""

    rule: Rule
    words: Mapping[Right, frozenset[str]]
    found: dict[tuple[object, ...], Finding] = field(default_factory=dict)
    edges: list[Finding] = field(default_factory=list)
    """Of the repositories that are a folder's own name: they are told only where it is not so of all of the folder."""

    @property
    def findings(self) -> Sequence[Finding]:
        """All of them."""
        whole = {(one.kind, one.who, one.actions, one.because, one.repositories) for one in self.found.values()}
        edges = [
            one
            for one in self.edges
            if (one.kind, one.who, one.actions, one.because, f"{one.repositories}/**") not in whole
        ]
        return [*self.found.values(), *edges]

    def unknown(self, text: str) -> None:
        self._add(Finding(Kind.UNKNOWN, because=text))

    def take(self, place: _Place, example: str, given: Mapping[Who, Given]) -> None:
        """Compare what everyone may do with one kind of repository."""
        anyone = self._of_anyone(place, given)
        told = False
        for who in sorted(given, key=_order):
            what, allowed = given[who], self._allowed(who, place)
            opened = what.all - allowed
            if who.standing is not Standing.ANONYMOUS and not (who.standing is Standing.STRANGER and not told):
                opened -= anyone
            told = told or who.standing is Standing.STRANGER
            if opened:
                self._opened(_finding(Kind.OPENS, who, place, example, opened, what.because), place)
            if not place.lenient and (lacking := allowed - what.always):
                self._add(_finding(Kind.LACKS, who, place, example, lacking, what.because))
            for doubt, actions in what.doubts.items():
                if actions != allowed and not place.lenient:
                    self._add(_finding(Kind.UNKNOWN, who, place, example, actions, doubt))

    def _of_anyone(self, place: _Place, given: Mapping[Who, Given]) -> frozenset[str]:
        """What is opened to whoever logs in: it is told of the first stranger, and not again of everybody else."""
        each = [given[who].all - self._allowed(who, place) for who in given if who.standing is Standing.STRANGER]
        return frozenset.intersection(*each) if each else frozenset()

    def _allowed(self, who: Who, place: _Place) -> frozenset[str]:
        if place is _CATALOGUE:
            return LISTS if who.standing is Standing.ADMIN else frozenset()
        return frozenset().union(*(self.words[right] for right in self.rule.rights(who, place.territory)))

    def _opened(self, finding: Finding, place: _Place) -> None:
        if place.lenient:
            self.edges.append(finding)
        else:
            self._add(finding)

    def _add(self, finding: Finding) -> None:
        key: tuple[object, ...] = (finding.kind, finding.who, finding.repositories, finding.actions, finding.because)
        if finding.kind is Kind.UNKNOWN and finding.because is not None:
            key = (finding.kind, finding.because)  # once for each thing that cannot be told
        self.found.setdefault(key, finding)


def _order(who: Who) -> tuple[int, Who]:
    return list(Standing).index(who.standing), who


def _finding(
    kind: Kind, who: Who, place: _Place, example: str, actions: frozenset[str], because: str | None
) -> Finding:
    return Finding(kind, who, place.shown, example, tuple(sorted(actions)), because)
