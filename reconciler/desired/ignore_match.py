"""Which patterns of an ignore file match a path, asked of RE2, the C++ sibling of the engine that BuildKit uses.

moby/patternmatcher hands parts of a pattern to Go's regexp package unescaped, so `|`, `{2}`, `^`, `[[:alpha:]]` and
`\\d` mean there what they mean in a regular expression of that family. RE2 reads the same syntax, matches all
patterns in one pass over a path, and cannot be made to run for ever by a short pattern (ADR 028).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from reconciler.desired.ignore_pattern import Kind, translate

if TYPE_CHECKING:
    from collections.abc import Sequence

    import re2

    from reconciler.desired.ignore_pattern import Pattern

MAX_MEMORY = 16 << 20
"""Bytes for the automaton of one ignore file; patterns that need more are refused."""

_ESCAPES = re.compile(r"\\Q.*?(?:\\E|\Z)|\\(.)", re.DOTALL)
_NOT_UTF8 = re.compile("[\udc80-\udcff]")  # what `surrogateescape` makes of a byte that is not UTF-8


class BadExpression(ValueError):
    """Go refuses the regular expression that patternmatcher makes of the pattern."""


class TooLarge(ValueError):
    """The patterns need more than MAX_MEMORY."""

    def __init__(self) -> None:
        super().__init__(f"the patterns need more than {MAX_MEMORY >> 20} MiB of memory")


def check(pattern: Pattern) -> None:
    """Raises BadExpression."""
    import re2  # a pass that finds all in the memo matches nothing

    kind, form = translate(pattern.text)
    if kind is not Kind.REGEXP:
        return
    if any(escape[1] == "C" for escape in _ESCAPES.finditer(form)):  # RE2 takes it for any byte
        raise BadExpression(r"invalid escape sequence: \C")
    try:
        re2.Set.SearchSet(_options()).Add(form)
    except re2.error as failed:
        raise BadExpression(_reason(form)) from failed


def _reason(form: str) -> str:
    """A set says only that it refuses an expression; the expression alone says why."""
    import re2

    try:
        re2.compile(form, _options())
    except re2.error as error:
        reason = error.args[0]
        return reason.decode() if isinstance(reason, bytes) else str(reason)
    return f"not a regular expression: {form}"


class Matcher:
    """All patterns of one ignore file, each of which passes `check`."""

    def __init__(self, patterns: Sequence[Pattern]) -> None:
        """Raises TooLarge."""
        import re2

        self._always = 1 << len(patterns)
        self._regexps = sum(1 << i for i, pattern in enumerate(patterns) if translate(pattern.text)[0] is Kind.REGEXP)
        self._set = re2.Set.SearchSet(_options())
        for pattern in patterns:
            self._set.Add(_expression(pattern.text))
        self._set.Add("")
        try:
            self._set.Compile()
        except re2.error as error:
            raise TooLarge from error
        self._bits(b"")

    def matching(self, path: str) -> int:
        """Bit i is set if pattern i matches the path, in which a byte that is not UTF-8 is a surrogate.

        Go compares strings by bytes, but its regular expressions see U+FFFD for a byte that is not UTF-8.
        """
        bits = self._bits(path.encode("utf-8", "surrogateescape"))
        if path.isascii() or not _NOT_UTF8.search(path):
            return bits
        seen = self._bits(_NOT_UTF8.sub("\ufffd", path).encode())
        return bits & ~self._regexps | seen & self._regexps

    def _bits(self, path: bytes) -> int:
        """RE2 finds nothing when its memory is too small: the pattern that always matches shows that."""
        bits = 0
        for index in self._set.Match(path) or ():
            bits |= 1 << index
        if not bits & self._always:
            raise TooLarge
        return bits ^ self._always


def _expression(pattern: str) -> str:
    """What matches the same paths as the pattern, in RE2's syntax."""
    from re2 import escape

    kind, form = translate(pattern)
    match kind:
        case Kind.EXACT:
            return rf"\A{escape(pattern)}\z"
        case Kind.PREFIX:
            return rf"\A{escape(pattern[:-2])}"
        case Kind.SUFFIX if pattern.startswith("**/"):
            return rf"(?:\A|/){escape(pattern[3:])}\z"
        case Kind.SUFFIX:
            return rf"{escape(pattern[2:])}\z"
    return form


def _options() -> re2.Options:
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    return options
