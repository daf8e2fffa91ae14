"""Which artifacts a pass is about."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.identity.ancestry import parents_of_build
from reconciler.model.globs import is_plain, matcher
from reconciler.model.problem import LianError, Problem
from reconciler.model.wording import some

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set

    from reconciler.model.desired import Desired
    from reconciler.model.name import ArtifactName


_TOLD = 5


@dataclass(frozen=True, slots=True)
class Selection:
    """Globs over `workspace/artifact`. Chosen is what matches `only` (everything, if that is empty) with all that it
    stands on, and for `dependants` with all that stands on it; without what matches `excluded` and all that stands on
    that."""

    only: tuple[str, ...] = ()
    excluded: tuple[str, ...] = ()
    dependants: bool = False
    since: str | None = None
    """A revision: of the rest, only what has changed since the commit of the pass has parted from it."""

    @property
    def is_whole(self) -> bool:
        """True if it leaves nothing out."""
        return not self.only and not self.excluded and self.since is None


def select(
    desired: Desired, selection: Selection, changed: frozenset[ArtifactName] | None = None
) -> frozenset[ArtifactName] | None:
    """The chosen artifacts; None for everything. `changed` is what has since `selection.since`. Raises LianError
    `selection-empty` for a glob that matches nothing, and where globs leave nothing."""
    if selection.is_whole:
        return None
    chosen = _matching(desired, selection.only) if selection.only else set(desired.wanted)
    if selection.dependants:
        chosen = with_dependants(desired, chosen)
    left_out = with_dependants(desired, _matching(desired, selection.excluded, "--except"))
    if chosen and not chosen - left_out and not desired.unread:
        message = f"nothing is left: {', '.join(selection.excluded)} leaves out all that is chosen"
        hint = "what stands on an artifact that is left out is left out with it"
        raise LianError((*desired.problems, Problem("selection-empty", message, "--except", hint=hint)))
    kept = chosen - left_out if changed is None else (chosen - left_out) & changed
    return with_parents(desired, kept)


def named(desired: Desired, globs: Sequence[str], flag: str | None = None) -> frozenset[ArtifactName]:
    """The artifacts that match a glob, and no others. Raises LianError `selection-empty` for one that matches nothing,
    said of the `flag` that it was given with."""
    return frozenset(_matching(desired, globs, flag))


def sole(desired: Desired, typed: str) -> ArtifactName:
    """The one artifact that is called so, with its workspace or by its own name. Raises LianError `selection-empty`,
    `artifact-ambiguous`."""
    found = sorted(name for name in desired.wanted if typed in {str(name), name.artifact})
    if not found:
        from reconciler.plan.unmatched import unnamed  # for mistakes alone

        raise LianError((*desired.problems, unnamed(desired, typed)))
    if len(found) > 1:
        message = f"{len(found)} artifacts are called {typed}: {some(found, _TOLD)}"
        raise LianError(Problem("artifact-ambiguous", message, hint="name the workspace too: WORKSPACE/ARTIFACT"))
    return found[0]


def _matching(desired: Desired, globs: Sequence[str], flag: str | None = None) -> set[ArtifactName]:
    chosen: set[ArtifactName] = set()
    names = {str(name): name for name in desired.wanted} if globs else {}
    for glob in globs:
        matches = _taken(names, glob)
        if not matches and not any(map(matcher([glob]), desired.unread)):
            from reconciler.plan.unmatched import unmatched  # for mistakes alone

            raise LianError((*desired.problems, unmatched(desired, glob, flag)))
        chosen |= matches
    return chosen


def _taken(names: Mapping[str, ArtifactName], glob: str) -> set[ArtifactName]:
    """Names as they are written are looked up: a saved plan may force thousands."""
    if is_plain(glob):
        return {names[glob]} if glob in names else set()
    takes = matcher([glob])
    return {name for text, name in names.items() if takes(text)}


def narrowed(desired: Desired, chosen: frozenset[ArtifactName]) -> Desired:
    """Only these artifacts; problems of the others are left to a whole pass, problems of no artifact stay."""
    names = {str(name) for name in chosen}
    problems = tuple(p for p in desired.problems if p.artifact is None or p.artifact in names)
    others = {n: w for n, w in desired.wanted.items() if n not in chosen}
    wanted = {n: w for n, w in desired.wanted.items() if n in chosen}
    return replace(desired, wanted=wanted, others=others, problems=problems)


def with_parents(desired: Desired, chosen: Set[ArtifactName]) -> frozenset[ArtifactName]:
    """The chosen artifacts, and all that they stand on: what their Dockerfiles use, where that is known."""
    reached, open_ = set(chosen), list(chosen)
    while open_:
        wanted = desired.wanted[open_.pop()]
        parents = wanted.artifact.parents if wanted.materials is None else parents_of_build(wanted)
        new = {p for p in parents if p in desired.wanted} - reached
        reached |= new
        open_.extend(new)
    return frozenset(reached)


def with_dependants(desired: Desired, chosen: set[ArtifactName]) -> set[ArtifactName]:
    """The chosen artifacts, and all that stands on them."""
    children: dict[ArtifactName, list[ArtifactName]] = defaultdict(list)
    for name, wanted in desired.wanted.items() if chosen else ():
        for parent in wanted.artifact.parents:
            children[parent].append(name)
    reached, open_ = set(chosen), list(chosen)
    while open_:
        new = set(children[open_.pop()]) - reached
        reached |= new
        open_.extend(new)
    return reached
