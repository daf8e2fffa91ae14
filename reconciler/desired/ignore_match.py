"""One automaton that says which of many path patterns match a path, reading each character of a name once.

The patterns of an ignore file come from people who may be less trusted than the fleet's owner, and a path is asked
for every entry of a context. A backtracking matcher can be made to run for ever by a short pattern; this one cannot:
it walks a lazily built deterministic automaton over all patterns at once, so a name costs one look-up a character,
whatever the number of patterns. The state after `folder/` is kept by the walker, so parents are never read again.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_POSITIONS = 200_000
"""Positions of the underlying automaton; more are refused, so that an ignore file cannot eat the memory."""
MAX_STATES = 50_000
"""Deterministic states that are remembered before the memory is started anew."""

_LAST = 0x10FFFF
_REPLACEMENT = 0xFFFD
_FIRST_BYTE, _LAST_BYTE = 0xDC80, 0xDCFF  # what `surrogateescape` makes of a byte that is not UTF-8


class TooManyPositions(ValueError):
    """The patterns need more positions than MAX_POSITIONS."""


@dataclass(frozen=True, slots=True)
class Chars:
    """One character out of these ranges. `exact`: a byte that is not UTF-8 is not taken for U+FFFD.

    Go compares strings by bytes, but its regular expressions see U+FFFD for a byte that is not UTF-8.
    """

    ranges: tuple[tuple[int, int], ...]
    negated: bool = False
    exact: bool = False

    def holds(self, char: str) -> bool:
        """True if the character is one of these."""
        point = ord(char)
        if _FIRST_BYTE <= point <= _LAST_BYTE:
            if self.exact:
                return self is ANY
            point = _REPLACEMENT
        return any(low <= point <= high for low, high in self.ranges) != self.negated


@dataclass(frozen=True, slots=True)
class Begin:
    """Holds before the first character."""


@dataclass(frozen=True, slots=True)
class End:
    """Holds behind the last character."""


@dataclass(frozen=True, slots=True)
class Boundary:
    """Holds (or, `inside`, does not hold) where a word of ASCII letters, digits and _ begins or ends."""

    inside: bool = False


@dataclass(frozen=True, slots=True)
class Chain:
    """One after the other."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Choice:
    """Any one of these."""

    parts: tuple[Expression, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """At least `low` times, at most `high` times (None: without end)."""

    part: Expression
    low: int
    high: int | None


Expression = Chars | Begin | End | Boundary | Chain | Choice | Repeat

ANY = Chars(((0, _LAST),), exact=True)
ANYTHING = Repeat(ANY, 0, None)


@lru_cache(maxsize=4096)
def _exactly(char: str) -> Chars:
    return Chars(((ord(char), ord(char)),), exact=True)


def text(literal: str) -> tuple[Expression, ...]:
    """The characters of a literal that is compared byte by byte."""
    return tuple(_exactly(char) for char in literal)


@dataclass(slots=True, eq=False)
class State:
    """Where reading stands: the positions that are alive, and what is known of the next step."""

    positions: frozenset[int]
    in_word: bool
    """True if the last character was part of a word; False where no pattern asks."""
    after: dict[str, State] = field(default_factory=dict)
    accepted: int = -1
    """Bit i is set if pattern i matches what has been read; -1 while nobody has asked."""


class Automaton:
    """All patterns of one ignore file. Pattern i matches a path if bit i of `accepted` is set at its end."""

    def __init__(self, patterns: Iterable[Expression]) -> None:
        """Raises TooManyPositions."""
        self._reads: list[tuple[Chars, int] | None] = []
        self._jumps: list[list[int]] = []
        self._asserts: dict[type[Begin | End] | Boundary, dict[int, int]] = {
            kind: {} for kind in (Begin, End, Boundary(False), Boundary(True))
        }
        self._asserting: set[int] = set()
        self._accepts: dict[int, int] = {}
        self._states: dict[tuple[frozenset[int], bool], State] = {}
        entries = [self._add_pattern(index, pattern) for index, pattern in enumerate(patterns)]
        self._words = bool(self._asserts[Boundary(False)] or self._asserts[Boundary(True)])
        self.start = State(self._closed(entries, Begin), in_word=False)  # never taken for a state further on

    def step(self, state: State, char: str) -> State:
        """The state after one more character."""
        known = state.after.get(char)
        if known is None:
            in_word = self._words and _is_word(char)
            ready = state.positions
            if self._words:
                here = (Begin,) if state is self.start else ()
                ready = self._closed(ready, Boundary(inside=state.in_word == in_word), *here)
            reads = filter(None, (self._reads[position] for position in ready))
            known = self._state(self._closed(to for chars, to in reads if chars.holds(char)), in_word)
            state.after[char] = known
        return known

    def read(self, state: State, name: str) -> State:
        """The state after these characters."""
        for char in name:
            state = state.after.get(char) or self.step(state, char)
        return state

    def accepted(self, state: State) -> int:
        """The patterns that match if the path ends here, as a bit set."""
        if state.accepted < 0:
            ends = self._closed(state.positions, End, Boundary(not state.in_word))
            bits = 0
            for position in ends:
                if position in self._accepts:
                    bits |= 1 << self._accepts[position]
            state.accepted = bits
        return state.accepted

    def _state(self, positions: frozenset[int], in_word: bool) -> State:
        state = self._states.get((positions, in_word))
        if state is None:
            if len(self._states) >= MAX_STATES:
                self._forget()
            state = self._states[positions, in_word] = State(positions, in_word)
        return state

    def _forget(self) -> None:
        """States held by a walker stay right: only what can be computed again is dropped."""
        for state in self._states.values():
            state.after.clear()
        self._states.clear()

    def _closed(self, positions: Iterable[int], *holding: type[Begin | End] | Boundary) -> frozenset[int]:
        """The positions with all that can be reached from them without reading, given the assertions that hold."""
        asserts = [found for kind in holding if (found := self._asserts[kind])]
        seen: set[int] = set()
        todo = list(positions)
        while todo:
            position = todo.pop()
            if position in seen:
                continue
            seen.add(position)
            todo.extend(self._jumps[position])
            todo.extend(found[position] for found in asserts if position in found)
        return frozenset(position for position in seen if self._matters(position))

    def _matters(self, position: int) -> bool:
        return self._reads[position] is not None or position in self._asserting or position in self._accepts

    def _add_pattern(self, index: int, pattern: Expression) -> int:
        """A pattern matches anywhere in a path, as Go's MatchString does, unless it says Begin or End."""
        accept = self._position()
        self._accepts[accept] = index
        self._reads[accept] = (ANY, accept)
        choices = pattern.parts if isinstance(pattern, Choice) else (pattern,)
        entry = self._position()
        for choice in choices:
            anchored = isinstance(choice, Chain) and choice.parts[:1] == (Begin(),)
            whole = choice if anchored else Chain((ANYTHING, choice))
            self._jumps[entry].append(self._add(whole, accept))
        return entry

    def _position(self) -> int:
        if len(self._reads) >= MAX_POSITIONS:
            raise TooManyPositions(f"the patterns need more than {MAX_POSITIONS} positions")
        self._reads.append(None)
        self._jumps.append([])
        return len(self._reads) - 1

    def _add(self, part: Expression, then: int) -> int:
        """Adds the expression in front of a position; gives the position where it begins."""
        match part:
            case Chain(parts):
                for each in reversed(parts):
                    then = self._add(each, then)
                return then
            case Choice(parts):
                entry = self._position()
                self._jumps[entry] = [self._add(each, then) for each in parts]
                return entry
            case Repeat():
                return self._add_repeat(part, then)
            case Chars():
                entry = self._position()
                self._reads[entry] = (part, then)
                return entry
        entry = self._position()
        self._asserts[part if isinstance(part, Boundary) else type(part)][entry] = then
        self._asserting.add(entry)
        return entry

    def _add_repeat(self, repeat: Repeat, then: int) -> int:
        if repeat.high is None:
            loop = self._position()
            self._jumps[loop] = [then]
            self._jumps[loop].append(self._add(repeat.part, loop))
            then = loop
        else:
            last = then
            for _ in range(repeat.high - repeat.low):
                entry = self._position()
                self._jumps[entry] = [last, self._add(repeat.part, then)]
                then = entry
        return self._add(Chain((repeat.part,) * repeat.low), then)


def _is_word(char: str) -> bool:
    return char.isascii() and (char.isalnum() or char == "_")
