"""Reads the regular expressions that moby/patternmatcher v0.6.1 makes of path patterns, with Go's rules (RE2 syntax).

That matcher hands parts of a pattern to Go's regexp package unescaped, so `|`, `{2}`, `^`, `[[:alpha:]]` and `\\d`
in an ignore file mean there what they mean in a regular expression. Python's `re` differs in enough of it (`^*`,
`]` in classes, POSIX classes, `{`) that the syntax is read here, into the automaton's own expressions.
"""

from __future__ import annotations

import re

from reconciler.desired.ignore_match import Begin, Boundary, Chain, Chars, Choice, End, Expression, Repeat

MAX_REPEAT = 1000  # regexp/syntax: larger counts are an error

_CONTROL = {"a": 7, "f": 12, "n": 10, "r": 13, "t": 9, "v": 11}
_DIGIT, _SPACE = ((48, 57),), ((9, 10), (12, 13), (32, 32))
_WORD = ((48, 57), (65, 90), (95, 95), (97, 122))
_PERL = {"d": _DIGIT, "s": _SPACE, "w": _WORD}
_POSIX = {
    "alnum": ((48, 57), (65, 90), (97, 122)),
    "alpha": ((65, 90), (97, 122)),
    "ascii": ((0, 127),),
    "blank": ((9, 9), (32, 32)),
    "cntrl": ((0, 31), (127, 127)),
    "digit": _DIGIT,
    "graph": ((33, 126),),
    "lower": ((97, 122),),
    "print": ((32, 126),),
    "punct": ((33, 47), (58, 64), (91, 96), (123, 126)),
    "space": ((9, 13), (32, 32)),
    "upper": ((65, 90),),
    "word": _WORD,
    "xdigit": ((48, 57), (65, 70), (97, 102)),
}
_UNICODE = frozenset("CLMNPSZ{^")
_NOT_NEWLINE = Chars(((10, 10),), negated=True)
_COUNT = re.compile(r"\{(0|[1-9][0-9]*)(?:(,)(0|[1-9][0-9]*)?)?\}", re.ASCII)
_HEX = re.compile(r"x(?:\{([0-9A-Fa-f]+)\}|([0-9A-Fa-f]{2}))")
_OCTAL = re.compile(r"0[0-7]{0,2}|[1-7][0-7]{1,2}")

Ranges = tuple[tuple[int, int], ...]


class BadExpression(ValueError):
    """Go refuses it too."""


class UnsupportedExpression(ValueError):
    """Go accepts it; lian does not read it."""


def _inverted(ranges: Ranges) -> Ranges:
    gaps, begin = [], 0
    for low, high in sorted(ranges):
        if low > begin:
            gaps.append((begin, low - 1))
        begin = max(begin, high + 1)
    return (*gaps, (begin, 0x10FFFF))


class _Reader:
    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0

    def peek(self, width: int = 1) -> str:
        return self.source[self.at : self.at + width]

    def take(self, text: str) -> bool:
        if self.source.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def next(self, missing: str) -> str:
        if self.at >= len(self.source):
            raise BadExpression(missing)
        self.at += 1
        return self.source[self.at - 1]

    # -- sequences

    def choice(self) -> Expression:
        parts = [self.chain()]
        while self.take("|"):
            parts.append(self.chain())
        return parts[0] if len(parts) == 1 else Choice(tuple(parts))

    def chain(self) -> Expression:
        parts: list[Expression] = []
        repeated = False
        while self.peek() not in ("", "|", ")"):
            count = self.count()
            if count is None:
                parts.extend(self.one())
                repeated = False
                continue
            if not parts or repeated:
                raise BadExpression("a repetition with nothing to repeat")
            parts[-1] = Repeat(parts[-1], *count)
            self.take("?")  # a lazy repetition matches the same paths
            repeated = True
        return Chain(tuple(parts))

    def count(self) -> tuple[int, int | None] | None:
        for sign, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self.take(sign):
                return bounds
        match = _COUNT.match(self.source, self.at)
        if match is None:
            return None
        self.at = match.end()
        low = int(match[1][:9])
        high = low if match[2] is None else int(match[3][:9]) if match[3] else None
        if low > MAX_REPEAT or (high is not None and (high > MAX_REPEAT or high < low)):
            raise BadExpression(f"{match[0]} is not a valid repeat count")
        return low, high

    # -- single characters

    def one(self) -> list[Expression]:
        char = self.next("an expression is missing")
        simple: dict[str, Expression] = {"^": Begin(), "$": End(), ".": _NOT_NEWLINE}
        if char in simple:
            return [simple[char]]
        if char == "(":
            inner = self.choice()
            if not self.take(")"):
                raise BadExpression("a ) is missing")
            return [inner]
        if char == "[":
            return [self.char_class()]
        if char == "\\":
            return self.escape()
        return [_single(ord(char))]

    def escape(self) -> list[Expression]:
        if self.take("Q"):
            quoted, _, _ = self.source[self.at :].partition("\\E")
            self.at = min(len(self.source), self.at + len(quoted) + 2)
            return [_single(ord(char)) for char in quoted]
        if self.take("A"):
            return [Begin()]
        if self.take("z"):
            return [End()]
        if self.peek() in ("b", "B"):
            return [Boundary(inside=self.next("") == "B")]
        ranges = self.perl_class()
        return [Chars(ranges)] if ranges is not None else [_single(self.escaped_char())]

    def perl_class(self) -> Ranges | None:
        """`d`, `S`, … behind a backslash."""
        letter = self.peek()
        if letter in ("p", "P"):
            following = self.source[self.at + 1 : self.at + 2]
            if following not in _UNICODE:
                raise BadExpression(f"\\{letter}{following} is not a character class")
            raise UnsupportedExpression(f"\\{letter} (a Unicode class)")
        ranges = _PERL.get(letter.lower())
        if ranges is None:
            return None
        self.at += 1
        return _inverted(ranges) if letter.isupper() else ranges

    def escaped_char(self) -> int:
        for form, base in ((_OCTAL, 8), (_HEX, 16)):
            match = form.match(self.source, self.at)
            if match is not None:
                self.at = match.end()
                point = int(match[match.lastindex or 0], base)
                if point > 0x10FFFF:
                    raise BadExpression(f"\\{match[0]} is not a character")
                return point
        char = self.next("a backslash at the end")
        if char in _CONTROL:
            return _CONTROL[char]
        if char.isascii() and not char.isalnum():
            return ord(char)
        raise BadExpression(f"\\{char} is not a valid escape")

    # -- classes

    def char_class(self) -> Chars:
        negated = self.take("^")
        ranges: list[tuple[int, int]] = []
        first = True
        while first or self.peek() != "]":
            first = False
            for special in (self.posix_class, self.perl_class_in_class):
                found = special()
                if found is not None:
                    ranges.extend(found)
                    break
            else:
                ranges.append(self.range())
        self.at += 1
        return Chars(tuple(ranges), negated)

    def posix_class(self) -> Ranges | None:
        if self.peek(2) != "[:":
            return None
        end = self.source.find(":]", self.at + 2)
        if end < 0:
            return None
        name = self.source[self.at + 2 : end]
        self.at = end + 2
        ranges = _POSIX.get(name.removeprefix("^"))
        if ranges is None:
            raise BadExpression(f"[:{name}:] is not a character class")
        return _inverted(ranges) if name.startswith("^") else ranges

    def perl_class_in_class(self) -> Ranges | None:
        if self.peek() != "\\":
            return None
        self.at += 1
        found = self.perl_class()
        if found is None:
            self.at -= 1
        return found

    def range(self) -> tuple[int, int]:
        low = high = self.class_char()
        if self.peek() == "-" and self.peek(2) not in ("-", "-]"):
            self.at += 1
            high = self.class_char()
            if high < low:
                raise BadExpression(f"{chr(low)}-{chr(high)} is not a range")
        return low, high

    def class_char(self) -> int:
        char = self.next("a ] is missing")
        return self.escaped_char() if char == "\\" else ord(char)


def _single(point: int) -> Chars:
    return Chars(((point, point),))


def read_regexp(source: str) -> Expression:
    """The expression of a regular expression in Go's syntax.

    Raises BadExpression where Go refuses it, UnsupportedExpression for `\\p` and `\\P`.
    """
    reader = _Reader(source)
    expression = reader.choice()
    if reader.at < len(source):
        raise BadExpression("a ( is missing")
    return expression
