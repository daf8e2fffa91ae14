"""Variables in compose files: `$NAME`, `${NAME}`, `${NAME:-default}` and their kin, and the `.env` beside the file.

Values come from `.env` and from the file's own defaults, never from the environment that lian runs in: what is written
must not depend on who runs it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TEXT = 64 << 10
_NAME = re.compile(r"[_a-zA-Z][_a-zA-Z0-9]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")
_LINE = re.compile(r"\s*(?:export\s+)?(?P<name>[_a-zA-Z][_a-zA-Z0-9.-]*)\s*[=:](?P<value>.*)")
_ESCAPES = {"n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "$": "$"}


class Unusable(ValueError):
    """A text that compose refuses; says why, in the rest of a sentence that begins with the field."""


@dataclass(frozen=True, slots=True)
class Use:
    """One variable that a text asked for. `given` if `.env` says it, `value` what was put in."""

    name: str
    value: str
    given: bool
    has_default: bool


@dataclass(frozen=True, slots=True)
class Expanded:
    """A text with its variables put in."""

    text: str
    uses: tuple[Use, ...] = ()


def expand(text: str, values: Mapping[str, str]) -> Expanded:
    """The text as compose reads it. Raises Unusable: a variable that must be set and is not, or a `$` that begins none
    (`$$` is a `$`)."""
    if "$" not in text:
        return Expanded(text)
    if len(text) > MAX_TEXT:
        raise Unusable(f"has variables in more than {MAX_TEXT:,} characters")
    uses: dict[Use, None] = {}
    done, end = _read(text, 0, values, uses, depth=0)
    assert end == len(text)
    return Expanded(done, tuple(uses))


def _read(text: str, position: int, values: Mapping[str, str], uses: dict[Use, None], depth: int) -> tuple[str, int]:
    """The text from a position to its end or, within braces, to the brace that closes them."""
    done: list[str] = []
    while position < len(text):
        sign = text[position]
        if sign == "}" and depth:
            break
        if sign != "$":
            done.append(sign)
            position += 1
        elif text.startswith("$$", position):
            done.append("$")
            position += 2
        elif text.startswith("${", position):
            put, position = _braced(text, position + 2, values, uses, depth + 1)
            done.append(put)
        elif name := _NAME.match(text, position + 1):
            done.append(_plain(name[0], values, uses))
            position = name.end()
        else:
            raise Unusable("has a $ that begins no variable; a $ itself is written $$")
    return "".join(done), position


def _braced(text: str, position: int, values: Mapping[str, str], uses: dict[Use, None], depth: int) -> tuple[str, int]:
    if depth > 20:
        raise Unusable("has variables within variables, more than 20 deep")
    name = _NAME.match(text, position)
    if name is None:
        raise Unusable("has ${ without a variable's name")
    position = name.end()
    operator = next((each for each in _OPERATORS if text.startswith(each, position)), "")
    inner: dict[Use, None] = {}
    word, position = _read(text, position + len(operator), values, inner, depth) if operator else ("", position)
    if not text.startswith("}", position):
        raise Unusable(f"has ${{{name[0]} without the }} that closes it")
    put, takes_word = _chosen(name[0], operator, word, values, uses)
    if takes_word:
        uses.update(inner)
    return put, position + 1


def _chosen(name: str, operator: str, word: str, values: Mapping[str, str], uses: dict[Use, None]) -> tuple[str, bool]:
    """What is put in, and whether the word behind the operator had a part in it."""
    if not operator:
        return _plain(name, values, uses), False
    value = values.get(name)
    is_set = bool(value) if operator.startswith(":") else value is not None
    if operator.endswith("+"):
        put = word if is_set else ""
        uses[Use(name, put, name in values, has_default=True)] = None
        return put, is_set
    if operator.endswith("?") and not is_set:
        raise Unusable(f"needs the variable {name}, which .env does not set{f' ({word})' if word else ''}")
    put = value if is_set and value is not None else word
    uses[Use(name, put, is_set, has_default=not is_set)] = None
    return put, not is_set


def _plain(name: str, values: Mapping[str, str], uses: dict[Use, None]) -> str:
    put = values.get(name, "")
    uses[Use(name, put, name in values, has_default=False)] = None
    return put


def told(value: str) -> str:
    """A value as the end of a sentence about it."""
    return f": {value}" if value else ", which is empty"


def read_dotenv(text: str) -> dict[str, str]:
    """The variables of a `.env`, later lines seeing earlier ones. A line that says nothing is passed over."""
    values: dict[str, str] = {}
    lines = iter(text.removeprefix("\ufeff").splitlines())
    for line in lines:
        found = _LINE.fullmatch(line)
        if found is None or line.lstrip().startswith("#"):
            continue
        raw = found["value"].strip()
        quote = raw[:1] if raw[:1] in {"'", '"'} else ""
        if not quote:
            values[found["name"]] = _expanded(re.split(r"(?:^|\s)#", raw)[0].strip(), values)
            continue
        body = raw[1:]
        while (end := _closing(body, quote)) is None:  # a quoted value may go on for lines
            following = next(lines, None)
            if following is None:
                end = len(body)
                break
            body += "\n" + following
        body = body[:end]
        values[found["name"]] = body if quote == "'" else _expanded(_unescaped(body), values)
    return values


def _closing(body: str, quote: str) -> int | None:
    position = 0
    while position < len(body):
        if body[position] == "\\" and quote == '"':
            position += 2
        elif body[position] == quote:
            return position
        else:
            position += 1
    return None


def _unescaped(body: str) -> str:
    return re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]) if m[1] != "$" else "$$", body)


def _expanded(text: str, values: Mapping[str, str]) -> str:
    try:
        return expand(text, values).text
    except Unusable:
        return text  # as it stands there: a password may well hold a $
