"""Values as Nickel, laid out as a person would: what is short on one line, the rest a field a line."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

WIDTH = 100
"""Columns."""
_MOST_IN_LINE = 3
"""Fields of a record on one line."""
_IDENTIFIER = re.compile(r"_*[a-zA-Z][a-zA-Z0-9_'-]*")
_KEYWORDS = frozenset(
    {"let", "in", "fun", "match", "if", "then", "else", "forall", "import", "rec", "as", "include", "true", "false"}
    | {"null", "or", "Dyn", "Number", "Bool", "String", "Array", "default", "doc", "optional", "priority", "force"}
    | {"not_exported"}
)
"""Words that are no field's name without quotes, or that `nickel format` takes for something else."""
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_SIGNS = re.compile(r'[\\"\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]|%(?=\{)')


@dataclass(frozen=True, slots=True)
class Tag:
    """An enum's tag, as `'OciLayout`."""

    name: str


@dataclass(frozen=True, slots=True)
class Call:
    """A function and what it is given: `lian.make_artifact { … }`."""

    function: str
    argument: Mapping[str, Any]


def text_of(value: Any, indent: int = 0, taken: int = 0, width: int = WIDTH) -> str:
    """The value; lines after the first are indented, `taken` columns stand before the first."""
    short = _short(value, _MOST_IN_LINE if width == WIDTH else width)
    if short is not None and taken + len(short) <= width:
        return short
    inner = " " * (indent + 2)
    if isinstance(value, Call):
        fields = "".join(f"{inner}{_field(*_path(*each), indent + 2)},\n" for each in value.argument.items())
        return f"{value.function} {{\n{fields}{' ' * indent}}}"
    if isinstance(value, list):
        items = "".join(f"{inner}{text_of(each, indent + 2, indent + 2)},\n" for each in value)
        return f"[\n{items}{' ' * indent}]"
    if isinstance(value, dict):
        fields = "".join(f"{inner}{_field(name(key), each, indent + 2)},\n" for key, each in value.items())
        return f"{{\n{fields}{' ' * indent}}}"
    return _scalar(value)


def quoted(text: str) -> str:
    """A string in quotes."""
    return f'"{_SIGNS.sub(_escaped, text)}"'


def name(text: str) -> str:
    """A field's name, in quotes where it needs them."""
    return text if _IDENTIFIER.fullmatch(text) and text not in _KEYWORDS else quoted(text)


def _field(path: str, value: Any, indent: int) -> str:
    lead = f"{path} ="
    text = text_of(value, indent, indent + len(lead) + 1)
    if isinstance(value, Call) and "\n" in text:  # as `nickel format` has it
        inner = indent + 2
        return f"{lead}\n{' ' * inner}{text_of(value, inner, inner)}"
    return f"{lead} {text}"


def _path(key: str, value: Any) -> tuple[str, Any]:
    """In what a function is given, `context = { path = "x" }` is `context.path = "x"`."""
    if isinstance(value, dict) and len(value) == 1:
        (inner, only), *_ = value.items()
        if not isinstance(only, Call):
            return f"{name(key)}.{name(inner)}", only
    return name(key), value


def _short(value: Any, most: int = _MOST_IN_LINE) -> str | None:
    """On one line; None for what never is: records of more than three fields, and those with calls in them."""
    if isinstance(value, Call):
        fields = _fields((_path(*each) for each in value.argument.items()), most)
        return None if fields is None or len(value.argument) > most else f"{value.function} {fields}"
    if isinstance(value, list):
        items = [_short(each, most) for each in value]
        return None if None in items else f"[{', '.join(filter(None, items))}]"
    if isinstance(value, dict):
        return None if len(value) > most else _fields(((name(key), each) for key, each in value.items()), most)
    return _scalar(value)


def _fields(pairs: Iterable[tuple[str, Any]], most: int) -> str | None:
    fields = []
    for path, value in pairs:
        short = None if isinstance(value, Call) else _short(value, most)
        if short is None:
            return None
        fields.append(f"{path} = {short}")
    return f"{{ {', '.join(fields)} }}" if fields else "{}"


def _scalar(value: Any) -> str:
    if isinstance(value, Tag):
        return f"'{value.name}"
    if isinstance(value, bool):
        return str(value).lower()
    return quoted(value) if isinstance(value, str) else str(value)


def _escaped(found: re.Match[str]) -> str:
    sign = found[0]
    if sign == "%":
        return "\\%"
    return _ESCAPES.get(sign) or f"\\u{{{ord(sign):x}}}"
