"""Bake files: the document of `buildx bake --print` -> builds. Groups, matrices and inheritance are resolved in it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from reconciler.adopt.bake_target import LINK, TargetReader
from reconciler.adopt.build import Found
from reconciler.adopt.remark import Remark, Weight
from reconciler.adopt.secrecy import names_secret
from reconciler.model.artifact import Place
from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

HCL, JSON = "docker-bake.hcl", "docker-bake.json"
FILES = (HCL, JSON)
OVERRIDES = ("docker-bake.override.json", "docker-bake.override.hcl")


def read_printed(document: Any, file: str, text: str, folder: str, variables: Mapping[str, str]) -> Found:
    """The images of a printed bake document; `text` is the bake file itself, for its lines, `folder` names all of it,
    `variables` are those whose values were put in, as far as known.

    Raises LianError `bake-printed` for a document that is none.
    """
    targets = document.get("target") if isinstance(document, dict) else None
    if not isinstance(targets, dict) or not all(isinstance(each, dict) for each in targets.values()):
        problem = Problem("bake-printed", f"what buildx prints of {file} cannot be read", file, next=Next.BUG)
        raise LianError(problem)
    linked = {each for target in targets.values() for each in _linked(target)}
    builds = tuple(
        TargetReader(file, name, place_of(text, file, "target", name), name in linked).read(target)
        for name, target in targets.items()
    )
    return Found("bake", file, folder, builds, tuple(_around(file, text, variables)))


def _linked(target: Mapping[str, Any]) -> Iterator[str]:
    """The targets that it stands on."""
    contexts = target.get("contexts")
    for each in (contexts if isinstance(contexts, dict) else {}).values():
        if isinstance(each, str) and each.startswith(LINK):
            yield each.removeprefix(LINK)


def place_of(text: str, file: str, kind: str, name: str) -> Place:
    """Where a block begins in HCL, or its field in JSON; the file alone where it cannot be told."""
    quoted = re.escape(name)
    for form in (rf'^[ \t]*{kind}[ \t]+"?{quoted}"?[ \t]*\{{', rf'"{quoted}"[ \t\r\n]*:[ \t\r\n]*\{{'):
        found = re.search(form, text, re.MULTILINE)
        if found:
            start = found.start() + len(found[0]) - len(found[0].lstrip())
            before = text.rfind("\n", 0, start)
            return Place(file, text.count("\n", 0, start) + 1, start - before)
    return Place(file)


def _around(file: str, text: str, variables: Mapping[str, str]) -> Iterator[Remark]:
    """What is to be said of the file as a whole."""
    for name in dict.fromkeys((*variables, *re.findall(r'^[ \t]*variable[ \t]+"([^"]+)"', text, re.MULTILINE))):
        value = variables.get(name)
        as_default = f": {value}" if value is not None and not names_secret(name) else ""
        message = f"the variable {name} is written as its default{as_default}"
        place = place_of(text, file, "variable", name)
        yield Remark(Weight.SETTLED, "variable-settled", message, place, f"variable.{name}")
