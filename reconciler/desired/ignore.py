"""Which entries of a context are sent: `.dockerignore`, exactly as BuildKit v0.33 reads it and walks with it.

The rules are those of moby/patternmatcher v0.6.1 (`MatchesUsingParentResults`) inside the filtering walk of
tonistiigi/fsutil, not those of gitignore. BuildKit itself is the oracle in the tests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from reconciler.desired.go_text import MAX_BYTES
from reconciler.desired.ignore_match import MAX_POSITIONS, Automaton, TooManyPositions
from reconciler.desired.ignore_pattern import BadLine, Pattern, read_lines, read_pattern
from reconciler.desired.ignore_regexp import BadExpression, UnsupportedExpression
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from reconciler.desired.ignore_match import Expression, State

NAME = ".dockerignore"
MAX_PATTERNS = MAX_POSITIONS // 2
"""Each pattern needs at least two positions of the automaton."""


@dataclass(frozen=True, slots=True, eq=False)
class Cursor:
    """Where a walk stands: all of what the folders above decide about what lies below."""

    state: State
    inherited: int
    """Bit i is set if pattern i holds for everything below."""
    exceptions: tuple[tuple[str, ...], ...]
    """The trunks of the exceptions that may still bring something back below."""
    depth: int
    settled: bool
    """True if nothing below can be ignored: all of it is sent."""


class IgnoreRules:
    """The effective patterns of one ignore file. Made by `parse`; `EMPTY` ignores nothing."""

    EMPTY: ClassVar[IgnoreRules]

    __slots__ = ("_automaton", "_outcomes", "_prunes", "patterns", "top")

    def __init__(self, patterns: Iterable[Pattern] = ()) -> None:
        """Raises BadExpression, UnsupportedExpression or TooManyPositions; `parse` tells these as problems."""
        self.patterns = tuple(patterns)
        trunks = [pattern.trunk for pattern in self.patterns if pattern.exception]
        self._prunes = None not in trunks
        self._outcomes: dict[tuple[int, int], tuple[bool, int]] = {}
        self._automaton = Automaton(_expressions(self.patterns))
        exceptions = tuple(trunk for trunk in trunks if trunk is not None) if self._prunes else ()
        self.top = Cursor(self._automaton.start, 0, exceptions, 0, not self.patterns)
        """The context's root."""

    @classmethod
    def parse(cls, content: bytes, source: str) -> IgnoreRules:
        """The rules of an ignore file; `source` is its path, for messages.

        Raises LianError `ignore-syntax` for what BuildKit refuses (all lines of it, each with its number),
        `ignore-unsupported` for the few regular expressions that lian does not read, `ignore-too-large`.
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
        except TooManyPositions as error:
            raise LianError(_problem("ignore-too-large", str(error), source, None)) from error

    def decide(self, cursor: Cursor, name: str, folder: bool) -> tuple[bool, Cursor | None]:
        """Whether the entry is sent for its own sake, and the cursor below it (None: do not look below).

        A folder that is not sent for its own sake is sent all the same if something below it is.
        `name` is one path part, with bytes that are not UTF-8 as surrogates.
        """
        if cursor.settled:
            return True, cursor if folder else None
        state = self._automaton.read(cursor.state, name)
        matched, inherited = self._outcome(self._automaton.accepted(state), cursor.inherited)
        if not folder:
            return not matched, None
        depth = cursor.depth + 1
        exceptions = tuple(trunk for trunk in cursor.exceptions if len(trunk) >= depth and trunk[cursor.depth] == name)
        if matched and self._prunes and not exceptions:
            return False, None
        inside = self._automaton.read(state, "/")
        decided = not inside.positions
        if matched and decided and self._outcome(0, inherited)[0]:
            return False, None
        settled = decided and not self._outcome(0, inherited)[0]
        return not matched, Cursor(inside, inherited, exceptions, depth, settled)

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
                    _ = pattern.expression
                    patterns.append(pattern)
            except (BadLine, BadExpression) as error:
                hint = error.hint if isinstance(error, BadLine) else None
                problems.append(_problem("ignore-syntax", f"{line!r}: {error}", source, number, hint))
            except UnsupportedExpression as error:
                message = f"{line!r} uses {error}, which lian does not read"
                problems.append(_problem("ignore-unsupported", message, source, number))
    except BadLine as error:
        problems.append(_problem("ignore-syntax", str(error), source, error.line, error.hint))
    return patterns, problems


def _expressions(patterns: tuple[Pattern, ...]) -> Iterator[Expression]:
    for pattern in patterns:
        yield pattern.expression


def _problem(code: str, message: str, source: str, line: int | None, hint: str | None = None) -> Problem:
    usual = {
        "ignore-syntax": r"close [ with ], and write \[ for a bracket that is part of a name",
        "ignore-unsupported": r"write the pattern with * ? [a-z] and **, and \ only before these signs",
        "ignore-too-large": "name folders instead of single files",
    }[code]
    return Problem(code, message, source, line, hint=hint or usual)


IgnoreRules.EMPTY = IgnoreRules()
