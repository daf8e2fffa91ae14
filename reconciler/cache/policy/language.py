"""Patterns as sets of texts: finite automata, and the classes into which several of them part all texts."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence

Chars: TypeAlias = frozenset[str]

PRINTABLE: Chars = frozenset(map(chr, range(0x21, 0x7F)))
"""What names of accounts and of repositories are made of."""
_PREFERRED = {char: rank for rank, char in enumerate("xabcdefghijklmnopqrstuvwyz0123456789-_./")}
"""Which of several equal characters stands in an example."""
MAX_STATES = 400_000


class UnmodelledError(ValueError):
    """A pattern says something that is not modelled here; nothing must be concluded from it."""


@dataclass(frozen=True, slots=True)
class Language:
    """A nondeterministic automaton without empty moves. State 0 is the first one."""

    moves: tuple[tuple[tuple[Chars, int], ...], ...]
    accepts: frozenset[int]

    def __contains__(self, text: str) -> bool:
        states = {0}
        for char in text:
            states = {to for state in states for chars, to in self.moves[state] if char in chars}
        return not states.isdisjoint(self.accepts)


ANYTHING = Language((((PRINTABLE, 0),),), frozenset({0}))
NOTHING = Language(((),), frozenset())


def literal(text: str) -> Language:
    """This text, and no other."""
    return Language((*(((frozenset(char), at + 1),) for at, char in enumerate(text)), ()), frozenset({len(text)}))


def below(folder: str, joint: str = "/") -> Language:
    """Every path below a folder, not the folder itself."""
    last = len(folder) + 1
    moves = [((frozenset(char), at + 1),) for at, char in enumerate(f"{folder}{joint}")]
    return Language((*moves, ((PRINTABLE, last + 1),), ((PRINTABLE, last + 1),)), frozenset({last + 1}))


@dataclass(frozen=True, slots=True)
class Kind:
    """Texts that no pattern tells apart: a short one of them, and the indices of the patterns that match."""

    example: str
    matched: frozenset[int]


class TooManyError(Exception):
    """The patterns are too tangled to be looked through."""


def kinds(
    languages: Sequence[Language],
    grammar: Language,
    within: Collection[int] | None = None,
    most: int = MAX_STATES,
) -> Iterator[Kind]:
    """Every kind of text that there is: of those of `grammar`, and if `within` is given of those that one of these
    languages matches. Shortest examples first. Raises TooManyError beyond `most` states."""
    union = _Union(most)
    for language in (*languages, grammar):
        union.add(language)
    yield from union.walk(len(languages), None if within is None else frozenset(within))


@dataclass(slots=True)
class _Union:
    """All automata side by side; `owner` has for each state whose it is."""

    most: int
    moves: list[tuple[tuple[Chars, int], ...]] = field(default_factory=list)
    owner: list[int] = field(default_factory=list)
    accepting: set[int] = field(default_factory=set)
    starts: list[int] = field(default_factory=list)
    sorts: dict[frozenset[Chars], Sequence[tuple[tuple[Chars, ...], Sequence[str]]]] = field(default_factory=dict)

    def add(self, language: Language) -> None:
        base, index = len(self.moves), len(self.starts)
        self.starts.append(base)
        self.moves += [tuple((chars, base + to) for chars, to in moves) for moves in language.moves]
        self.owner += [index] * len(language.moves)
        self.accepting |= {base + state for state in language.accepts}

    def walk(self, grammar: int, within: frozenset[int] | None) -> Iterator[Kind]:
        start = frozenset(self.starts)
        queue, known, told = deque([(start, "")]), {start}, set[frozenset[int]]()
        while queue:
            states, example = queue.popleft()
            matched = frozenset(self.owner[state] for state in states if state in self.accepting)
            wanted = grammar in matched and (within is None or not within.isdisjoint(matched))
            if wanted and matched not in told:
                told.add(matched)
                yield Kind(example, matched - {grammar})
            for following, char in self._following(states):
                if following not in known and self._may_matter(following, grammar, within):
                    known.add(following)
                    queue.append((following, example + char))
            if len(known) > self.most:
                raise TooManyError

    def _following(self, states: frozenset[int]) -> Iterator[tuple[frozenset[int], str]]:
        """Where characters lead to: each that a move names alone, and one of each sort of the others."""
        narrow: dict[str, set[int]] = {}
        wide: dict[Chars, set[int]] = {}
        for state in states:
            for chars, to in self.moves[state]:
                if len(chars) == 1:
                    narrow.setdefault(next(iter(chars)), set()).add(to)
                else:
                    wide.setdefault(chars, set()).add(to)
        for sets, members in self._sorts(frozenset(wide)):
            if char := next((char for char in members if char not in narrow), None):
                yield frozenset().union(*(wide[chars] for chars in sets)), char
        for char, reached in narrow.items():
            yield frozenset(reached.union(*(to for chars, to in wide.items() if char in chars))), char

    def _sorts(self, sets: frozenset[Chars]) -> Sequence[tuple[tuple[Chars, ...], Sequence[str]]]:
        """The characters that lie in the same of these sets, preferred ones first."""
        if sets not in self.sorts:
            found: dict[tuple[Chars, ...], list[str]] = {}
            for char in sorted(frozenset[str]().union(*sets), key=_rank):
                found.setdefault(tuple(chars for chars in sets if char in chars), []).append(char)
            self.sorts[sets] = tuple(found.items())
        return self.sorts[sets]

    def _may_matter(self, states: frozenset[int], grammar: int, within: frozenset[int] | None) -> bool:
        owners = {self.owner[state] for state in states}
        return grammar in owners and (within is None or not within.isdisjoint(owners))


def _rank(char: str) -> tuple[int, str]:
    return _PREFERRED.get(char, len(_PREFERRED)), char
