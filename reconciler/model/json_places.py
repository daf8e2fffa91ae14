"""JSON that a person may have edited: its value, and where in the text that part of it stands which is wrong."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from json.decoder import scanstring  # type: ignore[attr-defined]  # the decoder's own; typeshed leaves it out
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Generator

_SPACE = re.compile(r"[ \t\n\r]*")
_CONFLICT = re.compile(r"^(<{7}|={7}|>{7})( |$)", re.MULTILINE)
MAX_DEPTH = 64

Path: TypeAlias = "tuple[str | int, ...]"


class JsonFault(ValueError):
    """What is wrong, where (from 1), and what to try."""

    def __init__(self, message: str, line: int, column: int, hint: str | None = None) -> None:
        super().__init__(message)
        self.line, self.column, self.hint = line, column, hint


@dataclass(frozen=True, slots=True)
class JsonText:
    """A document, and its text to find the places of its parts in."""

    text: str
    value: Any

    def fault(self, at: Path, message: str, hint: str | None = None) -> JsonFault:
        """What is wrong there, or with the innermost part around it that is known. The text is read once more for it:
        most are right."""
        try:
            places = dict(_places(self.text)) if at else {}
        except JsonFault as fault:
            return fault
        while at and at not in places:
            at = at[:-1]
        return _fault(self.text, places.get(at, 0), message, hint)


class _Twice(ValueError):
    """An object names a field twice."""


def read_json(text: str) -> JsonText:
    """Raises JsonFault for what is no JSON, and for an object that names a field twice."""
    if conflict := _CONFLICT.search(text):
        hint = "settle the conflict: keep one line of each entry"
        raise _fault(text, conflict.start(), "it holds a conflict that git left", hint)
    try:
        return JsonText(text, json.loads(text, object_pairs_hook=_once))
    except json.JSONDecodeError as error:
        raise JsonFault(f"it is no JSON: {error.msg}", error.lineno, error.colno) from error
    except RecursionError as error:
        raise JsonFault("it is nested too deep", 1, 1) from error
    except _Twice as error:
        raise _second(text) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def _second(text: str) -> JsonFault:
    """Where it is named for the second time."""
    seen: set[Path] = set()
    for path, offset in _places(text):
        if path in seen:
            return _fault(text, offset, f"{str(path[-1])!r} stands here a second time", "keep one of them")
        seen.add(path)
    raise AssertionError("no field stands there twice")


def _fault(text: str, offset: int, message: str, hint: str | None) -> JsonFault:
    begin = text.rfind("\n", 0, offset) + 1
    return JsonFault(message, text.count("\n", 0, offset) + 1, offset - begin + 1, hint)


def _places(text: str) -> Generator[tuple[Path, int], None, None]:
    """Path and offset of every part of a text that is known to be JSON."""
    decoder = json.JSONDecoder()

    def walk(path: Path, at: int) -> Generator[tuple[Path, int], None, int]:
        """Ends, as a generator's value, where the value that begins at `at` ends."""
        if len(path) > MAX_DEPTH:
            raise _fault(text, at, "it is nested too deep", None)
        opening = text[at]
        if opening not in "{[":
            return decoder.raw_decode(text, at)[1]
        at, number = _skip(text, at + 1), 0
        while text[at] not in "}]":
            here = at
            if opening == "{":
                name, at = scanstring(text, at + 1)
                at = _skip(text, _skip(text, at) + 1)
            else:
                name, number = number, number + 1
            yield (*path, name), here
            at = _skip(text, (yield from walk((*path, name), at)))
            if text[at] == ",":
                at = _skip(text, at + 1)
        return at + 1

    yield from walk((), _skip(text, 0))


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
