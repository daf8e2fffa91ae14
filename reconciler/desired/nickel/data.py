"""Plain data in Nickel: records, lists, strings, numbers, booleans and tags, without anything that has to be run.

A rule is only believed by people who can see what it says. So a file of a policy may hold nothing that decides, looks
elsewhere or stands for something else, and this reader, by refusing all else, also knows where each value is written.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reconciler.desired.nickel.guard import MAX_DEPTH
from reconciler.desired.nickel.lexer import LexError, Lines, Token, tokens

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import NoReturn

_CONSTANTS = {"true", "false", "null"}
_KEYWORDS = {
    "fun": "a function",
    "let": "a `let`",
    "import": "an import",
    "if": "an `if`",
    "match": "a `match`",
    "forall": "a type",
}
_OPERATORS = {
    "|": "a contract or annotation",
    ":": "a type",
    "&": "a merge",
    "|>": "a function call",
    "=>": "a function",
}
_END = "end"


class NotDataError(ValueError):
    """`what` stands in the text and is no data; `line` and `column` from 1."""

    def __init__(self, what: str, line: int, column: int) -> None:
        super().__init__(what)
        self.what, self.line, self.column = what, line, column


def places_of(text: str) -> Mapping[tuple[str, ...], tuple[int, int]] | None:
    """Line and column (from 1) of every field of a file of plain data, by the names on the way to it; those inside
    lists are left out. None for what Nickel cannot read either. Raises NotDataError for the first thing that is no
    data."""
    try:
        reader = _Reader(text, list(tokens(text)))
        reader.whole()
    except (LexError, _UnreadableError):
        return None
    return reader.places


class _UnreadableError(ValueError):
    """Nickel itself has to say what is wrong."""


class _Reader:
    def __init__(self, text: str, read: list[Token]) -> None:
        self.places: dict[tuple[str, ...], tuple[int, int]] = {}
        self._lines, self._read, self._next = Lines(text), read, 0
        self._end = Token(_END, "", len(text))
        self._depth = 0

    def whole(self) -> None:
        """Read all of it."""
        self._value(())
        if self._token.kind != _END:
            self._refuse(self._token)

    @property
    def _token(self) -> Token:
        return self._read[self._next] if self._next < len(self._read) else self._end

    def _take(self) -> Token:
        token = self._token
        self._next += 1
        return token

    def _value(self, path: tuple[str, ...] | None) -> None:
        """One value; `path` is None inside a list."""
        token = self._take()
        if token.kind in {"string", "block", "number", "tag"} or token.text in _CONSTANTS:
            pass
        elif token.text == "-" and self._token.kind == "number":
            self._take()
        elif token.text in {"{", "["} and token.kind == "open":
            self._depth += 1
            if self._depth > MAX_DEPTH:
                raise _UnreadableError
            self._inside(token, path)
            self._depth -= 1
        else:
            self._refuse(token)
        after = self._token
        if after.kind not in {"close", _END} and after.text != ",":
            called = after.kind not in {"operator", "primitive"} and token.kind == "tag"
            self._refuse(after, "a tag with a value" if called else None)

    def _inside(self, opened: Token, path: tuple[str, ...] | None) -> None:
        closing = "}" if opened.text == "{" else "]"
        while self._token.text != closing or self._token.kind != "close":
            if opened.text == "{":
                self._field(path)
            else:
                self._value(None)
            if self._token.text == "," and self._token.kind == "operator":
                self._take()
            elif self._token.kind != "close":
                self._refuse(self._token)
        self._take()

    def _field(self, path: tuple[str, ...] | None) -> None:
        """`a.b = value`."""
        names = [] if path is None else list(path)
        while True:
            token = self._take()
            if token.kind not in {"word", "string"} or (token.kind == "word" and token.text in _KEYWORDS):
                self._refuse(token)
            if path is not None:
                names.append(_plain(token))
                self.places.setdefault(tuple(names), self._lines.place(max(0, token.offset)))
            if self._token.text != ".":
                break
            self._take()
        if self._token.text != "=":
            self._refuse(self._token, "an `include`" if token.text == "include" else None)
        self._take()
        self._value(None if path is None else tuple(names))

    def _refuse(self, token: Token, what: str | None = None) -> NoReturn:
        if token.kind in {_END, "close"} or token.text in {",", "="}:
            raise _UnreadableError
        while what is None and token.text == "(" and self._token.text in {"(", *_KEYWORDS}:
            token = self._take()
        if what is None:
            what = _named(token)
        raise NotDataError(what, *self._lines.place(max(0, token.offset)))


def _named(token: Token) -> str:
    """What a token begins that is no data where it stands."""
    match token.kind:
        case "word" if token.text not in _CONSTANTS:
            return _KEYWORDS.get(token.text, f"the name `{token.text}`, which stands for something else,")
        case "operator":
            return _OPERATORS.get(token.text, f"the operator `{token.text}`")
        case "open" if token.text == "(":
            return "an expression in brackets"
        case "open" if token.text == "[|":
            return "a type"
        case "interpolation" | "template":
            return "a string that holds code"
        case "primitive":
            return f"the operator `{token.text}`"
    return "a function call"


def _plain(token: Token) -> str:
    """A field's name, for the escapes that JSON has as well."""
    if token.kind == "word":
        return token.text
    try:
        return str(json.loads(f'"{token.text}"', strict=False))
    except ValueError:
        return token.text
