"""Bake files: the document of `buildx bake --print` -> builds. Groups, matrices and inheritance are resolved in it."""

from __future__ import annotations

import re
from bisect import bisect_right
from typing import TYPE_CHECKING, Any

from reconciler.adopt.bake_target import TargetReader, linked_of
from reconciler.adopt.build import Found
from reconciler.adopt.remark import Remark, Weight
from reconciler.adopt.variables import told
from reconciler.model.artifact import Place
from reconciler.model.problem import LianError, Next, Problem
from reconciler.plan.secret_looks import looks_secret

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HCL, JSON = "docker-bake.hcl", "docker-bake.json"
FILES = (HCL, JSON)
OVERRIDES = ("docker-bake.override.json", "docker-bake.override.hcl")
_BLOCK = re.compile(r'^[ \t]*(?P<kind>target|variable)[ \t]+"?(?P<name>[^"\s{]+)"?[ \t]*\{', re.MULTILINE)
_FIELD = re.compile(r'"(?P<name>[^"\\]+)"[ \t\r\n]*:[ \t\r\n]*\{')


def read_printed(document: Any, file: str, text: str, folder: str, variables: Mapping[str, str]) -> Found:
    """The images of a printed bake document; `text` is the bake file itself, for its lines, `folder` names all of it,
    `variables` are those whose values were put in, as far as known.

    Raises LianError `bake-printed` for a document that is none.
    """
    targets = document.get("target") if isinstance(document, dict) else None
    if not isinstance(targets, dict) or not all(isinstance(each, dict) for each in targets.values()):
        problem = Problem("bake-printed", f"what buildx prints of {file} cannot be read", file, next=Next.BUG)
        raise LianError(problem)
    linked = {each for target in targets.values() for each in linked_of(target)}
    places = Places(file, text)
    builds = tuple(
        TargetReader(file, name, places.of("target", name), name in linked).read(target)
        for name, target in targets.items()
    )
    return Found("bake", file, folder, builds, tuple(_around(places, variables)))


class Places:
    """Where a bake file's blocks begin, looked up once for all of them: blocks of HCL, or fields of JSON."""

    def __init__(self, file: str, text: str) -> None:
        self._file = file
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self._blocks: dict[tuple[str, str], int] = {}
        self._fields: dict[str, int] = {}
        for found in _BLOCK.finditer(text):
            self._blocks.setdefault((found["kind"], found["name"]), found.start("kind"))
        for found in _FIELD.finditer(text):
            self._fields.setdefault(found["name"], found.start())

    def of(self, kind: str, name: str) -> Place:
        """Where a block begins; the file alone where it cannot be told."""
        at = self._blocks.get((kind, name), self._fields.get(name))
        if at is None:
            return Place(self._file)
        line = bisect_right(self._lines, at)
        return Place(self._file, line, at - self._lines[line - 1] + 1)

    def variables(self) -> list[str]:
        """The names of HCL's."""
        return [name for kind, name in self._blocks if kind == "variable"]


def _around(places: Places, variables: Mapping[str, str]) -> Iterator[Remark]:
    """What is to be said of the file as a whole."""
    for name in dict.fromkeys((*variables, *places.variables())):
        value = variables.get(name)
        as_default = told(value) if value is not None and not looks_secret(name, value) else ""
        message = f"the variable {name} is written as its default{as_default}"
        yield Remark(Weight.SETTLED, "variable-settled", message, places.of("variable", name), f"variable.{name}")
