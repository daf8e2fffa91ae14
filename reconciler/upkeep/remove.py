"""Carrying out an upkeep's plan, after a look whether it is still right (ADR 056).

Unlike an image, a cache that is lost costs time and nothing else: so nothing is announced. What is about to go is
looked at once more, and where anything was written meanwhile, all of that artifact's for that platform stays.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.apply.prune import deletes
from reconciler.cache.holding import CacheEnd, CacheStatus, slot_of
from reconciler.finishing import all_of
from reconciler.model.problem import LianError
from reconciler.observe.kept import unmoved

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from reconciler.cache.holding import CachePlan, FoundCache
    from reconciler.model.digest import Digest
    from reconciler.model.problem import Problem
    from reconciler.model.reference import Repository
    from reconciler.ports.bundle import Removing

AT_ONCE = 8
"""Repositories that are removed from at a time."""


async def carry_out(
    ports: Removing, plan: CachePlan, told: Callable[[CacheEnd], None] = lambda end: None
) -> tuple[CacheEnd, ...]:
    """What became of each repository that something goes from; `told` hears of each as it ends.

    Raises LianError, before anything is touched, if the plan has problems or the desired repo has moved since it was
    made (`revisions-moved`).
    """
    if plan.problems:
        raise LianError(plan.problems)
    await unmoved(ports.source, ports.revisions, plan.revision, plan.refs)
    seen: dict[Repository, dict[str, Digest]] = defaultdict(dict)
    for verdict in plan.verdicts:
        seen[verdict.cache.repository][verdict.cache.tag] = verdict.cache.digest
    going = _going(plan)
    named = _named(plan, going.keys())
    works = [
        _Work(ports, repository, groups, seen[repository], named[repository]) for repository, groups in going.items()
    ]
    refusals = await _refusals(ports, works)
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(work: _Work) -> CacheEnd:
        refusal = refusals.get(work.repository.host)
        if refusal is not None:
            end = CacheEnd(work.repository, CacheStatus.FAILED, problems=refusal.problems)
        else:
            async with gate:
                end = await work.run()
        told(end)
        return end

    return tuple(await all_of(one(work) for work in works))


def _going(plan: CachePlan) -> dict[Repository, list[list[FoundCache]]]:
    """By repository, what goes or stays together."""
    found: dict[Repository, dict[str, list[FoundCache]]] = defaultdict(lambda: defaultdict(list))
    for verdict in plan.going:
        found[verdict.cache.repository][verdict.cache.group].append(verdict.cache)
    return {repository: list(groups.values()) for repository, groups in found.items()}


def _named(plan: CachePlan, repositories: Collection[Repository]) -> dict[Repository, set[Digest]]:
    """By repository, what a cache that stays names beside itself: an index names manifests."""
    found: dict[Repository, set[Digest]] = {repository: set() for repository in repositories}
    for verdict in plan.verdicts:
        cache = verdict.cache
        if cache.repository in found and not verdict.fate.goes:
            found[cache.repository] |= cache.content.blobs.keys() - {cache.digest}
    return found


async def _refusals(ports: Removing, works: Iterable[_Work]) -> Mapping[str, LianError]:
    """Why nothing can be deleted on a host, if that is so: found out once, before anything is touched."""
    first: dict[str, Repository] = {}
    for work in works:
        first.setdefault(work.repository.host, work.repository)
    refusals: dict[str, LianError] = {}
    for host, repository in first.items():
        try:
            await deletes(ports.remover, repository)
        except LianError as error:
            if error.problems[0].code != "registry-denied":  # an account may have rights in some repositories alone
                refusals[host] = error
    return refusals


@dataclass(slots=True)
class _Work:
    """One repository. `seen` are all its tags when this was decided."""

    ports: Removing
    repository: Repository
    groups: Sequence[Sequence[FoundCache]]
    seen: Mapping[str, Digest]
    named: Collection[Digest]
    """Manifests that others name."""
    removed: list[str] = field(default_factory=list)
    spared: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    _gone: dict[str, Digest] = field(default_factory=dict)

    async def run(self) -> CacheEnd:
        """One group after the other; one that the registry does not give away does not keep the others."""
        status = CacheStatus.DONE
        try:
            for group in self.groups:
                await self._group(group)
            await self._tidy()
        except _Unread as error:
            status = CacheStatus.HELD
            self.problems += error.problems
        except LianError as error:
            self.problems += error.problems
        if self.problems and status is CacheStatus.DONE:
            status = CacheStatus.FAILED
        return CacheEnd(self.repository, status, tuple(self.removed), tuple(self.spared), tuple(self.problems))

    async def _group(self, group: Sequence[FoundCache]) -> None:
        """What a build would miss most goes last. Raises LianError."""
        fresh = await self._tags()
        if self._written(group, fresh):
            self.spared += [cache.tag for cache in group]
            return
        tags = {cache.tag for cache in group}
        for cache in sorted(group, key=lambda cache: (len(cache.tag), cache.tag), reverse=True):
            sharing = {tag for tag, digest in fresh.items() if digest == cache.digest}
            if cache.tag not in sharing:
                self.removed.append(cache.tag)  # someone was faster
            elif cache.tag not in self._gone:
                alone = sharing <= tags and cache.digest not in self.named
                await self._remove(cache, sorted(sharing) if alone else ())

    async def _remove(self, cache: FoundCache, sharing: Sequence[str]) -> None:
        """A manifest goes by its digest, with all the tags that share it, so that one which has moved on stays where it
        is. Where something that stays needs it, the tag alone goes. Raises LianError."""
        try:
            if sharing:
                await self.ports.remover.delete(self.repository, cache.digest)
            elif (await self._tags()).get(cache.tag) == cache.digest:
                await self.ports.remover.untag(self.repository, cache.tag)
            else:
                self.spared.append(cache.tag)
                return
        except LianError as error:
            if error.problems[0].code != "registry-refused":
                raise
            self.problems += error.problems
            return
        gone = sharing or (cache.tag,)
        self._gone |= dict.fromkeys(gone, cache.digest)
        self.removed += gone

    def _written(self, group: Sequence[FoundCache], fresh: Mapping[str, Digest]) -> bool:
        """True if someone has written what this group is about since it was judged."""
        if any(fresh.get(cache.tag, cache.digest) != cache.digest for cache in group):
            return True
        slot = group[0].slot
        return slot is not None and any(
            self.seen.get(tag) != digest
            and (new := slot_of(slot.namespace, slot.artifact, tag)) is not None
            and new.platform == slot.platform
            for tag, digest in fresh.items()
        )

    async def _tidy(self) -> None:
        """Tags that are there although what they name is gone: some registries keep these. Raises LianError."""
        if not self._gone:
            return
        fresh = await self._tags()
        for tag, digest in self._gone.items():
            if fresh.get(tag) == digest:
                await self.ports.remover.untag(self.repository, tag)

    async def _tags(self) -> Mapping[str, Digest]:
        """Every tag as of now, each asked for by itself. Raises _Unread."""
        try:
            return await self.ports.inventory.tags_of(self.repository)
        except LianError as error:
            raise _Unread(error.problems) from error


class _Unread(LianError):
    """What is there now could not be found out, so nothing more is removed."""
