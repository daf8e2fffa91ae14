"""Glob patterns as registries match them: zot's are bmatcuk/doublestar's, docker_auth's are those of Go's path.Match.

Their odd corners are kept: at the end of a name, only a rest of certain forms stands for nothing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.cache.policy.language import NOTHING, PRINTABLE, Language, UnmodelledError

if TYPE_CHECKING:
    from reconciler.cache.policy.language import Chars

_IN_A_PART = PRINTABLE - {"/"}
_EMPTY_RESTS = frozenset({"", "*", "**", "/**"})
"""doublestar: isZeroLengthPattern."""
_MAX_ALTERNATIVES = 256


def doublestar(pattern: str) -> tuple[Language, ...]:
    """The names that the pattern matches: those of any of these. Raises UnmodelledError, also for what zot refuses."""
    return tuple(_Reader(text, doubled=True).language() for text in _alternatives(pattern))


def path_match(pattern: str) -> Language:
    """The names that the pattern matches. One that is malformed matches none, as in Go. Raises UnmodelledError."""
    try:
        return _Reader(pattern, doubled=False).language()
    except _MalformedError:
        return NOTHING


def escaped(text: str) -> str:
    """A pattern of either kind that matches this text alone."""
    return re.sub(r"[\\*?\[\]{}]", r"\\\g<0>", text)


class _MalformedError(UnmodelledError):
    """No pattern at all."""


@dataclass(frozen=True, slots=True)
class _Sign:
    """What one sign of a pattern takes; `again`: any number of characters, and it may be passed over. `parts`: it ends
    with a slash. `end` is where the rest of the pattern begins."""

    takes: Chars
    end: int
    again: bool = False
    parts: bool = False


@dataclass(slots=True)
class _Reader:
    """Reads a pattern without alternatives, sign by sign."""

    pattern: str
    doubled: bool
    at: int = 0
    signs: list[_Sign] = field(default_factory=list)

    def language(self) -> Language:
        """What the pattern matches. Raises UnmodelledError."""
        if self.doubled and ("***" in self.pattern or self.pattern.endswith("**/")):
            raise UnmodelledError(f"{self.pattern!r} has stars where doublestar does not say what they match")
        fresh = True  # at the beginning of a part of the path
        while self.at < len(self.pattern):
            if self.pattern[self.at] == "*":
                fresh = self._star(fresh)
                continue
            taken = self._one()
            self.signs.append(_Sign(taken, self.at))
            fresh = taken == {"/"} and self.pattern[self.at - 1] == "/"
            if "/" in taken and taken != {"/"} and "*" in self.pattern:
                raise UnmodelledError(f"{self.pattern!r} has a class that takes slashes, and a star")
        return self._compiled()

    def _star(self, fresh: bool) -> bool:
        """`*`, `**` at an end, or `**/`; whether what follows begins a part."""
        self.at += 1
        if self.doubled and self._sees("*"):
            self.at += 1
            if fresh and self.at == len(self.pattern):
                self.signs.append(_Sign(PRINTABLE, self.at, again=True))
                return False
            if fresh and self._sees("/"):
                self.at += 1
                self.signs.append(_Sign(PRINTABLE, self.at, again=True, parts=True))
                return True
        self.signs.append(_Sign(_IN_A_PART, self.at, again=True))
        return False

    def _one(self) -> Chars:
        match char := self._next():
            case "?":
                return _IN_A_PART
            case "[":
                return self._class()
            case "\\":
                return frozenset(self._next())
            case _:
                return frozenset(char)

    def _class(self) -> Chars:
        """A class may take a slash, in Go as in doublestar."""
        negated = self._sees("^") or (self.doubled and self._sees("!"))
        self.at += negated
        chars: set[str] = set()
        first = True
        while first or not self._sees("]"):
            first = False
            low = high = self._member()
            if self._sees("-") and self.pattern[self.at + 1 : self.at + 2] != "]":
                self.at += 1
                high = self._member()
            chars |= {char for char in PRINTABLE if low <= char <= high}
        self.at += 1
        return PRINTABLE - chars if negated else frozenset(chars)

    def _member(self) -> str:
        char = self._next()
        if char in {"]", "-"}:
            raise _MalformedError(f"{self.pattern!r} has a class that is not read here")
        return self._next() if char == "\\" else char

    def _next(self) -> str:
        if self.at >= len(self.pattern):
            raise _MalformedError(f"{self.pattern!r} ends too early")
        self.at += 1
        return self.pattern[self.at - 1]

    def _sees(self, char: str) -> bool:
        return self.pattern[self.at : self.at + 1] == char

    def _compiled(self) -> Language:
        """State `i` is before sign i; after these come those in which sign i has taken something and may take more."""
        count = len(self.signs)
        before = [tuple(self._leaving(index)) for index in range(count + 1)]
        inside = [tuple(self._staying(index)) for index in range(count)]
        accepts = {index for index in range(count + 1) if self._ends(index)}
        accepts |= {
            count + 1 + index
            for index, sign in enumerate(self.signs)
            if sign.again and not sign.parts and self._ends(index + 1)
        }
        return Language((*before, *inside), frozenset(accepts))

    def _leaving(self, index: int) -> list[tuple[Chars, int]]:
        """What may come before sign `index`, which is passed over if it may take nothing."""
        found: list[tuple[Chars, int]] = []
        for at in range(index, len(self.signs)):
            sign = self.signs[at]
            if not sign.again:
                return [*found, (sign.takes, at + 1)]
            found += self._taking(at)
        return found

    def _taking(self, index: int) -> list[tuple[Chars, int]]:
        inside = len(self.signs) + 1 + index
        if self.signs[index].parts:
            return [(_IN_A_PART, inside), (frozenset("/"), index)]
        return [(self.signs[index].takes, inside)]

    def _staying(self, index: int) -> list[tuple[Chars, int]]:
        sign = self.signs[index]
        if not sign.again:
            return []
        return self._taking(index) if sign.parts else [*self._taking(index), *self._leaving(index + 1)]

    def _ends(self, index: int) -> bool:
        rest = self.pattern[self.signs[index - 1].end if index else 0 :]
        return rest in _EMPTY_RESTS if self.doubled else not rest.strip("*")


def _alternatives(pattern: str) -> list[str]:
    """`a{b,c}` is `ab` or `ac`. Raises UnmodelledError."""
    plain = re.sub(r"\\.", "", pattern)
    if "[" in plain and ("{" in plain or "}" in plain):
        raise UnmodelledError(f"{pattern!r} has both classes and alternatives")
    found, pending = list[str](), [pattern]
    while pending:
        text = pending.pop()
        start = _unescaped(text, "{")
        if start is None:
            if _unescaped(text, "}") is not None:
                raise UnmodelledError(f"{pattern!r} closes a brace that it does not open")
            found.append(text)
            continue
        choices, end = _choices(text, start)
        for choice in choices:
            whole = text[:start] + choice + text[end:]
            if "*" in whole[max(start - 1, 0) : start + 1]:
                raise UnmodelledError(f"{pattern!r} has a star where an alternative begins")
            pending.append(whole)
        if len(pending) + len(found) > _MAX_ALTERNATIVES:
            raise UnmodelledError(f"{pattern!r} has too many alternatives")
    return found


def _choices(text: str, start: int) -> tuple[list[str], int]:
    """The alternatives of the brace that opens at `start`, and where it has closed."""
    depth, since, choices = 0, start + 1, list[str]()
    for at in _signs(text, start):
        match text[at]:
            case "{":
                depth += 1
            case "," if depth == 1:
                choices.append(text[since:at])
                since = at + 1
            case "}":
                depth -= 1
                if depth == 0:
                    return [*choices, text[since:at]], at + 1
    raise UnmodelledError(f"{text!r} opens a brace that it does not close")


def _unescaped(text: str, sign: str) -> int | None:
    return next((at for at in _signs(text, 0) if text[at] == sign), None)


def _signs(text: str, start: int) -> list[int]:
    """Where unescaped characters stand."""
    found, at = list[int](), start
    while at < len(text):
        if text[at] == "\\":
            at += 1
        else:
            found.append(at)
        at += 1
    return found
