"""Where a field is written in a Nickel text, as far as that can be seen without evaluating it.

A directive is mostly a tree of record literals inside constructor calls, merges and `let`s; those are followed. What is
computed is not found.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NamedTuple

from reconciler.desired.nickel.lexer import LexError, Lines, Token, tokens

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_DEEP = 40
"""Steps that are followed: a field path is short, a circle of `let`s is not."""


class _Span(NamedTuple):
    """Tokens from `start` up to, not including, `end`."""

    start: int
    end: int


def locate(text: str, field_path: Sequence[str | int]) -> tuple[int, int] | None:
    """Line and column (from 1) of the field's name, or of an array's element; None if it cannot be seen."""
    return Outline(text).locate(field_path)


def nearest(text: str, field_path: Sequence[str | int]) -> tuple[int, int] | None:
    """The place of the field, or of the innermost field around it that can be seen."""
    return Outline(text).nearest(field_path)


class Outline:
    """A text, read once for however many of its fields are looked for."""

    def __init__(self, text: str) -> None:
        self._found = _Text.read(text)
        self._lines = Lines(text)

    def locate(self, field_path: Sequence[str | int]) -> tuple[int, int] | None:
        """See the function of this name."""
        if self._found is None or not field_path:
            return None
        offset = self._found.search(_Span(0, len(self._found.tokens)), tuple(field_path), {}, 0)
        return None if offset is None else self._lines.place(offset)

    def nearest(self, field_path: Sequence[str | int]) -> tuple[int, int] | None:
        """See the function of this name."""
        for length in range(len(field_path), 0, -1):
            if found := self.locate(field_path[:length]):
                return found
        return None


class _Text:
    """A text as tokens, with the place of each bracket's partner, and what is known of the records so far."""

    def __init__(self, read: list[Token], partners: Mapping[int, int]) -> None:
        self.tokens = read
        self._partners = partners
        self._records: dict[_Span, dict[str, list[_Span]]] = {}

    @classmethod
    def read(cls, text: str) -> _Text | None:
        try:
            read = list(tokens(text))
        except LexError:
            return None
        opened, partners = [], {}
        for index, token in enumerate(read):
            if token.kind in {"open", "interpolation"}:
                opened.append(index)
            elif token.kind == "close" and opened:
                partners[opened.pop()] = index
        return None if opened else cls(read, partners)

    def search(self, span: _Span, path: tuple[str | int, ...], scope: Mapping[str, _Span], depth: int) -> int | None:
        """The offset of `path` inside an expression whose names `scope` explains."""
        if depth > _DEEP:
            return None
        body, scope = self._bindings(span, scope)
        named = []
        for index in self._top(body):
            token = self.tokens[index]
            if token.kind == "open":
                inner = _Span(index + 1, self._partners[index])
                found = self._inside(token.text, inner, path, scope, depth)
                if found is not None:
                    return found
            elif token.kind == "word" and token.text in scope:
                named.append(scope[token.text])
        for value in named:
            found = self.search(value, path, scope, depth + 1)
            if found is not None:
                return found
        return None

    def _inside(
        self, bracket: str, inner: _Span, path: tuple[str | int, ...], scope: Mapping[str, _Span], depth: int
    ) -> int | None:
        if bracket == "(":
            return self.search(inner, path, scope, depth + 1)
        head = path[0]
        if bracket == "[" and isinstance(head, int):
            element = next((part for i, part in enumerate(self._parts(inner)) if i == head), None)
            if element is None:
                return None
            if len(path) == 1:
                return self.tokens[element.start].offset
            return self.search(element, path[1:], scope, depth + 1)
        if bracket != "{" or not isinstance(head, str):
            return None
        for entry in self._entries(inner).get(head, ()):
            found = self._field(entry, path, scope, depth)
            if found is not None:
                return found
        return None

    def _entries(self, inner: _Span) -> Mapping[str, Sequence[_Span]]:
        """The fields of a record by the first of their names: a file of thousands of artifacts is read through once."""
        known = self._records.get(inner)
        if known is None:
            known = {}
            for entry in self._parts(inner):
                names, _ = self._names(entry)
                if names:
                    known.setdefault(names[0][0], []).append(entry)
            self._records[inner] = known
        return known

    def _field(self, entry: _Span, path: tuple[str | int, ...], scope: Mapping[str, _Span], depth: int) -> int | None:
        """The offset of `path` in one `a.b | … = value` of a record."""
        names, after = self._names(entry)
        common = min(len(names), len(path))
        if not names or any(name != part for (name, _), part in zip(names, path, strict=False)):
            return None
        if len(path) <= len(names):
            return names[common - 1][1]
        equals = next((i for i in self._top(_Span(after, entry.end)) if self.tokens[i].text == "="), None)
        start = after if equals is None else equals + 1
        return self.search(_Span(start, entry.end), path[len(names) :], scope, depth + 1)

    def _names(self, entry: _Span) -> tuple[list[tuple[str, int]], int]:
        """The names of a field's path with their offsets, and where what follows them begins."""
        names: list[tuple[str, int]] = []
        index = entry.start
        while index < entry.end:
            kind, text, offset = self.tokens[index]
            if kind == "word":
                names.append((text, offset))
            elif kind == "string":
                names.append((_plain(text), max(0, offset)))
            else:
                break
            index += 1
            if index >= entry.end or self.tokens[index].text != ".":
                break
            index += 1
        return names, index

    def _bindings(self, span: _Span, scope: Mapping[str, _Span]) -> tuple[_Span, Mapping[str, _Span]]:
        """Take the leading `let … in`s off an expression."""
        start = span.start
        while start < span.end and self.tokens[start].text == "let" and self.tokens[start].kind == "word":
            nested, end, equals = 0, None, None
            for index in self._top(_Span(start + 1, span.end)):
                text = self.tokens[index].text if self.tokens[index].kind in {"word", "operator"} else ""
                if text == "=" and equals is None:
                    equals = index
                nested += (text == "let") - (text == "in")
                if nested < 0:
                    end = index
                    break
            if end is None:
                break
            name = self.tokens[start + 1]
            if equals is not None and name.kind == "word":
                scope = {**scope, name.text: _Span(equals + 1, end)}
            start = end + 1
        return _Span(start, span.end), scope

    def _top(self, span: _Span) -> Iterator[int]:
        """The tokens of a span that stand in no bracket, and the opening brackets."""
        index = span.start
        while index < span.end:
            yield index
            index = self._partners.get(index, index) + 1

    def _parts(self, span: _Span) -> Iterator[_Span]:
        """What stands between the commas of a bracket's inside."""
        start = span.start
        for index in self._top(span):
            if self.tokens[index].kind == "operator" and self.tokens[index].text == ",":
                if index > start:
                    yield _Span(start, index)
                start = index + 1
        if start < span.end:
            yield _Span(start, span.end)


def _plain(body: str) -> str:
    """A string literal's value, for the escapes that JSON has as well."""
    try:
        value = json.loads(f'"{body}"', strict=False)
    except ValueError:
        return body
    return str(value)
