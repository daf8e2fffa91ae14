"""Which artifacts a pass is about: `--only` with globs over `workspace/artifact`."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Problem
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.desired import Desired
    from reconciler.model.name import ArtifactName


def select(desired: Desired, only: Sequence[str]) -> frozenset[ArtifactName] | None:
    """The artifacts that match a glob, with all they stand on; None (everything) if no glob is given.

    Raises LianError `selection-empty` for a glob that matches nothing.
    """
    if not only:
        return None
    chosen: set[ArtifactName] = set()
    for glob in only:
        matches = {name for name in desired.wanted if fnmatchcase(str(name), glob)}
        if not matches:
            raise LianError((*desired.problems, _nothing(desired, glob)))
        chosen |= matches
    return frozenset(_with_parents(desired, chosen))


def narrowed(desired: Desired, chosen: frozenset[ArtifactName]) -> Desired:
    """Only these artifacts; problems of the others are left to a whole pass, problems of no artifact stay."""
    names = {str(name) for name in chosen}
    problems = tuple(p for p in desired.problems if p.artifact is None or p.artifact in names)
    others = {n: w for n, w in desired.wanted.items() if n not in chosen}
    wanted = {n: w for n, w in desired.wanted.items() if n in chosen}
    return replace(desired, wanted=wanted, others=others, problems=problems)


def _with_parents(desired: Desired, chosen: set[ArtifactName]) -> set[ArtifactName]:
    reached, open_ = set(chosen), list(chosen)
    while open_:
        parents = desired.wanted[open_.pop()].artifact.parents
        new = {p for p in parents if p in desired.wanted} - reached
        reached |= new
        open_.extend(new)
    return reached


def _nothing(desired: Desired, glob: str) -> Problem:
    names = [str(name) for name in desired.wanted]
    otherwise = f"choose one of the {len(names)} that `lian diff --detailed` lists"
    known = {*names, *(f"{name.workspace}/*" for name in desired.wanted)} if "*" in glob else names
    hint = meant(glob, known, otherwise, likeness=0.4)
    return Problem("selection-empty", f"no artifact matches {glob!r}", hint=hint)
