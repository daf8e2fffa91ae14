"""The lines of an ignore file, as BuildKit takes them: moby/patternmatcher v0.6.1 and its `ignorefile` reader.

Two readers look at each line, one after the other, and both clean it; what looks redundant here decides odd lines
(`/ foo`, `! foo`, `!//`). Names are text in which a byte that is not UTF-8 is a surrogate (`surrogateescape`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

from reconciler.desired.go_text import GO_SPACE, MAX_LINE

if TYPE_CHECKING:
    from collections.abc import Iterator

_REGEXP_SIGNS = frozenset(".+()$")  # patternmatcher means to escape {|} too, but its bit map loses them
_MANY = frozenset("*?\ufffd")  # a byte that is not UTF-8 is U+FFFD to a regular expression
_ANYTHING = frozenset("[]{}|^\\\ufeff")  # signs that may reach a regular expression, and a mark that Go skips


class Kind(Enum):
    """How a pattern is compared."""

    EXACT = "exact"
    PREFIX = "prefix"
    SUFFIX = "suffix"
    REGEXP = "regexp"


@dataclass(frozen=True, slots=True)
class Pattern:
    """One effective line: what it says, and whether it brings back (`!`)."""

    text: str
    exception: bool

    @property
    def trunk(self) -> tuple[str, ...] | None:
        """The names down to what an exception can bring back, or None if wildcards make that unknowable (fsutil)."""
        stem = self.text.removesuffix("/**").removesuffix("/*")
        return None if any(sign in stem for sign in "*[]?^\\") else tuple(stem.split("/"))

    @property
    def way(self) -> tuple[str, ...]:
        """A name, or `*` for any, for each level down to what the pattern can match; it ends with `**` where that
        can be at any depth. With signs that could mean anything it is `**` alone."""
        if any(sign in self.text for sign in _ANYTHING):
            return ("**",)
        names = self.text.split("/")
        deep = next((level for level, name in enumerate(names) if "**" in name), None)
        way = names if deep is None else [*names[:deep], "**"]
        return tuple("*" if name != "**" and _MANY.intersection(name) else name for name in way)


class BadLine(ValueError):
    """A line that BuildKit refuses, or does not read; `line` starts at 1, `hint` is what to try where it is not plain
    that brackets are at fault."""

    def __init__(self, line: int, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.line = line
        self.hint = hint


def clean(path: str) -> str:
    """The shortest equal path, as Go's filepath.Clean has it."""
    rooted = path.startswith("/")
    kept: list[str] = []
    for part in path.split("/"):
        if part == ".." and kept and kept[-1] != "..":
            kept.pop()
        elif part not in ("", ".", "..") or (part == ".." and not rooted):
            kept.append(part)
    return "/" + "/".join(kept) if rooted else "/".join(kept) or "."


def read_lines(content: bytes) -> Iterator[tuple[int, str]]:
    """(line, pattern) of each line that says something, as `ignorefile` gives them. Raises BadLine."""
    lines = content.split(b"\n")
    for number, raw in enumerate(lines[:-1] if not lines[-1] else lines, start=1):
        if len(raw) > MAX_LINE:
            raise BadLine(number, f"a line has at most {MAX_LINE} bytes", "split it into several patterns")
        line = raw.removesuffix(b"\r")
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
        if line.startswith(b"#"):
            continue
        pattern = line.decode("utf-8", "surrogateescape").strip(GO_SPACE)
        if pattern:
            yield number, _from_context_root(pattern)


def _from_context_root(pattern: str) -> str:
    bang = "!" if pattern.startswith("!") else ""
    rest = pattern.removeprefix(bang).strip(GO_SPACE)
    if rest:
        rest = clean(rest)
        rest = rest[1:] if len(rest) > 1 and rest.startswith("/") else rest
    return bang + rest


def read_pattern(number: int, line: str) -> Pattern | None:
    """The pattern that patternmatcher makes of a line of `read_lines`; None if nothing is left of it.

    Raises BadLine for what BuildKit refuses when it reads the file.
    """
    stripped = line.strip(GO_SPACE)
    if not stripped:
        return None
    cleaned = clean(stripped)
    exception = cleaned.startswith("!")
    pattern = cleaned[1:] if exception else cleaned
    if not pattern:
        raise BadLine(number, "! alone brings nothing back", "write a pattern after the !, or remove the line")
    if is_malformed(pattern):
        raise BadLine(number, f"{pattern!r} is not a well-formed pattern")
    # The client gets the patterns as JSON, which has no bytes that are not UTF-8.
    sent = "".join("\ufffd" if "\udc80" <= char <= "\udcff" else char for char in pattern)
    return Pattern(sent, exception)


# -- from a path pattern to a regular expression


def translate(pattern: str) -> tuple[Kind, str]:
    """How the pattern is compared, and its regular expression in Go's syntax (used for Kind.REGEXP only)."""
    signs = pattern.removeprefix("\ufeff")  # Go's text/scanner skips a byte order mark
    kind, parts, at = Kind.EXACT, ["^"], 0
    while at < len(signs):
        begin, sign = at, signs[at]
        at += 1
        if sign == "*" and signs.startswith("*", at):
            at += 2 if signs.startswith("*/", at) else 1
            if at < len(signs):
                parts.append("(.*/)?")
                kind = Kind.REGEXP
            elif kind is Kind.EXACT:
                kind = Kind.PREFIX
            else:
                parts.append(".*")
                kind = Kind.REGEXP
            if begin == 0:
                kind = Kind.SUFFIX
        elif sign in "*?":
            parts.append("[^/]*" if sign == "*" else "[^/]")
            kind = Kind.REGEXP
        elif sign in _REGEXP_SIGNS:
            parts.append("\\" + sign)
        elif sign == "\\":
            parts.append(sign + signs[at : at + 1])
            kind = Kind.REGEXP if at < len(signs) else kind
            at += 1
        else:
            parts.append(sign)
            kind = Kind.REGEXP if sign in "[]" else kind
    return kind, "".join((*parts, "$"))


# -- the syntax check


def is_malformed(pattern: str) -> bool:
    """True if Go's filepath.Match(pattern, ".") reports a syntax error.

    BuildKit checks with that call, and it stops looking where `.` no longer matches: `a*[` passes it.
    """
    name = "."
    while pattern:
        star, chunk, pattern = _first_chunk(pattern)
        if star and not chunk:
            return False
        try:
            chars = _chunk_chars(chunk)
        except ValueError:
            return True
        rests = [rest for rest in _rests(chars, name, star) if not rest or pattern]
        if not rests:
            return False
        name = rests[0]
    return False


def _rests(chars: list[tuple[bool, list[tuple[str, str]]]], name: str, star: bool) -> Iterator[str]:
    """What is left of the name behind each place where the characters match."""
    for skipped in range(len(name) + 1 if star else 1):
        found = name[skipped : skipped + len(chars)]
        pairs = zip(chars, found, strict=False)
        if len(found) == len(chars) and all(any(a <= c <= b for a, b in ranges) != neg for (neg, ranges), c in pairs):
            yield name[skipped + len(chars) :]


def _first_chunk(pattern: str) -> tuple[bool, str, str]:
    """Whether it begins with stars, the text up to the next star, and the rest."""
    rest = pattern.lstrip("*")
    star, in_class, at = rest != pattern, False, 0
    while at < len(rest):
        sign = rest[at]
        if sign == "\\" and at + 1 < len(rest):
            at += 1
        elif sign in "[]":
            in_class = sign == "["
        elif sign == "*" and not in_class:
            break
        at += 1
    return star, rest[:at], rest[at:]


def _chunk_chars(chunk: str) -> list[tuple[bool, list[tuple[str, str]]]]:
    """(negated, ranges) for each character that the chunk stands for. Raises ValueError."""
    chars: list[tuple[bool, list[tuple[str, str]]]] = []
    at = 0
    while at < len(chunk):
        sign = chunk[at]
        at += 1
        if sign == "[":
            negated, ranges, at = _class_at(chunk, at)
            chars.append((negated, ranges))
        elif sign == "?":
            chars.append((True, [("/", "/")]))
        else:
            if sign == "\\":
                sign = chunk[at : at + 1]
                at += 1
            if not sign:
                raise ValueError("a backslash at the end")
            chars.append((False, [(sign, sign)]))
    return chars


def _class_at(chunk: str, at: int) -> tuple[bool, list[tuple[str, str]], int]:
    negated = chunk.startswith("^", at)
    at += negated
    ranges: list[tuple[str, str]] = []
    while not (ranges and chunk.startswith("]", at)):
        low, at = _class_char(chunk, at)
        high = low
        if chunk[at] == "-":
            high, at = _class_char(chunk, at + 1)
        ranges.append((low, high))
    return negated, ranges, at + 1


def _class_char(chunk: str, at: int) -> tuple[str, int]:
    sign = chunk[at : at + 1]
    if sign in ("", "-", "]"):
        raise ValueError("a character class is not closed")
    if sign == "\\":
        at += 1
        sign = chunk[at : at + 1]
    if not sign or "\udc80" <= sign <= "\udcff" or at + 1 == len(chunk):
        raise ValueError("a character class is not closed")
    return sign, at + 1
