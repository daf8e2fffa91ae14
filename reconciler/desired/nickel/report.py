"""Says everything that is wrong with one bad file, each thing at its place.

Nickel stops at the first violation of a contract. So a file that violates one is evaluated again against packaged files
whose contracts accept anything (driver.opened), and the JSON Schema twin lists what is wrong with the value; the places
are looked up in the text. Where that finds nothing, Nickel's own words stand.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.desired.nickel import diagnostics, driver
from reconciler.desired.nickel.locate import nearest
from reconciler.desired.nickel.pool import Reply, Status
from reconciler.model.problem import Next, Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from reconciler.desired.nickel.diagnostics import Diagnostic, Spot
    from reconciler.desired.nickel.settings import Limits
    from reconciler.desired.nickel.twin import Twin

LASTING = {Status.ERROR, Status.OUTPUT, Status.DEPTH, Status.OK}
"""What would come out the same on any machine."""

_CONTRACT = ("contract broken", "missing definition for", "extra field")
SYNTAX = re.compile(r"unexpected (token|end of file)|superfluous|unmatched|invalid (escape|ASCII escape)")
"""How headlines of syntax errors begin; others are told apart by parsing the file alone."""
_STATIC_EVAL = re.compile(r"unbound|incompatible|\btypes?\b|\brows?\b")
_PANIC = re.compile(r"panicked at [^\n]*:\n([^\n]+)")
_LEAF = re.compile(r"`(/[^`]*)`")


@dataclass(frozen=True, slots=True)
class Reporter:
    """What a report needs: `ask(expression, imports, keys)` evaluates, `ours` maps a place's file to a repo path,
    `plain` takes scratch paths out of a text, `text` reads a file of the commit by its path."""

    ask: Callable[[str, Sequence[str], Sequence[str] | None], Awaitable[Reply]]
    ours: Callable[[str], str | None]
    plain: Callable[[str], str]
    text: Callable[[str], str]
    twin: Twin
    limits: Limits

    async def all(self, replies: Mapping[str, Reply]) -> Mapping[str, tuple[Problem, ...]]:
        """The problems of each file that, alone, ended in this reply. Never empty for any."""
        violators = [path for path, reply in replies.items() if _violates(reply)]
        values = await self._values(violators) if len(violators) > 1 else {}
        return {path: await self._problems(path, reply, values.get(path)) for path, reply in replies.items()}

    async def _problems(self, path: str, reply: Reply, value: bytes | None) -> tuple[Problem, ...]:
        """The problems of one file; `value` is what it is without contracts, if that is known."""
        if reply.status is not Status.ERROR:
            return (overrun(path, reply, self.limits),)
        found = diagnostics.read(reply.error)
        if not found:
            cause = self.plain(reply.error) or "Nickel gave no reason"
            return (Problem("nickel-eval", "Nickel refuses the file", path, cause=cause),)
        first = found[0]
        if first.headline.startswith(_CONTRACT):
            value = value or (await self._values([path])).get(path)
            return self._violations(path, value) or (self._problem("nickel-contract", path, first),)
        if first.headline.startswith("import of "):
            return tuple(self._problem("nickel-import", path, each) for each in found)
        if SYNTAX.match(first.headline):
            return tuple(self._problem("nickel-syntax", path, each) for each in found)
        static = await self.ask(driver.parsed(path), (f"../{driver.PACKAGED}",), None)
        code = "nickel-eval"
        if static.status is Status.ERROR:
            found = diagnostics.read(static.error) or found
            code = "nickel-eval" if _STATIC_EVAL.search(found[0].headline) else "nickel-syntax"
        return tuple(self._problem(code, path, each) for each in found)

    async def _values(self, paths: Sequence[str]) -> dict[str, bytes]:
        """The files' values without contracts; none if not all of them have one."""
        imports = (f"../{driver.OPEN}", f"../{driver.PACKAGED}")
        reply = await self.ask(driver.unchecked(paths), imports, [driver.key(path) for path in paths])
        return {path: text for path, text in zip(paths, reply.texts, strict=False) if text is not None}

    def _violations(self, path: str, value: bytes | None) -> tuple[Problem, ...]:
        """What the twin finds in the value; empty if there is no value or it finds nothing."""
        if value is None:
            return ()
        text = self.text(path)
        problems = []
        for finding in self.twin.findings(json.loads(value)):
            line, column = nearest(text, finding.path) or (1, 1)
            problems.append(Problem("nickel-contract", finding.message, path, line, column, hint=finding.hint))
        return tuple(problems)

    def _problem(self, code: str, path: str, found: Diagnostic) -> Problem:
        """One diagnostic in lian's form."""
        headline = _LEAF.sub(lambda m: "the file" if m[1] == driver.key(path) else m[0], self.plain(found.headline))
        message = headline.rstrip(".")
        if found.detail:
            message += ": " + " ".join(self.plain(found.detail).split("\n"))
        hints = [self.plain(note)[6:] for note in found.notes if note.startswith("hint: ")]
        if code == "nickel-syntax" and not hints:
            hints = ["look for a comma, a bracket or a quote that is missing before this place"]
        others = [self.plain(note) for note in found.notes if not note.startswith("hint: ")]
        file, spot = self._place(path, found.spots)
        return Problem(
            code, message.rstrip("."), file, spot.line if spot else None, spot.column if spot else None,
            cause="\n".join(others) or None, hint="\n".join(hints) or None,
        )  # fmt: skip

    def _place(self, path: str, spots: Sequence[Spot]) -> tuple[str, Spot | None]:
        """The place to show: in the file itself if there is one, else in a file of the repo that it imports."""
        placed = [(file, spot) for spot in spots if (file := self.ours(spot.file))]
        placed.sort(key=lambda each: (not each[1].primary, each[0] != path))
        own = [each for each in placed if each[0] == path]
        foreign_fault = placed and placed[0][1].primary and placed[0][0] != path
        if own and not foreign_fault:
            return own[0]
        return placed[0] if placed else (path, None)


def _violates(reply: Reply) -> bool:
    found = diagnostics.read(reply.error) if reply.status is Status.ERROR else ()
    return bool(found) and found[0].headline.startswith(_CONTRACT)


def overrun(path: str, reply: Reply, limits: Limits) -> Problem:
    """A file that did not end well, for reasons of its own or of the machine."""
    if reply.status is Status.TIME:
        message = f"evaluating the file took more than {limits.seconds:g} seconds and was stopped"
        hint = "look for a value or a function that has no end"
        return Problem("nickel-limit", message, path, hint=hint, next=Next.RETRY)
    if reply.status is Status.MEMORY:
        message = f"evaluating the file took more than {limits.memory >> 20} MiB of memory and was stopped"
        hint = "look for a value that contains itself, such as { a = { b = a } }"
        return Problem("nickel-limit", message, path, hint=hint, next=Next.RETRY)
    if reply.status is Status.OUTPUT:
        message = f"the file's value is larger than {limits.output} bytes of JSON"
        return Problem("nickel-limit", message, path, hint="split the file")
    if reply.status is Status.DEPTH:
        return Problem("nickel-limit", "the file's value is nested too deeply", path)
    panic = _PANIC.search(reply.error)
    cause = panic[1] if panic else reply.error.partition("\n")[0]
    return Problem(
        "nickel-crash", "the Nickel evaluator crashed on the file", path, cause=cause or None,
        hint="simplify the file: very deep or endless values crash Nickel", next=Next.RETRY,
    )  # fmt: skip
