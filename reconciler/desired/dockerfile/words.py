"""How the rest of an instruction's line falls apart (BuildKit: parser/split_command.go, parser/line_parsers.go)."""

from __future__ import annotations

import json
import re

from reconciler.desired.dockerfile.fault import Fault
from reconciler.desired.go_text import GO_SPACE

_BLANKS = re.compile(r"[\t\v\f\r ]+")
_SPACES = frozenset(GO_SPACE)


def split_command(line: str, escape: str) -> tuple[str, tuple[str, ...], str]:
    """(the instruction's name, its --flags, the rest)."""
    name, *rest = _BLANKS.split(line.strip(GO_SPACE), maxsplit=1)
    if not rest:
        return name, (), ""
    flags, arguments = _flags(rest[0], escape)
    return name, flags, arguments.strip(GO_SPACE)


def _flags(line: str, escape: str) -> tuple[tuple[str, ...], str]:
    """The leading words that begin with --, and what follows them.

    BuildKit reads this part byte by byte as if it were Latin-1, which shows for flags with other letters.
    """
    text = line.encode("utf-8", "surrogateescape").decode("latin-1")
    flags: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at] in _SPACES:
            at += 1
        if not text.startswith("--", at):
            return tuple(flags), _utf8(text[at:])
        word, quoted, at = _flag(text, at, escape)
        if word == "--":
            return tuple(flags), _utf8(text[at:])
        if word or quoted:
            flags.append(word)


def _utf8(latin: str) -> str:
    return latin.encode("latin-1").decode("utf-8", "surrogateescape")


def _flag(text: str, at: int, escape: str) -> tuple[str, bool, int]:
    """(the word without quotes and escapes, whether it had quotes, where it ends)."""
    word: list[str] = []
    quote, quoted = "", False
    while at < len(text):
        sign = text[at]
        if not quote and sign in _SPACES:
            break
        at += 1
        if sign == quote:
            quote = ""
        elif not quote and sign in "'\"":
            quote, quoted = sign, True
        elif sign == escape:
            word.append(text[at : at + 1])
            at += 1
        else:
            word.append(sign)
    return "".join(word), quoted, at


def whitespace_list(rest: str) -> tuple[str, ...]:
    """The words between blanks; quotes mean nothing."""
    return tuple(_BLANKS.split(rest)) if rest else ()


def json_list(rest: str) -> tuple[str, ...] | None:
    """The strings of a JSON array, None if it is none. Raises Fault if it holds anything but strings."""
    text = rest.lstrip(GO_SPACE)
    if not text.startswith("["):
        return None
    try:
        values = json.loads(_as_json_text(text), parse_constant=_refused, parse_float=_number, parse_int=_number)
    except (ValueError, RecursionError):
        return None
    if not all(isinstance(value, str) for value in values):
        raise Fault("syntax", "a JSON array here holds strings only")
    return tuple(_as_json_text(value) for value in values)


def _as_json_text(text: str) -> str:
    """Go reads U+FFFD for a byte that is not UTF-8 and for half a surrogate pair."""
    return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)


def _refused(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _number(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise ValueError("a number too large for Go's JSON")
    return value


def shell_words(rest: str, escape: str) -> list[str]:
    """Words between blanks, where quotes and escapes hold a word together and stay in it."""
    words: list[str] = []
    at = 0
    while True:
        while at < len(rest) and rest[at] in _SPACES:
            at += 1
        if at >= len(rest):
            return words
        word, quoted, at = _shell_word(rest, at, escape)
        if word or quoted:
            words.append(word)


def _shell_word(rest: str, at: int, escape: str) -> tuple[str, bool, int]:
    word: list[str] = []
    quote, quoted = "", False
    while at < len(rest):
        sign = rest[at]
        if not quote and sign in _SPACES:
            break
        at += 1
        if sign == escape and quote != "'":
            if at == len(rest):
                break  # an escape at the very end is dropped
            word += (sign, rest[at])
            at += 1
            continue
        if sign == quote:
            quote = ""
        elif not quote and sign in "'\"":
            quote, quoted = sign, True
        word.append(sign)
    return "".join(word), quoted, at


def names_and_values(rest: str, escape: str, keyword: str) -> tuple[tuple[str, str], ...]:
    """`name=value …`, or the old form `name value`. Raises Fault."""
    words = shell_words(rest, escape)
    if not words:
        return ()
    if "=" not in words[0]:
        name, *value = _BLANKS.split(rest, maxsplit=1)
        if not value:
            raise Fault("syntax", f"{keyword} needs a name and a value")
        return ((name, value[0]),)
    for word in words:
        if "=" not in word:
            raise Fault("syntax", f"{word!r} is not of the form name=value")
    return tuple((word.partition("=")[0], word.partition("=")[2]) for word in words)


def csv_fields(text: str) -> list[str]:
    """The fields of one line of comma-separated values (tonistiigi/go-csvvalue). Raises Fault."""
    line = text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text
    if not line:
        raise Fault("syntax", "an empty list of options")
    fields: list[str] = []
    at = 0
    while True:
        if line.startswith('"', at):
            field, at = _quoted_field(line, at + 1)
        else:
            end = line.find(",", at)
            field, at = (line[at:], len(line)) if end < 0 else (line[at:end], end)
            if '"' in field:
                raise Fault("syntax", f'a " inside the field {field!r}')
        fields.append(field)
        if at >= len(line):
            return fields
        at += 1


def _quoted_field(line: str, at: int) -> tuple[str, int]:
    parts: list[str] = []
    while True:
        end = line.find('"', at)
        if end < 0:
            raise Fault("syntax", 'the closing " of a field is missing')
        parts.append(line[at:end])
        at = end + 1
        if line.startswith('"', at):
            parts.append('"')
            at += 1
        elif at == len(line) or line[at] == ",":
            return "".join(parts), at
        else:
            raise Fault("syntax", 'text behind the closing " of a field')
