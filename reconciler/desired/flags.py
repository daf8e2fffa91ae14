"""Flags of one build, written as the directive they stand for: they are evaluated and checked as any other is, and what
is wrong is told of the flag."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.artifact import Place

if TYPE_CHECKING:
    from reconciler.model.one_build import ByFlags
    from reconciler.model.problem import Problem

PATH = "flags-of-lian-build.ncl"
"""Where the evaluator is told that it is written; no such file is read or made."""


@dataclass(frozen=True, slots=True)
class FlagsDirective:
    """`text` in Nickel; `flags` says of each of its lines where it comes from."""

    text: str
    flags: tuple[str, ...]

    @classmethod
    def of(cls, asked: ByFlags, context: str) -> FlagsDirective:
        """`context` is the context's folder as a directive has it: a path below the root of what is read."""
        lines = [
            ("--workspace", f"{{ workspace = {quoted(asked.name.workspace)}, artifacts = {{"),
            ("--image", f"{quoted(asked.name.artifact)} = {{"),
            ("--image", f"image = {quoted(str(asked.image))}, tags = [{quoted(asked.tag)}],"),
            ("--context", f"context = {{ path = {quoted(context)} }},"),
            ("--dockerfile", f"dockerfile = {quoted(asked.dockerfile)},"),
            *([("--language", f"language = {quoted(asked.language)},")] if asked.language is not None else []),
            ("--image", "} } }"),
        ]
        return cls("".join(f"{line}\n" for _, line in lines), tuple(flag for flag, _ in lines))

    def place(self, place: Place) -> Place:
        """The flag that a place in the text stands for; any other place as it is."""
        if place.file != PATH:
            return place
        inside = 0 < place.line <= len(self.flags)
        return Place(self.flags[place.line - 1] if inside else "--image")

    def told(self, problem: Problem) -> Problem:
        """The same problem, said of the flag."""
        if problem.file != PATH:
            return problem
        return replace(problem.at(self.place(Place(PATH, problem.line or 0))), line=None, column=None)


def quoted(text: str) -> str:
    """As Nickel writes a string without control characters."""
    return json.dumps(text, ensure_ascii=False).replace("%{", "\\%{")
