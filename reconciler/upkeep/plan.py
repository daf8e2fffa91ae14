"""What is in the caches, and what would go: what kept revisions want, what registries hold, and the difference."""

from __future__ import annotations

from dataclasses import replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from reconciler.cache.holding import CacheList, CachePlan
from reconciler.cache.namespace import Namespace
from reconciler.cache.upkeep import Limits, Selection, Wishes, judge
from reconciler.cache.usage import CacheUsage
from reconciler.model.fleet import UNNAMED
from reconciler.model.problem import LianError, Problem
from reconciler.model.wording import meant
from reconciler.observe.kept import Kept, load_kept, unknown_wishes
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
    desired = (head, *map(checked, kept.desired))
    unknown = unknown_wishes(kept, desired)
    caches, wishes = await _look(ports, desired, selection, known=not unknown)
    verdicts = judge(caches.found, wishes, Limits(), ports.clock())
    notes = (*head.notes, *left_to(wishes.strangers))
    return CacheList(head.fleet.name, head.revision, caches, verdicts, unknown, notes)


async def plan_upkeep(ports: Reading, selection: Selection, limits: Limits, *, allow_most: bool = False) -> CachePlan:
    """The plan. Writes nothing anywhere. Raises LianError if no commit or no ref can be read."""
    head = checked(await ports.source.load())
    kept = await load_kept(ports.revisions, head.fleet.policy.prune.revisions, head.revision)
    plan = CachePlan(head.fleet.name, head.revision, notes=head.notes, refs=kept.refs)
    desired = (head, *map(checked, kept.desired))
    if unknown := unknown_wishes(kept, desired):
        return replace(plan, problems=unknown)
    caches, wishes = await _look(ports, desired, selection)
    verdicts = judge(caches.found, wishes, limits, ports.clock())
    plan = replace(plan, caches=caches, verdicts=verdicts, notes=(*head.notes, *left_to(wishes.strangers)))
    if allow_most or 2 * len(plan.going) <= plan.ours:
        return plan
    return replace(plan, problems=(_most(plan),))


async def _look(
    ports: Reading, desired: tuple[Desired, ...], selection: Selection, *, known: bool = True
) -> tuple[Caches, Wishes]:
    """The chosen caches, and what these commits, the first of which is the head, ask of them; `known` if that is
    all that is asked. Raises LianError."""
    head, *others = desired
    caches = await survey(ports, head, others, selection)
    _chosen(selection, desired, caches)
    wishes = Wishes.of(head.fleet.name, desired, known=known)
    return caches, replace(wishes, strangers=await _strangers(ports.source, head, caches))


def _chosen(selection: Selection, desired: tuple[Desired, ...], caches: Caches) -> None:
    """Raises LianError `selection-empty` for a choice that can be nothing: a typo in a cron job would never be
    noticed. What could not be read may be it."""
    if caches.unread:
        return
    names = {name for one in desired for name in one.wanted} | {cache.name for cache in caches.found}
    actors = {*desired[0].fleet.access.actors} | {c.namespace.actor for c in caches.found if c.namespace.actor}
    spaces = {Namespace(name.workspace, actor) for name in names for actor in (None, *actors)}
    for what, given, known in (
        ("artifact", selection.only, sorted(map(str, names))),
        ("namespace", selection.namespaces, sorted(map(str, spaces))),
        ("actor", selection.actors, sorted(actors)),
    ):
        for glob in given:
            if not any(fnmatchcase(one, glob) for one in known):
                hint = meant(glob, known, "`lian cache ls` shows what is there", likeness=0.4)
                raise LianError(Problem("selection-empty", f"no {what} of any cache matches {glob!r}", hint=hint))


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
