"""`lian registry status`: what is in the registries of a fleet, whose it is, how much and how old, and what drifts."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.audit.chosen import chosen
from reconciler.audit.holdings import Holding, RegistryStatus, Shelf
from reconciler.audit.survey import Surveyor, Wanted
from reconciler.cache.home import is_cache
from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.plan.select import Selection
from reconciler.ports.abilities import Able
from reconciler.reconcile import Options as PassOptions
from reconciler.reconcile import load, plan_once

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.plan import Change, Plan
    from reconciler.model.problem import Problem
    from reconciler.ports.bundle import Surveying

    Listed = Mapping[Repository, Mapping[str, Digest] | LianError]
    """Repository -> its tags, or why they could not be listed."""

REPOSITORIES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Options:
    """`only` are globs over `workspace/artifact`; empty means all, and all that the registries list."""

    only: tuple[str, ...] = ()


async def status(ports: Surveying, options: Options) -> RegistryStatus:
    """Looks at the repositories of the chosen artifacts; without a choice at all that the fleet's registries list.
    Raises LianError `selection-empty`, or if no plan could be made. What of a registry cannot be read is told."""
    work = await plan_once(ports, PassOptions(Selection(options.only)))
    desired = await load(ports) if options.only else work.resolution.desired  # others may want tags of the same place
    changes = _changes(work.plan, options.only)
    hosts = {repository.host for repository in changes}
    hosts |= set() if options.only else set(desired.registries)
    surveyor = Surveyor(ports.registry, desired.fleet.name)
    describing = _Describing(ports, desired, surveyor, changes, _wanted(desired), whole=not options.only)
    shelves = await asyncio.gather(*(describing.shelf(host) for host in sorted(hosts)))
    return RegistryStatus(work.plan.revision, ports.clock(), tuple(shelves), work.plan.problems, desired.notes)


def _changes(plan: Plan, only: Collection[str]) -> dict[Repository, list[Change]]:
    found: dict[Repository, list[Change]] = defaultdict(list)
    for change in sorted(plan.whole, key=lambda change: change.artifact):
        if chosen(change.artifact, only):
            found[change.image].append(change)
    return found


def _wanted(desired: Desired) -> dict[Repository, Wanted]:
    found: dict[Repository, list[Artifact]] = defaultdict(list)
    for wanted in desired.wanted.values():
        found[wanted.artifact.image].append(wanted.artifact)
    return {
        repository: Wanted(frozenset(tag for a in here for tag in a.tags), frozenset(str(a.name) for a in here))
        for repository, here in found.items()
    }


@dataclass(frozen=True, slots=True)
class _Describing:
    """`changes` are the plan's, by repository; `whole`: also what the registries list beside these."""

    ports: Surveying
    desired: Desired
    surveyor: Surveyor
    changes: Mapping[Repository, Sequence[Change]]
    wanted: Mapping[Repository, Wanted]
    whole: bool

    async def shelf(self, host: str) -> Shelf:
        """One registry. If it does not even answer when asked for its catalogue, nothing else is asked of it."""
        settings = self.desired.registries.get(host)
        plain = Shelf(host, settings.provider if settings else None, None, Able())
        wanted = sorted(repository for repository in self.changes if repository.host == host)
        catalog, listed, problems = await self._catalogue(host)
        caches = frozenset(one for one in listed if is_cache(self.desired, one)) - frozenset(wanted)
        repositories = sorted({*wanted, *listed} - caches)
        if problems:
            unread = tuple(self._unread(repository, problems) for repository in repositories)
            return replace(plain, holdings=unread, problems=problems)
        tags = await self._tags(repositories)
        there = [r for r, listed in tags.items() if listed and not isinstance(listed, LianError)]
        able, unable = await self._able([*there, *repositories])
        holdings = await self._holdings(tags)
        return replace(plain, catalog=catalog, able=able, holdings=holdings, problems=unable, caches=len(caches))

    async def _catalogue(self, host: str) -> tuple[bool | None, tuple[Repository, ...], tuple[Problem, ...]]:
        try:
            paths = await self.ports.inventory.repositories(host)
        except LianError as error:
            if error.problems[0].code == "catalog-unsupported":
                return False, (), ()
            return None, (), error.problems
        return True, tuple(Repository(host, path) for path in paths) if self.whole else (), ()

    async def _able(self, repositories: Sequence[Repository]) -> tuple[Able, tuple[Problem, ...]]:
        if not repositories:
            return Able(), ()
        try:
            return await self.ports.abilities.of(repositories[0]), ()
        except LianError as error:
            return Able(), error.problems

    async def _holdings(self, tags: Listed) -> tuple[Holding, ...]:
        gate = asyncio.Semaphore(REPOSITORIES_AT_ONCE)

        async def one(repository: Repository) -> Holding:
            found = tags[repository]
            if isinstance(found, LianError):
                return self._unread(repository, found.problems)
            async with gate:
                holding = await self.surveyor.survey(repository, found, self.wanted.get(repository, Wanted()))
            return replace(holding, changes=tuple(self.changes.get(repository, ())))

        return tuple(await asyncio.gather(*(one(repository) for repository in tags)))

    async def _tags(self, repositories: Sequence[Repository]) -> Listed:
        """In bulk; where that fails for one, each for itself."""
        try:
            listed = await self.ports.inventory.all_tags(repositories)
            return {repository: listed[repository] for repository in repositories}
        except LianError:
            gate = asyncio.Semaphore(REPOSITORIES_AT_ONCE)

            async def one(repository: Repository) -> Mapping[str, Digest] | LianError:
                async with gate:
                    try:
                        return await self.ports.inventory.tags_of(repository)
                    except LianError as error:
                        return error

            answers = await asyncio.gather(*(one(repository) for repository in repositories))
            return dict(zip(repositories, answers, strict=True))

    def _unread(self, repository: Repository, problems: tuple[Problem, ...]) -> Holding:
        return Holding(repository, problems=problems, changes=tuple(self.changes.get(repository, ())))
