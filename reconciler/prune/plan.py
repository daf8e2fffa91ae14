"""What would be pruned: what kept revisions want, what the registries hold, and the difference."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from reconciler.cache.home import is_cache
from reconciler.finishing import all_of
from reconciler.identity.held import Held
from reconciler.identity.resolve import Resolution
from reconciler.model.fleet import UNNAMED
from reconciler.model.observed import ABSENT, Found, Observed, Questions, Unknown
from reconciler.model.problem import LianError, Problem
from reconciler.model.removal import KeptRevision, PrunePlan, Removal
from reconciler.model.stock import CONTENT_TAG, of_lian
from reconciler.observe.ask import ask
from reconciler.observe.kept import load_kept, unknown_wishes, unread
from reconciler.observe.stock import Looker, catalogue, names_of, tags_in, witnessed
from reconciler.plan.graph import checked
from reconciler.plan.orphans import left_to
from reconciler.plan.reachability import (
    Rules,
    Wants,
    ages_matter,
    attached,
    collect,
    in_question,
    judge,
    staying,
    untouched,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Reference, Repository
    from reconciler.ports.bundle import Removing
    from reconciler.ports.source import Source

AT_ONCE = 4
"""Repositories that are looked at in full at a time."""


@dataclass(frozen=True, slots=True)
class PruneOptions:
    """What a person chose. `only` are globs over repositories, `in_use` tells digests that stay whatever else is said;
    it is asked once all commits are read."""

    only: tuple[str, ...] = ()
    in_use: Callable[[], Awaitable[frozenset[Digest]]] | None = None
    allow_most: bool = False


@dataclass(slots=True)
class _Shelves:
    """The tags of all repositories that are looked at, and why those of others could not be had."""

    tags: dict[Repository, Mapping[str, Digest]] = field(default_factory=dict)
    problems: dict[Repository, tuple[Problem, ...]] = field(default_factory=dict)

    def head(self, reference: Reference) -> Sighting | None:
        """What a tag names, None where nobody looked. A digest is there if it was ever asked for: only tags are."""
        if reference.repository in self.problems:
            return Unknown(self.problems[reference.repository][0])
        tags = self.tags.get(reference.repository)
        if tags is None or reference.digest is not None:
            return None
        digest = tags.get(reference.name)
        return Found(digest) if digest else ABSENT


async def plan_prune(ports: Removing, options: PruneOptions) -> PrunePlan:
    """The plan. Writes nothing anywhere. Raises LianError if no commit can be read, and as `options.in_use` does."""
    head = checked(await ports.source.load())
    policy = head.fleet.policy.prune
    kept = await load_kept(ports.revisions, policy.revisions, head.revision)
    in_use: frozenset[Digest] = await options.in_use() if options.in_use else frozenset()
    desired = (head, *(checked(other) for other in kept.desired))
    revisions = tuple(KeptRevision(one.revision, kept.names(one.revision)) for one in desired)
    plan = PrunePlan(head.fleet.name, head.revision, revisions, refs=kept.refs, notes=head.notes)
    if unknown := unknown_wishes(kept, desired):
        return replace(plan, problems=unknown)
    shelves, notes = await _shelves(ports, head, desired)
    wants: dict[Repository, Wants] = {}
    problems: list[Problem] = []
    for one in desired:
        problems += await _collect(ports, one, shelves, wants, kept.names(one.revision))
    plan = replace(plan, notes=(*plan.notes, *notes), problems=tuple(problems))
    if problems:
        return plan
    rules = Rules(head.fleet.name, policy, ports.clock(), in_use)
    looker = Looker(ports.registry, rules.fleet, _known(ports.source, head))
    plan = replace(plan, removals=await _judged(looker, shelves, wants, rules))
    return _narrowed(replace(plan, notes=(*plan.notes, *left_to(looker.strangers))), options)


def _known(source: Source, head: Desired) -> Callable[[str], Awaitable[bool]] | None:
    """Whether a commit is the desired repo's; None where the fleet's own name says whose an image is (ADR 049)."""
    if head.fleet.name != UNNAMED:
        return None
    answers = {head.revision: True}

    async def known(revision: str) -> bool:
        if revision not in answers:
            answers[revision] = await source.descends(revision) is not None
        return answers[revision]

    return known


def _narrowed(plan: PrunePlan, options: PruneOptions) -> PrunePlan:
    """Only the chosen repositories; of all that the fleet has, not most at once unless that is what is wanted."""
    chosen = tuple(removal for removal in plan.removals if _is_chosen(removal.repository, options.only))
    if options.only and not chosen:
        hint = "give a glob over repositories of this fleet, such as 'shop/*'"
        raise LianError(Problem("selection-empty", f"no repository matches {', '.join(options.only)}", hint=hint))
    elsewhere = plan.ours - sum(removal.ours for removal in chosen)
    narrowed = replace(plan, removals=chosen, elsewhere=elsewhere)
    if options.allow_most or 2 * narrowed.images <= narrowed.ours:
        return narrowed
    message = f"{narrowed.images:,} of the {narrowed.ours:,} images of this fleet would go at once"
    cause = "so many look like a wrong commit, or like settings that keep too little"
    hint = "look through the plan; if it is right, give --allow-most"
    return replace(narrowed, problems=(Problem("prune-most", message, cause=cause, hint=hint),))


def _is_chosen(repository: Repository, only: Sequence[str]) -> bool:
    names = (repository.path, str(repository))
    return not only or any(fnmatchcase(name, glob) for name in names for glob in only)


# -- what the registries hold -----------------------------------------------------------------------------------------


async def _shelves(ports: Removing, head: Desired, desired: Iterable[Desired]) -> tuple[_Shelves, tuple[str, ...]]:
    """The repositories of the fleet's registries that kept revisions want or that lian has marked, with their tags; and
    what a person should know of registries that do not tell what they hold."""
    wanted = {w.artifact.image for one in desired for w in one.wanted.values()}
    shelves, notes = _Shelves(), []
    for host in sorted(head.registries):
        here = {repository for repository in wanted if repository.host == host}
        try:
            found = await catalogue(ports.inventory, [host])
            if host in found.silent:
                notes.append(f"{host} does not list its repositories: only those that a kept revision wants are pruned")
            others = [r for r in found.repositories if r not in wanted and not is_cache(head, r)]
            here |= await _marked(ports, head.fleet.name, others)
        except LianError as error:
            shelves.problems |= dict.fromkeys(here, error.problems)
            continue
        tags, problems = await tags_in(ports.inventory, sorted(here))
        shelves.tags |= tags
        shelves.problems |= problems
    return shelves, tuple(notes)


async def _marked(ports: Removing, fleet: str, others: Collection[Repository]) -> set[Repository]:
    """Of repositories that nobody wants, those with a document of lian's or a content tag. Raises LianError."""
    found = set(await witnessed(ports.registry, fleet, others))
    names = await names_of(ports.inventory, [repository for repository in others if repository not in found])
    return found | {r for r, tags in names.items() if any(CONTENT_TAG.fullmatch(tag) or of_lian(tag) for tag in tags)}


# -- what is wanted ---------------------------------------------------------------------------------------------------


async def _collect(
    ports: Removing, desired: Desired, shelves: _Shelves, wants: dict[Repository, Wants], refs: Sequence[str]
) -> tuple[Problem, ...]:
    """Add what one revision wants; the problems of what of it cannot be known."""
    resolution, observed = Resolution(desired, ports.clock()), Observed()
    while asked := resolution.still_needed(observed).heads:
        known = {reference: shelves.head(reference) for reference in asked}
        observed.heads.update({reference: head for reference, head in known.items() if head is not None})
        if rest := frozenset(reference for reference, head in known.items() if head is None):
            observed.take(await ask(Questions(heads=rest), ports.registry))
    collect(wants, desired, resolution.identities)
    held = (identity for identity in resolution.identities.values() if isinstance(identity, Held))
    return unread(refs, desired.revision, (problem for identity in held for problem in identity.problems))


# -- the difference ---------------------------------------------------------------------------------------------------


async def _judged(
    looker: Looker, shelves: _Shelves, wants: Mapping[Repository, Wants], rules: Rules
) -> tuple[Removal, ...]:
    """One removal for each repository, sorted; one that cannot be read holds itself."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(repository: Repository) -> Removal:
        async with gate:
            try:
                return await _judge(looker, repository, shelves.tags[repository], wants.get(repository, Wants()), rules)
            except LianError as error:
                return Removal(repository, problems=error.problems)

    removals = list(await all_of(one(repository) for repository in shelves.tags))
    removals += [Removal(repository, problems=problems) for repository, problems in shelves.problems.items()]
    return tuple(sorted(removals, key=lambda removal: removal.repository))


async def _judge(
    looker: Looker, repository: Repository, tags: Mapping[str, Digest], wants: Wants, rules: Rules
) -> Removal:
    stock = await looker.documents(repository, tags)
    if not in_question(stock, wants, rules):
        return untouched(stock, wants, rules)
    stay = staying(stock, wants, rules)
    stock = await looker.in_full(stock, stay)
    if ages_matter(stock, wants, rules):
        stock = await looker.with_records(stock, stay)
    removal = judge(stock, wants, rules)
    going = [digest for image in removal.images for digest in (image.digest, *image.parts)]
    return attached(removal, await looker.with_referrers(stock, [*going, *removal.strays]))
