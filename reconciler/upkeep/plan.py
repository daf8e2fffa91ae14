"""What is in the caches, and what would go: what kept revisions want, what registries hold, and the difference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from reconciler.cache.holding import CacheList, CachePlan
from reconciler.cache.namespace import Namespace
from reconciler.cache.upkeep import Limits, Selection, Wishes, judge
from reconciler.cache.usage import CacheUsage
from reconciler.model.fleet import UNNAMED
from reconciler.model.problem import LianError, Problem
from reconciler.observe.kept import Kept, load_kept, unread
from reconciler.plan.graph import checked
from reconciler.plan.orphans import left_to
from reconciler.upkeep.survey import survey

if TYPE_CHECKING:
    from reconciler.cache.holding import Caches
    from reconciler.model.desired import Desired
    from reconciler.ports.bundle import Reading
    from reconciler.ports.source import Source

MOST = "prune-most"
"""Code of the problem."""


async def usage_of(ports: Reading, selection: Selection) -> CacheUsage:
    """How much the chosen caches take. Raises LianError if the commit cannot be read."""
    head = checked(await ports.source.load())
    caches = await survey(ports, head, (), selection)
    _chosen(selection, (head,), caches)
    return CacheUsage.of(head.fleet.name, head.revision, caches, head.notes)


async def list_caches(ports: Reading, selection: Selection) -> CacheList:
    """The chosen caches, and how each stands. What other revisions want need not be known: then it is said so. Raises
    LianError if the commit cannot be read."""
    head = checked(await ports.source.load())
    try:
        kept = await load_kept(ports.revisions, head.fleet.policy.prune.revisions, head.revision)
    except LianError as error:
        kept = Kept({}, problems=error.problems)
    looked = await _look(ports, head, kept, selection)
    verdicts = judge(looked.caches.found, looked.wishes, Limits(), ports.clock())
    notes = (*head.notes, *left_to(looked.wishes.strangers))
    return CacheList(head.fleet.name, head.revision, looked.caches, verdicts, looked.problems, notes)


async def plan_upkeep(ports: Reading, selection: Selection, limits: Limits, *, allow_most: bool = False) -> CachePlan:
    """The plan. Writes nothing anywhere. Raises LianError if no commit or no ref can be read."""
    head = checked(await ports.source.load())
    kept = await load_kept(ports.revisions, head.fleet.policy.prune.revisions, head.revision)
    plan = CachePlan(head.fleet.name, head.revision, notes=head.notes, refs=kept.refs)
    if problems := _unread((head, *map(checked, kept.desired)), kept):
        return replace(plan, problems=problems)
    looked = await _look(ports, head, kept, selection)
    verdicts = judge(looked.caches.found, looked.wishes, limits, ports.clock())
    notes = (*head.notes, *left_to(looked.wishes.strangers))
    plan = replace(plan, caches=looked.caches, verdicts=verdicts, notes=notes)
    if allow_most or 2 * len(plan.going) <= plan.ours:
        return plan
    return replace(plan, problems=(_most(plan),))


@dataclass(frozen=True, slots=True)
class _Looked:
    caches: Caches
    wishes: Wishes
    problems: tuple[Problem, ...]
    """Why not all wishes are known."""


async def _look(ports: Reading, head: Desired, kept: Kept, selection: Selection) -> _Looked:
    others = tuple(map(checked, kept.desired))
    problems = _unread((head, *others), kept)
    wishes = Wishes.of(head.fleet.name, (head, *others), known=not problems)
    caches = await survey(ports, head, others, selection)
    _chosen(selection, (head, *others), caches)
    return _Looked(caches, replace(wishes, strangers=await _strangers(ports.source, head, caches)), problems)


def _chosen(selection: Selection, desired: tuple[Desired, ...], caches: Caches) -> None:
    """Raises LianError `selection-empty` for what was chosen and can be nothing: a typo in a cron job would never be
    noticed."""
    if caches.found or caches.unread:
        return
    names = sorted({name for one in desired for name in one.wanted})
    actors = desired[0].fleet.access.actors
    spaces = {str(Namespace(name.workspace, actor)) for name in names for actor in (None, *actors)}
    for what, given, known in (
        ("artifact", selection.only, [str(name) for name in names]),
        ("namespace", selection.namespaces, sorted(spaces)),
        ("actor", selection.actors, sorted(actors)),
    ):
        for glob in given:
            if not any(fnmatchcase(one, glob) for one in known):
                near = get_close_matches(glob, known, n=1, cutoff=0.4)
                hint = f"did you mean {near[0]}?" if near else "`lian cache ls` shows what is there"
                raise LianError(Problem("selection-empty", f"no {what} of any cache matches {glob!r}", hint=hint))


def _unread(desired: tuple[Desired, ...], kept: Kept) -> tuple[Problem, ...]:
    """Why what kept revisions want is not known completely."""
    problems = [*kept.problems]
    for one in desired:
        problems += unread(kept.names(one.revision), one.revision, one.problems)
    return tuple(problems)


async def _strangers(source: Source, head: Desired, caches: Caches) -> frozenset[str]:
    """Commits of caches that the desired repo does not know, if its fleet has no name of its own (ADR 049)."""
    if head.fleet.name != UNNAMED:
        return frozenset()
    named = {c.content.revision for c in caches.found if c.content.fleet == UNNAMED and c.content.revision is not None}
    return frozenset([r for r in sorted(named - {head.revision}) if await source.descends(r) is None])


def _most(plan: CachePlan) -> Problem:
    message = f"{len(plan.going):,} of the {plan.ours:,} caches that this is about would go at once"
    cause = "so many look like a wrong commit, or like limits that keep too little"
    return Problem(MOST, message, cause=cause, hint="look through the plan; if it is right, give --allow-most")
