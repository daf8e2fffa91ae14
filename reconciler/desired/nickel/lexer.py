"""Nickel's tokens: enough of its lexical grammar to find brackets, numbers and imports with certainty.

Nickel has three kinds of string that can hold code (`"…%{x}…"`, `m%"…%{x}…"%`, `tag-s%"…"%`), so brackets and imports
cannot be found by searching. Names, operators and keywords are told apart no further than the guard needs.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

_TOKEN = re.compile(
    r"""(?P<space>(?:[ \t\r\n]+|\#[^\n]*)+)
    |(?P<open>\[\||[\[{(])
    |(?P<close>\|\]|[\]})])
    |(?P<block>(?:m|[a-zA-Z][a-zA-Z0-9_'-]*-s)%+")
    |(?P<number>0x[0-9a-fA-F]+|0o[0-7]+|0b[01]+|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    |(?P<word>_*[a-zA-Z][a-zA-Z0-9_'-]*)
    |(?P<tag>'_*[a-zA-Z][a-zA-Z0-9_'-]*)
    |(?P<quote>'?")
    |(?P<primitive>%[a-z_0-9]+(?:/[a-z_0-9]+)*%)
    |(?P<operator>\|>|\|\||->|=>|==|!=|<=|>=|\+\+|&&|\.\.\.?|[?,;:$=&.+\-*/%@!|_<>])""",
    re.VERBOSE,
)
_LINE_BODY = re.compile(r'(?:[^"\\%]+|%(?!\{)|\\.)*', re.DOTALL)
_BLOCK_MARK = re.compile(r'"?%+\{|"%+')


class Token(NamedTuple):
    """`kind` is open, close, number, word, tag, primitive, operator, string or block (`text` is its raw body), template
    (a string that holds code; comes at its end) or interpolation (comes at `%{`; the matching `close` follows)."""

    kind: str
    text: str
    offset: int


class LexError(ValueError):
    """Text that is no Nickel; `offset` is where, in characters from the start."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


class _Open(NamedTuple):
    """A string that is being read: its `%` count (0 for a line string), where it and its body start, and the depth
    of brackets outside; `body` -1 means that it has held code already."""

    percents: int
    offset: int
    body: int
    depth: int


def tokens(text: str) -> Iterator[Token]:
    """The tokens in order, white space and comments left out. Raises LexError at the first that is none."""
    position, depth = 0, 0
    strings: list[_Open] = []
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise LexError(f"unexpected character {text[position]!r}", position)
        kind, start, position = str(match.lastgroup), position, match.end()
        if kind == "space":
            continue
        if kind in {"quote", "block"}:
            string = _Open(match[0].count("%") if kind == "block" else 0, start, position, depth)
            token, position = _read(text, string, position)
        elif match[0] == "}" and strings and depth == 0:
            yield Token("close", match[0], start)
            string = strings.pop()
            token, position = _read(text, string._replace(body=-1), position)
            depth = string.depth
        else:
            depth += (kind == "open") - (kind == "close")
            yield Token(kind, match[0], start)
            continue
        yield token
        if token.kind == "interpolation":
            strings.append(string)
            depth = 0
    if strings:
        raise LexError("a string is not closed", strings[-1].offset)


def _read(text: str, string: _Open, position: int) -> tuple[Token, int]:
    """Read on inside a string from `position`, to its end or to the next `%{`. `body` -1: it has held code already."""
    if string.percents:
        end, after, code = _block_end(text, string, position)
    else:
        body = _LINE_BODY.match(text, position)
        end = body.end() if body else position
        if end >= len(text) or text[end] == "\\":
            raise LexError("a string is not closed", string.offset)
        code = text[end] == "%"
        after = end + 1 + code
    if code:
        return Token("interpolation", "%{", end), after
    if string.body < 0:
        return Token("template", "", string.offset), after
    return Token("block" if string.percents else "string", text[string.body : end], string.offset), after


def _block_end(text: str, string: _Open, position: int) -> tuple[int, int, bool]:
    """Where the body of a `m%"…"%` ends, where reading goes on, and whether code follows."""
    while mark := _BLOCK_MARK.search(text, position):
        percents, code = mark[0].count("%"), mark[0].endswith("{")
        if percents >= string.percents:
            if percents > string.percents and not code:
                raise LexError("a string ends in more % than it began with", mark.start())
            return mark.start(), mark.end(), code
        position = mark.end()
    raise LexError("a string is not closed", string.offset)


def place(text: str, offset: int) -> tuple[int, int]:
    """Line and column (both from 1, columns in characters) of an offset."""
    before = text.rfind("\n", 0, offset)
    return text.count("\n", 0, offset) + 1, offset - before


class Lines:
    """The lines of a text in which many places are looked for."""

    def __init__(self, text: str) -> None:
        self._starts = list(accumulate((len(line) + 1 for line in text.split("\n")), initial=0))

    def place(self, offset: int) -> tuple[int, int]:
        """See the function of this name."""
        line = bisect_right(self._starts, offset, hi=len(self._starts) - 1)
        return line, offset - self._starts[line - 1] + 1
