"""One repository looked at from its tags downwards: what is there, how large it is, and whose."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.audit.holdings import Holding, Owner, TagKind
from reconciler.model.applied import applied_at
from reconciler.model.parts import below
from reconciler.model.problem import LianError, Problem
from reconciler.model.stock import CONTENT_TAG, names_image
from reconciler.observe.ask import read_applied, read_records
from reconciler.ports.registry import GONE

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.applied import Applied
    from reconciler.model.digest import Digest
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Reference, Repository
    from reconciler.ports.registry import Registry

AT_ONCE = 8
"""Requests at a time, over all repositories."""
MAX_MANIFESTS = 10_000
"""Of one repository: an index is a small document that can make its reader ask without end."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a commit asks of one repository."""

    tags: frozenset[str] = frozenset()
    artifacts: frozenset[str] = frozenset()


@dataclass(slots=True)
class _Found:
    """What was found in one repository so far."""

    contents: dict[Digest, int] = field(default_factory=dict)
    parts: set[Digest] = field(default_factory=set)
    """Manifests that an index names."""
    problems: dict[Problem, None] = field(default_factory=dict)

    def unread(self, error: LianError) -> None:
        self.problems |= dict.fromkeys(error.problems)


@dataclass(frozen=True, slots=True)
class Surveyor:
    """Looks at repositories for a fleet. What of one cannot be read is told, and the rest goes on."""

    registry: Registry
    fleet: str
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def survey(self, repository: Repository, tags: Mapping[str, Digest], wanted: Wanted) -> Holding:
        """What these tags reach."""
        found = _Found()
        where = applied_at(repository, self.fleet)
        applied = await self._applied(where, found) if where.tag in tags else None
        named = {digest for tag, digest in tags.items() if names_image(tag)}
        await self._contents(repository, named, found)
        roots = sorted(named - found.parts)
        read = await asyncio.gather(*(self._records(repository, root, found) for root in roots))
        records = dict(zip(roots, read, strict=True))
        ours = {root: [r for r in of if r.fleet in {"", self.fleet}] for root, of in records.items() if of}
        platforms = {b.digest for own in ours.values() for record in own for b in record.platforms.values()}
        images = [root for root in roots if ours.get(root) or root not in platforms]
        started = sorted(record.started for own in ours.values() for record in own)
        return Holding(
            repository,
            Counter(_kind(tag, wanted, applied) for tag in tags),
            Counter(_owner(records[root], bool(ours.get(root))) for root in images),
            found.contents,
            started[-1] if started else None,
            started[0] if started else None,
            tuple(found.problems),
        )

    async def _applied(self, where: Reference, found: _Found) -> Applied | None:
        """This fleet's applied document."""
        async with self._gate:
            try:
                return await read_applied(self.registry, where)
            except LianError as error:
                found.unread(error)
                return None

    async def _contents(self, repository: Repository, starts: Collection[Digest], found: _Found) -> None:
        """The sizes of these manifests and of all that they name, level by level."""
        level, seen = list(starts), set(starts)
        while level:
            if len(seen) > MAX_MANIFESTS:
                message = f"{repository} has more than {MAX_MANIFESTS:,} manifests, and not all are looked at"
                found.problems[Problem("repository-too-large", message)] = None
                return
            children = await asyncio.gather(*(self._content(repository, digest, found) for digest in level))
            level = [child for child in dict.fromkeys(c for some in children for c in some) if child not in seen]
            seen.update(level)

    async def _content(self, repository: Repository, digest: Digest, found: _Found) -> tuple[Digest, ...]:
        """The manifests that this one names. One that is gone has no size; that it is missing, `lian verify` tells."""
        async with self._gate:
            try:
                manifest = await self.registry.manifest(repository, digest)
                parts = below(manifest)
            except LianError as error:
                if error.problems[0].code not in GONE:
                    found.unread(error)
                return ()
            except ValueError as error:
                message = f"{repository}@{digest.short} cannot be understood"
                found.problems[Problem("manifest-unreadable", message, cause=str(error))] = None
                return ()
        found.contents[digest] = len(manifest.data)
        found.contents |= {blob.digest: blob.size for blob in parts.blobs}
        children = tuple(child.digest for child in parts.manifests)
        found.parts.update(children)
        return children

    async def _records(self, repository: Repository, digest: Digest, found: _Found) -> tuple[BuildRecord, ...] | None:
        """None if they could not be read."""
        async with self._gate:
            try:
                return await read_records(self.registry, repository, digest)
            except LianError as error:
                found.unread(error)
                return None


def _owner(records: tuple[BuildRecord, ...] | None, ours: bool) -> Owner:
    if records is None:
        return Owner.UNKNOWN
    return Owner.OURS if ours else Owner.FOREIGN


def _kind(tag: str, wanted: Wanted, applied: Applied | None) -> TagKind:
    if tag in wanted.tags:
        return TagKind.WANTED
    if CONTENT_TAG.fullmatch(tag):
        return TagKind.CONTENT
    if not names_image(tag):
        return TagKind.DOCUMENT
    given = applied.tags.get(tag) if applied else None
    if given is None:
        return TagKind.OTHER
    return TagKind.SUPERSEDED if given.artifact in wanted.artifacts else TagKind.ORPHANED
