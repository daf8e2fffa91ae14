"""Variable expansion in words, as BuildKit's frontend/dockerfile/shell does it: `$X`, `${X:-d}`, `${X#p}`, quotes.

It looks like a shell's but is its own language; the words it splits a line into are what heredocs are found in.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.desired.dockerfile.fault import Fault
from reconciler.desired.go_text import GO_SPACE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

MAX_STEPS = 20_000_000
"""Roughly, the steps that a wildcard substitution may take; Go needs fewer, Python's `re` could take for ever."""

_MAX_SHOWN = 80
_ESCAPED = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_PLAIN_VARIABLE = r"\$(?!\{)|\$\{[A-Za-z_][A-Za-z0-9_]*\}"
_HARMLESS = re.compile(rf"""(?:[^'"\\`$]++|'[^']*+'|"(?:[^"\\`$]++|{_PLAIN_VARIABLE})*+"|{_PLAIN_VARIABLE})*+""")
_HARMLESS_HEREDOC = re.compile(rf"(?:[^\\$]++|{_PLAIN_VARIABLE})*+")
_SPECIAL = frozenset("@*#?-$!0")
_SPACES = frozenset(GO_SPACE)
_TEMPLATE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)\})")


@dataclass(frozen=True, slots=True)
class Expanded:
    """The word with its variables put in; its words, split after that; the variables that were not set."""

    text: str
    words: tuple[str, ...]
    unset: frozenset[str]


@dataclass(frozen=True, slots=True)
class Quoting:
    """What stays as it was written. With `plain_quotes` they hold nothing together either, as in a heredoc."""

    escape: str = "\\"
    keep_quotes: bool = False
    keep_escapes: bool = False
    keep_unset: bool = False
    plain_quotes: bool = False


class UnsetFault(Fault):
    """`${X?message}` of a variable that is not set: none where something may yet set it."""


class PatternFault(Fault):
    """The pattern of a `${X#…}`, `${X%…}` or `${X/…}`: releases of BuildKit read quotes in it differently, and some
    take lian longer than it waits."""


def expand(text: str, env: Mapping[str, str], quoting: Quoting) -> Expanded:
    """Raises Fault `expansion` for what BuildKit refuses, in its words, and `arg-unresolved` for `${X:?message}` of a
    variable that is not set or empty."""
    reading = _Reading(text, env, quoting)
    try:
        result, words = reading.until("", quoting.keep_escapes)
    except Fault as fault:
        shown = text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
        raise type(fault)(fault.code, f"failed to process {in_quotes(shown)}: {fault}", hint=fault.hint) from fault
    return Expanded(result, tuple(words), frozenset(reading.unset))


def in_quotes(text: str) -> str:
    """The text as Go's `%q` shows it."""
    return '"' + "".join(_ESCAPED.get(sign, sign) for sign in text) + '"'


def cannot_fail(text: str) -> bool:
    """Whether a look tells that no variable's value can make `expand` refuse the text; False is no answer."""
    return _HARMLESS.fullmatch(text) is not None


def cannot_fail_in_heredoc(text: str) -> bool:
    """As `cannot_fail`, where quotes mean nothing."""
    return _HARMLESS_HEREDOC.fullmatch(text) is not None


class _Words:
    """Splits at blanks that come from text or variables, not at those in quotes."""

    def __init__(self, pending: list[str]) -> None:
        self.pending = pending
        self.words: list[str] = []
        self.inside = False

    def char(self, char: str) -> None:
        if char not in _SPACES:
            self.raw(char)
        elif self.inside and self.pending:
            self.words.append("".join(self.pending))
            self.pending.clear()
            self.inside = False

    def raw(self, text: str) -> None:
        if text:
            self.pending.append(text)
        self.inside = True

    def done(self) -> list[str]:
        if self.pending:
            self.words.append("".join(self.pending))
            self.pending.clear()
            self.inside = False
        return self.words


class _Reading:
    def __init__(self, text: str, env: Mapping[str, str], quoting: Quoting) -> None:
        valid = "".join("\ufffd" if "\udc80" <= char <= "\udcff" else char for char in text)
        self.text = valid.removeprefix("\ufeff")  # Go's text/scanner does both
        self.at = 0
        self.env = env
        self.quoting = quoting
        self.keep_escapes = quoting.keep_escapes
        self.unset: set[str] = set()
        self.pending: list[str] = []  # shared with the words of nested ${…}, which BuildKit does too

    def peek(self) -> str:
        return self.text[self.at : self.at + 1]

    def next(self) -> str:
        char = self.peek()
        self.at += len(char)
        return char

    def until(self, stop: str, keep_escapes: bool) -> tuple[str, list[str]]:
        """Text and words up to the character `stop`, or to the end if it is empty."""
        before, self.keep_escapes = self.keep_escapes, keep_escapes
        try:
            return self._until(stop)
        finally:
            self.keep_escapes = before

    def _until(self, stop: str) -> tuple[str, list[str]]:
        result: list[str] = []
        self.pending.clear()
        words = _Words(self.pending)
        while char := self.peek():
            if char == stop:
                self.next()
                return "".join(result), words.done()
            if char == "$":
                value = self.dollar()
                result.append(value)
                for each in value:
                    words.char(each)
            elif char == "<" or (char in "'\"" and not self.quoting.plain_quotes):
                value = {"'": self.single_quoted, '"': self.double_quoted, "<": self.angle}[char]()
                result.append(value)
                words.raw(value)
            else:
                self.plain(result, words)
        if stop:
            raise _missing(stop)
        return "".join(result), words.done()

    def plain(self, result: list[str], words: _Words) -> None:
        char = self.next()
        if char != self.quoting.escape:
            words.char(char)
            result.append(char)
            return
        if self.keep_escapes:
            words.raw(char)
            result.append(char)
        escaped = self.next()
        if escaped:
            words.raw(escaped)
            result.append(escaped)

    def single_quoted(self) -> str:
        self.next()
        end = self.text.find("'", self.at)
        if end < 0:
            self.at = len(self.text)
            raise _bad("unexpected end of statement while looking for matching single-quote", _QUOTE)
        inside = self.text[self.at : end]
        self.at = end + 1
        return f"'{inside}'" if self.quoting.keep_quotes else inside

    def double_quoted(self) -> str:
        quote = self.next() * self.quoting.keep_quotes
        result = [quote]
        while char := self.peek():
            if char == '"':
                self.next()
                return "".join((*result, quote))
            if char == "$":
                result.append(self.dollar())
                continue
            self.next()
            if char == self.quoting.escape:
                if self.keep_escapes:
                    result.append(char)
                if not self.peek():
                    break
                if self.peek() in ('"', "$", self.quoting.escape):
                    char = self.next()
            result.append(char)
        raise _bad("unexpected end of statement while looking for matching double-quote", _QUOTE)

    def angle(self) -> str:
        """`<`, or `<<` with the blanks behind it: they belong to the heredoc's word."""
        self.next()
        if self.peek() != "<":
            return "<"
        begin = self.at
        self.next()
        while self.peek() in ("\t", "\r", " "):
            self.next()
        return "<" + self.text[begin : self.at]

    # -- variables

    def dollar(self) -> str:
        self.next()
        if self.peek() != "{":
            name = self.name()
            if not name:
                return "$"
            value = self.value(name)
            return f"${name}" if value is None and self.quoting.keep_unset else value or ""
        self.next()
        if not self.peek():
            raise _missing("}")
        if self.peek() in "{}:":
            raise _bad("syntax error: bad substitution")
        return self.substitution(self.name())

    def substitution(self, name: str) -> str:
        sign = self.next()
        if sign == "}":
            value = self.value(name)
            return f"${{{name}}}" if value is None and self.quoting.keep_unset else value or ""
        if sign == "/":
            return self.replacement(name)
        if not sign:
            raise _missing("}")
        if sign not in ":+-?#%":
            raise _unsupported(sign)
        return self.modified(name, sign)

    def modified(self, name: str, sign: str) -> str:
        kind = self.next() if sign == ":" else sign
        written = sign if kind == sign and sign != ":" else sign + kind
        if len(written) == 2 and kind in "#%":
            raise _unsupported(written)
        word = self.inside("}", kind in ("#", "%"))
        value = self.value(name)
        if value is None and self.quoting.keep_unset:
            return f"${{{name}{written}{word}}}"
        lacking = value is None or (len(written) == 2 and not value)
        match kind:
            case "-":
                return word if lacking else value or ""
            case "+":
                return "" if lacking else word
            case "?":
                if lacking:
                    kind_of, how = (UnsetFault, "unset") if value is None else (Fault, "empty")
                    raise kind_of("arg-unresolved", f"{name}: {word or f'is not allowed to be {how}'}")
                return value or ""
            case "#" | "%":
                greedy = word.startswith(kind)
                return trimmed(value or "", word[1:] if greedy else word, greedy, from_end=kind == "%")
        raise _unsupported(written)

    def inside(self, stop: str, keep_escapes: bool) -> str:
        """Text up to the character `stop`; whatever is wrong with text that has no such end, the end is missing."""
        try:
            return self.until(stop, keep_escapes)[0]
        except Fault as fault:
            if not self.peek():
                raise _missing(stop) from fault
            raise

    def replacement(self, name: str) -> str:
        every = self.peek() == "/"
        if every:
            self.next()
        pattern = self.inside("/", True)
        put = self.inside("}", True)
        value = self.value(name)
        if value is None and self.quoting.keep_unset:
            return f"${{{name}/{pattern}/{put}}}"
        text = value or ""
        found = wildcard(pattern, True, len(text))
        if every:
            return _replaced(found, text, put)
        first = found.search(text)
        return text if first is None else text[: first.start()] + put + text[first.end() :]

    def value(self, name: str) -> str | None:
        found = self.env.get(name)
        if found is None:
            self.unset.add(name)
        return found

    def name(self) -> str:
        first = self.peek()
        if first.isdecimal():
            return self.run(str.isdecimal)
        if first in _SPECIAL:
            return self.next()
        return self.run(lambda char: char.isalpha() or char.isdecimal() or char == "_")

    def run(self, holds: Callable[[str], bool]) -> str:
        begin = self.at
        while self.peek() and holds(self.peek()):
            self.at += 1
        return self.text[begin : self.at]


# -- wildcards in substitutions: * and ? only


def wildcard(pattern: str, greedy: bool, length: int) -> re.Pattern[str]:
    """The regular expression of a wildcard pattern, to be used on a value of this length. Raises Fault."""
    signs = iter(range(len(pattern)))
    parts: list[str] = []
    for at in signs:
        sign = pattern[at]
        if sign == "*":
            parts.append(".*" if greedy else ".*?")
        elif sign == "?":
            parts.append(".")
        elif sign == "\\":
            following = pattern[at + 1 : at + 2]
            if following in ("}", "/"):
                continue
            if not following or following not in "*?\\":
                reason = f"invalid escape '\\{following}'"
                raise PatternFault("expansion", f"invalid pattern ({pattern[:_MAX_SHOWN]}) in substitution: {reason}")
            parts.append(re.escape(following))
            next(signs)
        else:
            parts.append(re.escape(sign))
    stars = sum(part.startswith(".*") for part in parts)
    if math.comb(length + stars, stars) > MAX_STEPS:
        raise PatternFault(
            "expansion", f"the pattern {pattern[:60]!r} has too many * for a value of {length} characters"
        )
    return re.compile("".join(parts))


def trimmed(value: str, pattern: str, greedy: bool, from_end: bool) -> str:
    """The value without the shortest (or longest) beginning or end that the pattern matches."""
    if from_end:
        return trimmed(value[::-1], _reversed(pattern), greedy, from_end=False)[::-1]
    match = wildcard(pattern, greedy, len(value)).match(value)
    return value if match is None else value[match.end() :]


def _reversed(pattern: str) -> str:
    """The pattern from its end, with each backslash still before what it escapes."""
    units = re.findall(r"\\.|.", pattern, re.DOTALL)
    return "".join(reversed(units))


def _replaced(found: re.Pattern[str], text: str, put: str) -> str:
    """Go's ReplaceAllString: `$0` stands for the match, and an empty match right behind another one is left alone."""
    parts: list[str] = []
    done = end = 0
    for match in found.finditer(text):
        if match.end() > end or match.start() == 0:
            parts += [text[done : match.start()], _filled(put, match[0])]
            done = match.end()
        end = match.end()
    return "".join((*parts, text[done:]))


def _filled(put: str, whole: str) -> str:
    def value(reference: re.Match[str]) -> str:
        if reference[0] == "$$":
            return "$"
        return whole if (reference[1] or reference[2]) == "0" else ""

    return _TEMPLATE.sub(value, put)


_BRACE = "substitutions are $NAME, ${NAME}, ${NAME:-default} and their like; write a dollar sign itself as \\$"
_QUOTE = "close the quote, or write the sign itself with a backslash before it"


def _bad(message: str, hint: str = _BRACE) -> Fault:
    return Fault("expansion", message, hint=hint)


def _missing(sign: str) -> Fault:
    return _bad(f"syntax error: missing '{sign}'" + " in ${}" * (sign == "/"))


def _unsupported(modifier: str) -> Fault:
    return _bad(f"unsupported modifier ({modifier}) in substitution")
