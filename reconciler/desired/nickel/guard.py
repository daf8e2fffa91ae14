"""Refuses, before Nickel sees it, what would crash it or keep it busy for ever, and finds what a file imports.

Measured on Nickel 1.18: brackets nested a few thousand deep crash it without a message, and `1e999999999` takes it
minutes to read. Everything that only shows when evaluated (loops, large values) is left to the worker's limits.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NoReturn

from reconciler.desired.nickel.lexer import LexError, Token, place, tokens

if TYPE_CHECKING:
    from collections.abc import Iterable

VERSION = 2
"""Part of every cache key: raised when a rule here, or what it says, changes."""

MAX_BYTES = 1 << 20
MAX_TOML_BYTES = 256 << 10
"""Python's own TOML reader, which checks such files, is slow."""
MAX_DEPTH = 64
MAX_PATH = 8000
"""Tokens on the way from a file's start into its deepest place, elements before a comma left out. Nickel's own depth is
at most this: it bounds chains without brackets (`a + a + …`, `let … in let … in …`), which crash it as well."""
MAX_DIGITS = 40
MAX_EXPONENT = 999

FORMATS = {".ncl": "Nickel", ".json": "Json", ".toml": "Toml", ".txt": "Text"}
"""Suffix -> how Nickel reads it. YAML is left out: its anchors multiply (`*a` ten times, six levels deep)."""

_EXPONENT = re.compile(r"[eE][+-]?0*([0-9]+)\Z")
_SIMPLE = re.compile(
    r"""import(?<![A-Za-z0-9_'-]import)\s*"([^"\\]+)"(?:\s+as\s+'([A-Za-z]+))?(?![A-Za-z0-9_'-])(?!\s*(?:as\b|\#))"""
    r"""|"(?:[^"\\]+|\\.)*+"|("[\s\S]*)|\#[^\n]*""",
    re.DOTALL,
)
"""An import (path, format), a string, a string that never ends (third group), or a comment."""
_DOUBTFUL = re.compile(r'import|"|[0-9][eE]|[0-9.]{38}')
_BRACKETS = re.compile(r"[\[\](){}]")
_JSON_STRING = re.compile(rb'"(?:[^"\\]+|\\.)*+"|"[\s\S]*', re.DOTALL)
_JSON_BRACKETS = re.compile(rb"[\[\]{}]")


@dataclass(frozen=True, slots=True)
class Import:
    """`import "path"`, with the format of `as 'Format` where there is one."""

    path: str
    format: str | None = None


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a file is refused; line and column from 1, 0 if the place is not known."""

    code: str
    message: str
    line: int = 0
    column: int = 0
    hint: str | None = None


@dataclass(frozen=True, slots=True)
class Examined:
    """What a file imports, and what speaks against evaluating it."""

    imports: tuple[Import, ...] = ()
    faults: tuple[Fault, ...] = ()


_PLAIN = Examined()


def examine(data: bytes, format: str) -> Examined:
    """Look at one file that Nickel would read in this format (`Nickel`, `Json`, `Toml`, `Text`)."""
    largest = MAX_TOML_BYTES if format == "Toml" else MAX_BYTES
    if len(data) > largest:
        message = f"the file has {len(data)} bytes; at most {largest} are read"
        return _refused("nickel-limit", message, hint="split it, or keep large data out of the directives")
    if data.startswith(b"\xef\xbb\xbf"):
        return _refused(
            "nickel-syntax",
            "the file begins with a byte order mark, which Nickel cannot read",
            1,
            1,
            "save it as UTF-8 without a byte order mark",
        )
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        line, start = data.count(b"\n", 0, error.start) + 1, data.rfind(b"\n", 0, error.start) + 1
        column = len(data[start : error.start].decode("utf-8", "replace")) + 1
        return _refused("nickel-syntax", "the file is not UTF-8 text", line, column, "save it as UTF-8")
    if format == "Nickel":
        return _glance(text) or _read(text)
    if format == "Json":
        return _json(text, data)
    return _toml(text) if format == "Toml" else _PLAIN


def imports_at(text: str) -> list[tuple[Import, int]]:
    """Each import of a Nickel text with its offset. Raises LexError."""
    reading = _Reading()
    for token in tokens(text):
        reading.import_in(token)
    reading.import_in(_END)
    return reading.found


def _refused(code: str, message: str, line: int = 0, column: int = 0, hint: str | None = None) -> Examined:
    return Examined((), (Fault(code, message, line, column, hint),))


def _glance(text: str) -> Examined | None:
    """The verdict on a plain text, or None for one that must be read token by token.

    Without `%` a string cannot hold code, so strings, comments and imports fall to one regular expression. It is ten
    times as fast as reading, and the tests hold it to the same verdicts.
    """
    if "%" in text:
        return None
    parts = _SIMPLE.split(text)  # what is between, then path, format and unclosed string of a match, and so on
    rest = " ".join(parts[::4])
    if len(rest) > MAX_PATH or _DOUBTFUL.search(rest) or any(parts[3::4]):
        return None
    if rest.count("{") + rest.count("[") + rest.count("(") > MAX_DEPTH and _depth(_BRACKETS.findall(rest)) > MAX_DEPTH:
        return None
    imports = tuple(Import(path, format) for path, format in zip(parts[1::4], parts[2::4], strict=True) if path)
    return Examined(imports) if imports else _PLAIN


def _depth(brackets: Iterable[str] | Iterable[bytes]) -> int:
    depth = deepest = 0
    for bracket in brackets:
        if bracket in "{[(" if isinstance(bracket, str) else bracket in b"{[(":
            depth += 1
            deepest = max(deepest, depth)
        else:
            depth -= 1
    return deepest


def _read(text: str) -> Examined:
    """The verdict on any text, token by token; reading ends at what would make Nickel go too deep."""
    reading = _Reading()
    try:
        for token in tokens(text):
            reading.import_in(token)
            reading.number(token)
            if not reading.nesting(token):
                break
        reading.import_in(_END)
    except LexError as error:
        return _refused("nickel-syntax", f"Nickel cannot read this: {error}", *place(text, error.offset))
    placed = tuple(Fault(code, message, *place(text, at), hint) for code, message, at, hint in reading.faults)
    return Examined(tuple(imported for imported, _ in reading.found), placed)


_END = Token("end", "", -1)
_TAGS = ", ".join(f"'{name}" for name in FORMATS.values())


class _Reading:
    """What is learnt from the tokens of one file, in order."""

    def __init__(self) -> None:
        self.found: list[tuple[Import, int]] = []
        self.faults: list[tuple[str, str, int, str]] = []
        self._starts: list[int] = []
        self._start = self._length = 0
        self._import: list[Token] = []

    def nesting(self, token: Token) -> bool:
        """Count brackets and tokens; false at the first token that lies too deep."""
        kind = token.kind
        self._length += 1
        if kind in {"open", "interpolation"}:
            self._starts.append(self._start)
            self._start = self._length
            if len(self._starts) > MAX_DEPTH:
                message = f"brackets are nested more than {MAX_DEPTH} deep"
                self.faults.append(("nickel-limit", message, token.offset, "give inner parts a name with `let`"))
                return False
        elif kind == "close":
            self._length, self._start = self._start, self._starts.pop() if self._starts else 0
        elif kind == "operator" and token.text == ",":
            self._length = self._start
        elif self._length > MAX_PATH:
            message = f"an expression goes on for more than {MAX_PATH} tokens"
            self.faults.append(("nickel-limit", message, token.offset, "split the file, or use an array and a fold"))
            return False
        return True

    def number(self, token: Token) -> None:
        """Refuse a number that would take Nickel long to read; one such fault a file is enough."""
        if token.kind == "number" and _too_large(token.text) and not any("number" in f[1] for f in self.faults):
            hint = f"write at most {MAX_DIGITS} digits, and an exponent of at most {MAX_EXPONENT}"
            self.faults.append(("nickel-limit", "a number is too long", token.offset, hint))

    def import_in(self, token: Token) -> None:
        """Collect `import "path" as 'Format`: the keyword and what follows it, until it is clear what is imported."""
        if self._import:
            self._import.append(token)
            if self._judged(*self._import):
                self._import = []
        if not self._import and token.kind == "word" and token.text == "import":
            self._import = [token]

    def _judged(self, start: Token, path: Token, word: Token | None = None, format: Token | None = None) -> bool:
        """Whether the tokens so far settle the import that begins at `start`; if so it is found or refused."""
        if path.kind != "string":
            message = 'an import must name its file in a plain string, such as `import "lib/base.ncl"`'
            hint = "write the path out: packages and computed paths cannot be imported"
            self.faults.append(("nickel-import", message, start.offset, hint))
        elif word is None:
            return False
        elif word.text != "as" or word.kind != "word":
            self.found.append((Import(path.text), start.offset))
        elif format is None:
            return False
        elif format.kind != "tag":
            hint = f"use one of {_TAGS}"
            self.faults.append(("nickel-import", "an import's format must be a plain tag", start.offset, hint))
        else:
            self.found.append((Import(path.text, format.text[1:]), start.offset))
        return True


def _too_large(number: str) -> bool:
    if number[:2] in {"0x", "0o", "0b"}:
        return len(number) > MAX_DIGITS
    exponent = _EXPONENT.search(number)
    mantissa = number[: exponent.start()] if exponent else number
    return len(mantissa) > MAX_DIGITS or (exponent is not None and len(exponent[1]) > len(str(MAX_EXPONENT)))


def _number(text: str) -> int:
    if _too_large(text.lstrip("-")):
        raise ValueError(text)
    return 0


def _constant(text: str) -> NoReturn:
    raise ValueError(text)


_NUMBER_REFUSED = "a number in the file is too long, infinite, or not a number"


def _json(text: str, data: bytes) -> Examined:
    if _depth(_JSON_BRACKETS.findall(_JSON_STRING.sub(b"", data))) > MAX_DEPTH:
        return _refused("nickel-limit", f"the file is nested more than {MAX_DEPTH} deep")
    try:
        json.loads(text, parse_float=_number, parse_int=_number, parse_constant=_constant)
    except json.JSONDecodeError as error:
        return _refused("nickel-syntax", f"the file is not JSON: {error.msg}", error.lineno, error.colno)
    except ValueError:
        return _refused("nickel-limit", _NUMBER_REFUSED)
    except RecursionError:
        return _refused("nickel-limit", f"the file is nested more than {MAX_DEPTH} deep")
    return _PLAIN


def _toml(text: str) -> Examined:
    import tomllib  # few directives import TOML

    try:
        value = tomllib.loads(text, parse_float=_number)
    except tomllib.TOMLDecodeError as error:
        where = re.search(r" \(at line ([0-9]+), column ([0-9]+)\)\Z", str(error))
        message = f"the file is not TOML: {str(error)[: where.start() if where else None]}"
        return _refused("nickel-syntax", message, *(int(part) for part in where.groups()) if where else ())
    except ValueError:
        return _refused("nickel-limit", _NUMBER_REFUSED)
    except RecursionError:
        return _refused("nickel-limit", f"the file is nested more than {MAX_DEPTH} deep")
    return _refused("nickel-limit", f"the file is nested more than {MAX_DEPTH} deep") if _deeper(value) else _PLAIN


def _deeper(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for node in level
            for child in (node.values() if isinstance(node, dict) else node if isinstance(node, list) else ())
            if isinstance(child, (dict, list))
        ]
        if not level:
            return False
    return True
