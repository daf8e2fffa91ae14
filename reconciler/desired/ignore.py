"""Which entries of a context are sent: `.dockerignore`, exactly as BuildKit v0.33 reads it and walks with it.

The rules are those of moby/patternmatcher v0.6.1 (`MatchesUsingParentResults`) inside the filtering walk of
tonistiigi/fsutil, not those of gitignore. BuildKit itself is the oracle in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from reconciler.desired.go_text import MAX_BYTES
from reconciler.desired.ignore_match import BadExpression, Matcher, TooLarge, check
from reconciler.desired.ignore_pattern import BadLine, Pattern, read_lines, read_pattern
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

NAME = ".dockerignore"
MAX_PATTERNS = 10_000


@dataclass(frozen=True, slots=True, eq=False)
class Cursor:
    """Where a walk stands: all of what the folders above decide about what lies below."""

    path: str
    """The folder's path with a / at its end; empty at the context's root."""
    inherited: int
    """Bit i is set if pattern i holds for everything below."""
    exceptions: tuple[tuple[str, ...], ...]
    """The trunks of the exceptions that may still bring something back below."""
    ways: tuple[tuple[str, ...], ...]
    """The ways of the patterns that may still match something below."""
    depth: int
    settled: bool
    """True if nothing below can be ignored: all of it is sent."""


class IgnoreRules:
    """The effective patterns of one ignore file. Made by `parse`; `EMPTY` ignores nothing."""

    EMPTY: ClassVar[IgnoreRules]

    __slots__ = ("_matcher", "_outcomes", "_prunes", "patterns", "top")

    def __init__(self, patterns: Iterable[Pattern] = ()) -> None:
        """Raises TooLarge; `parse` tells it as a problem."""
        self.patterns = tuple(patterns)
        trunks = [pattern.trunk for pattern in self.patterns if pattern.exception]
        self._prunes = None not in trunks
        self._outcomes: dict[tuple[int, int], tuple[bool, int]] = {}
        self._matcher = Matcher(self.patterns) if self.patterns else None
        exceptions = tuple(trunk for trunk in trunks if trunk is not None) if self._prunes else ()
        ways = tuple({pattern.way for pattern in self.patterns})
        self.top = Cursor("", 0, exceptions, ways, 0, not self.patterns)
        """The context's root."""

    @classmethod
    def parse(cls, content: bytes, source: str) -> IgnoreRules:
        """The rules of an ignore file; `source` is its path, for messages.

        Raises LianError `ignore-syntax` for what BuildKit refuses (all lines of it, each with its number),
        `ignore-too-large`.
        """
        if len(content) > MAX_BYTES:
            raise LianError(_problem("ignore-too-large", f"an ignore file has at most {MAX_BYTES} bytes", source, None))
        patterns, problems = _read(content, source)
        if problems:
            raise LianError(problems)
        if not patterns:
            return cls.EMPTY
        try:
            return cls(patterns)
        except TooLarge as error:
            raise LianError(_problem("ignore-too-large", str(error), source, None)) from error

    def decide(self, cursor: Cursor, name: str, folder: bool) -> tuple[bool, Cursor | None]:
        """Whether the entry is sent for its own sake, and the cursor below it (None: do not look below).

        A folder that is not sent for its own sake is sent all the same if something below it is.
        `name` is one path part, with bytes that are not UTF-8 as surrogates.
        """
        if cursor.settled or self._matcher is None:
            return True, cursor if folder else None
        path = cursor.path + name
        matched, inherited = self._outcome(self._matcher.matching(path), cursor.inherited)
        if not folder:
            return not matched, None
        level, depth = cursor.depth, cursor.depth + 1
        exceptions = tuple(trunk for trunk in cursor.exceptions if len(trunk) >= depth and trunk[level] == name)
        if matched and self._prunes and not exceptions:
            return False, None
        ways = tuple(way for way in cursor.ways if _leads(way, level, name))
        below = self._outcome(0, inherited)[0]
        if matched and below and not ways:
            return False, None
        return not matched, Cursor(f"{path}/", inherited, exceptions, ways, depth, not (ways or below))

    def _outcome(self, accepted: int, inherited: int) -> tuple[bool, int]:
        """(ignored, the patterns that hold below): the last pattern that matches decides.

        A pattern is looked at only if it could change the answer so far, and one that was not looked at does not
        hold below; that is what patternmatcher does, and it shows in files with exceptions.
        """
        known = self._outcomes.get((accepted, inherited))
        if known is None:
            ignored, holds = False, 0
            for index, pattern in enumerate(self.patterns):
                bit = 1 << index
                if inherited & bit or (accepted & bit and pattern.exception == ignored):
                    holds |= bit
                    ignored = not pattern.exception
            known = self._outcomes[accepted, inherited] = (ignored, holds)
        return known


def find_ignore(dockerfile: str, context: str, exists: Callable[[str], bool]) -> str | None:
    """The ignore file that decides for the main context, or None.

    `<Dockerfile's name>.dockerignore` beside the Dockerfile comes before `.dockerignore` at the context's root, also
    when it is empty. All paths are relative to one root; `context` is the context's folder, `""` for that root.
    A named local context obeys only the `.dockerignore` at its own root: `find_ignore("", its folder, …)`.
    """
    at_root = f"{context.rstrip('/')}/{NAME}" if context not in ("", ".") else NAME
    candidates = (f"{dockerfile}{NAME}", at_root) if dockerfile else (at_root,)
    return next((path for path in candidates if exists(path)), None)


def _read(content: bytes, source: str) -> tuple[list[Pattern], list[Problem]]:
    patterns: list[Pattern] = []
    problems: list[Problem] = []
    try:
        for number, line in read_lines(content):
            if len(patterns) > MAX_PATTERNS:
                message = f"an ignore file has at most {MAX_PATTERNS} patterns"
                return [], [*problems, _problem("ignore-too-large", message, source, number)]
            try:
                pattern = read_pattern(number, line)
                if pattern is not None:
                    check(pattern)
                    patterns.append(pattern)
            except BadLine as error:
                problems.append(_problem("ignore-syntax", f"{line!r}: {error}", source, number, error.hint))
            except BadExpression as error:
                hint = r"write the pattern with * ? [a-z] and **, and \ only before these signs"
                problems.append(_problem("ignore-syntax", f"{line!r}: {error}", source, number, hint))
    except BadLine as error:
        problems.append(_problem("ignore-syntax", str(error), source, error.line, error.hint))
    return patterns, problems


def _leads(way: tuple[str, ...], level: int, name: str) -> bool:
    """True if a pattern that goes this way may match below the folder of this name at this level."""
    if len(way) <= level or way[level] == "**":
        return way[-1] == "**"
    return way[level] in ("*", name) and len(way) > level + 1


def _problem(code: str, message: str, source: str, line: int | None, hint: str | None = None) -> Problem:
    usual = {
        "ignore-syntax": r"close [ with ], and write \[ for a bracket that is part of a name",
        "ignore-too-large": "name folders instead of single files",
    }[code]
    return Problem(code, message, source, line, hint=hint or usual)


IgnoreRules.EMPTY = IgnoreRules()
