"""Regular expressions of Go (RE2's syntax), as far as access lists have use for them: whatever else is in one is said
not to be modelled, and nothing is concluded from it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.cache.policy.language import PRINTABLE, Language, UnmodelledError

if TYPE_CHECKING:
    from reconciler.cache.policy.language import Chars

_WORD = frozenset(char for char in PRINTABLE if char.isalnum() or char == "_")
_DIGIT = frozenset("0123456789")
_CLASSES: dict[str, Chars] = {
    "d": _DIGIT, "D": PRINTABLE - _DIGIT, "w": _WORD, "W": PRINTABLE - _WORD, "s": frozenset(), "S": PRINTABLE,
}  # fmt: skip
_POSIX: dict[str, Chars] = {
    "alnum": _WORD - {"_"},
    "alpha": _WORD - {"_"} - _DIGIT,
    "digit": _DIGIT,
    "lower": frozenset(char for char in PRINTABLE if char.islower()),
    "upper": frozenset(char for char in PRINTABLE if char.isupper()),
    "punct": PRINTABLE - (_WORD - {"_"}),
    "word": _WORD,
}
_REPEAT = re.compile(r"\{(?P<least>\d+)(?P<comma>,(?P<most>\d*))?\}")
_NAMED_CLASS = re.compile(r"\[:(\^?)([a-z]+):\]")
_GROUP = re.compile(r"\?(?::|P?<[A-Za-z_][A-Za-z0-9_]*>)")
_MAX_REPEAT = 256
_MAX_STATES = 20_000
_MAX_STEPS = 300_000
"""Of empty moves that are looked through, from all states together: their number may grow with the square of that of
states."""


def regex(pattern: str) -> Language:
    """The texts in which the expression finds a match: it need not match all of a text, as everywhere in Go. Raises
    UnmodelledError."""
    return _Reader(pattern).language()


def quoted(text: str) -> str:
    """An expression that matches this text (Go: regexp.QuoteMeta)."""
    return re.sub(r"[\\.+*?()|\[\]{}^$]", r"\\\g<0>", text)


@dataclass(slots=True)
class _Fragment:
    """Part of an automaton with empty moves, from `start` to `end`."""

    start: int
    end: int


@dataclass(slots=True)
class _Reader:
    pattern: str
    at: int = 0
    depth: int = 0
    empty: list[list[int]] = field(default_factory=list)
    moves: list[list[tuple[Chars, int]]] = field(default_factory=list)

    def language(self) -> Language:
        """Each of the outermost alternatives may be bound to the beginning and the end of the text."""
        whole = self._fragment()
        self._join(whole, self._branch())
        while self._takes("|"):
            self._join(whole, self._branch())
        if self.at < len(self.pattern):
            raise self._unread()
        closed = _closed(self.empty, self.moves, whole)
        if closed is None:
            raise self._too_large()
        return closed

    def _branch(self) -> _Fragment:
        bound = self._takes("^")
        inner = self._sequence()
        lead = inner if bound else self._chain(self._loop(PRINTABLE), inner)
        return lead if self._takes("$") else self._chain(lead, self._loop(PRINTABLE))

    def _alternation(self) -> _Fragment:
        whole = self._fragment()
        self._join(whole, self._sequence())
        while self._takes("|"):
            self._join(whole, self._sequence())
        return whole

    def _sequence(self) -> _Fragment:
        found = self._fragment()
        self.empty[found.start].append(found.end)
        while self.at < len(self.pattern) and self.pattern[self.at] not in "|)$":
            found = self._chain(found, self._repeated())
        return found

    def _repeated(self) -> _Fragment:
        begin = self.at
        piece = self._piece()
        end = self.at
        if (sign := self.pattern[self.at : self.at + 1]) and sign in "*+?":
            self.at += 1
            piece = self._times(piece, sign)
        elif match := _REPEAT.match(self.pattern, self.at):
            self.at = match.end()
            piece = self._counted(piece, match, begin, end)
        else:
            return piece
        self._takes("?")  # lazy: which match is found does not matter, whether one is found does
        if (sign := self.pattern[self.at : self.at + 1]) and (sign in "*+?" or _REPEAT.match(self.pattern, self.at)):
            raise self._unread()
        return piece

    def _times(self, piece: _Fragment, sign: str) -> _Fragment:
        whole = self._fragment()
        self._join(whole, piece)
        if sign in "*?":
            self.empty[whole.start].append(whole.end)
        if sign in "*+":
            self.empty[piece.end].append(piece.start)
        return whole

    def _counted(self, first: _Fragment, match: re.Match[str], begin: int, end: int) -> _Fragment:
        """The piece is read again for each further time."""
        least, after = int(match["least"]), self.at
        endless = match["comma"] is not None and not match["most"]
        most = least if match["comma"] is None else max(least, 1) if endless else int(match["most"])
        if most > _MAX_REPEAT or most < least:
            raise self._unread()
        whole = self._fragment()
        self.empty[whole.start].append(whole.end)
        for number in range(most):
            piece = first if number == 0 else self._again(begin, end)
            if number >= least:
                piece = self._times(piece, "?")
            whole = self._chain(whole, piece)
            if endless and number == most - 1:
                self.empty[piece.end].append(piece.start)
        self.at = after
        return whole

    def _again(self, begin: int, end: int) -> _Fragment:
        self.at = begin
        piece = self._piece()
        if self.at != end:
            raise self._unread()
        return piece

    def _piece(self) -> _Fragment:
        char = self.pattern[self.at]
        self.at += 1
        match char:
            case "(":
                return self._group()
            case "[":
                return self._once(self._class())
            case ".":
                return self._once(PRINTABLE)
            case "\\":
                return self._once(self._escape())
            case "*" | "+" | "?" | "^" | "{" | "}" | "]":
                self.at -= 1
                raise self._unread()
            case _:
                return self._once(frozenset(char))

    def _group(self) -> _Fragment:
        if self.pattern[self.at : self.at + 1] == "?":
            found = _GROUP.match(self.pattern, self.at)
            if found is None:
                raise self._unread()
            self.at = found.end()
        self.depth += 1
        inner = self._alternation()
        if not self._takes(")") or self.depth > 100:
            raise self._unread()
        self.depth -= 1
        return inner

    def _escape(self) -> Chars:
        char = self.pattern[self.at : self.at + 1]
        self.at += 1
        if char in _CLASSES:
            return _CLASSES[char]
        if not char or char.isalnum() or not char.isascii():
            self.at -= 1
            raise self._unread()
        return frozenset(char)

    def _class(self) -> Chars:
        negated = self._takes("^")
        chars: set[str] = set()
        first = True
        while first or self.pattern[self.at : self.at + 1] != "]":
            chars |= self._members(first)
            first = False
        self.at += 1
        return PRINTABLE - chars if negated else frozenset(chars)

    def _members(self, first: bool) -> Chars:
        if found := _NAMED_CLASS.match(self.pattern, self.at):
            if found[2] not in _POSIX:
                raise self._unread()
            self.at = found.end()
            return PRINTABLE - _POSIX[found[2]] if found[1] else _POSIX[found[2]]
        low = self._member(first)
        if self.pattern[self.at : self.at + 1] != "-" or self.pattern[self.at + 1 : self.at + 2] in {"]", ""}:
            return low
        self.at += 1
        high = self._member(False)
        if len(low) != 1 or len(high) != 1:
            raise self._unread()
        return frozenset(char for char in PRINTABLE if min(low) <= char <= min(high))

    def _member(self, first: bool) -> Chars:
        char = self.pattern[self.at : self.at + 1]
        if not char or (char == "]" and not first) or not char.isascii():
            raise self._unread()
        self.at += 1
        return self._escape() if char == "\\" else frozenset(char)

    def _takes(self, sign: str) -> bool:
        found = self.pattern[self.at : self.at + 1] == sign
        self.at += found
        return found

    def _unread(self) -> UnmodelledError:
        return UnmodelledError(f"the expression {self.pattern!r} is not read here beyond its character {self.at + 1}")

    def _too_large(self) -> UnmodelledError:
        return UnmodelledError(f"the expression {self.pattern[:80]!r} is too large")

    def _fragment(self) -> _Fragment:
        self.empty += [[], []]
        self.moves += [[], []]
        if len(self.moves) > _MAX_STATES:
            raise self._too_large()
        return _Fragment(len(self.moves) - 2, len(self.moves) - 1)

    def _once(self, chars: Chars) -> _Fragment:
        found = self._fragment()
        self.moves[found.start].append((chars, found.end))
        return found

    def _loop(self, chars: Chars) -> _Fragment:
        return self._times(self._once(chars), "*")

    def _chain(self, first: _Fragment, second: _Fragment) -> _Fragment:
        self.empty[first.end].append(second.start)
        return _Fragment(first.start, second.end)

    def _join(self, whole: _Fragment, part: _Fragment) -> None:
        self.empty[whole.start].append(part.start)
        self.empty[part.end].append(whole.end)


def _closed(empty: list[list[int]], moves: list[list[tuple[Chars, int]]], whole: _Fragment) -> Language | None:
    """The same automaton without empty moves, only of states that are reached; None for one that is too large."""
    numbers = {whole.start: 0}
    pending, accepts, steps = [whole.start], set[int](), 0
    found: list[tuple[tuple[Chars, int], ...]] = []
    for state in pending:
        closure = _closure(empty, state)
        steps += len(closure)
        if steps > _MAX_STEPS:
            return None
        if whole.end in closure:
            accepts.add(numbers[state])
        out: list[tuple[Chars, int]] = []
        for each in sorted(closure):
            for chars, to in moves[each]:
                if to not in numbers:
                    numbers[to] = len(numbers)
                    pending.append(to)
                out.append((chars, numbers[to]))
        found.append(tuple(out))
    return Language(tuple(found), frozenset(accepts))


def _closure(empty: list[list[int]], state: int) -> set[int]:
    found, pending = {state}, [state]
    while pending:
        for to in empty[pending.pop()]:
            if to not in found:
                found.add(to)
                pending.append(to)
    return found
