"""Looking at repositories as a whole: what lian keeps in them, whose it is, and what it reaches."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.finishing import all_of
from reconciler.model.applied import applied_at
from reconciler.model.observed import Found, Unknown
from reconciler.model.problem import LianError, Problem
from reconciler.model.pruning import PRUNING_TAG
from reconciler.model.record import ARTIFACT_TYPE
from reconciler.model.reference import Repository
from reconciler.model.stock import Content, Stock, names_image
from reconciler.observe.ask import CONCURRENCY, newest_records, read_announcement, read_applied, read_record
from reconciler.ports.registry import GONE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

    from reconciler.model.applied import Applied, AppliedTag
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor
    from reconciler.model.pruning import Announcement
    from reconciler.model.record import BuildRecord
    from reconciler.ports.inventory import Inventory
    from reconciler.ports.registry import Registry

DEEPEST = 5
"""How deep indexes may lie in one another, and referrers refer to referrers."""
_DENIED = "registry-denied"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The repositories of some hosts. `silent` are the hosts that do not list them, with what they said."""

    repositories: tuple[Repository, ...] = ()
    silent: Mapping[str, Problem] = field(default_factory=dict)


async def catalogue(inventory: Inventory, hosts: Iterable[str]) -> Catalogue:
    """What these hosts hold. Raises LianError for one that could not be asked."""
    found: list[Repository] = []
    silent: dict[str, Problem] = {}
    for host in sorted(set(hosts)):
        try:
            found += [Repository(host, path) for path in await inventory.repositories(host)]
        except LianError as error:
            if error.problems[0].code != "catalog-unsupported":
                raise
            silent[host] = error.problems[0]
    return Catalogue(tuple(found), silent)


async def witnessed(registry: Registry, fleet: str, repositories: Collection[Repository]) -> frozenset[Repository]:
    """Those in which the fleet left an applied document. What this account may not read is not its own. Raises
    LianError for one that is unknown for another reason."""
    references = {applied_at(repository, fleet): repository for repository in repositories}
    heads = await registry.heads(references) if references else {}
    for head in heads.values():
        if isinstance(head, Unknown) and head.problem.code != _DENIED:
            raise LianError(head.problem)
    return frozenset(references[reference] for reference, head in heads.items() if isinstance(head, Found))


async def names_of(inventory: Inventory, repositories: Collection[Repository]) -> Mapping[Repository, tuple[str, ...]]:
    """The names of all tags, but for repositories that this account may not read. Raises LianError."""
    try:
        return await inventory.all_names(repositories) if repositories else {}
    except LianError as error:
        if error.problems[0].code != _DENIED:
            raise
    gate = asyncio.Semaphore(CONCURRENCY)

    async def one(repository: Repository) -> tuple[str, ...] | None:
        async with gate:
            try:
                return (await inventory.all_names([repository]))[repository]
            except LianError as error:
                if error.problems[0].code != _DENIED:
                    raise
                return None

    names = await all_of(one(repository) for repository in repositories)
    return {r: found for r, found in zip(repositories, names, strict=True) if found is not None}


async def tags_in(
    inventory: Inventory, repositories: Collection[Repository]
) -> tuple[dict[Repository, Mapping[str, Digest]], dict[Repository, tuple[Problem, ...]]]:
    """All tags of these, in bulk; where that fails for one, each for itself: one that cannot be listed costs nobody
    else. Its problems are the second part."""
    tags: dict[Repository, Mapping[str, Digest]] = {}
    problems: dict[Repository, tuple[Problem, ...]] = {}
    try:
        return dict(await inventory.all_tags(repositories) if repositories else {}), problems
    except LianError:
        gate = asyncio.Semaphore(CONCURRENCY)

    async def one(repository: Repository) -> None:
        async with gate:
            try:
                tags[repository] = await inventory.tags_of(repository)
            except LianError as error:
                problems[repository] = error.problems

    await all_of(one(repository) for repository in repositories)
    return tags, problems


@dataclass(slots=True)
class Looker:
    """Looks at one repository after another, with a bounded number of requests at a time in all. What was applied or
    built for a commit that is not `known` is another's, whatever name its fleet has."""

    registry: Registry
    fleet: str
    known: Callable[[str], Awaitable[bool]] | None = None
    strangers: set[str] = field(default_factory=set)
    """Such commits that were met."""
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(CONCURRENCY))

    async def documents(self, repository: Repository, tags: Mapping[str, Digest]) -> Stock:
        """The repository with these tags, and the documents that lian keeps in it. Raises LianError."""
        where = applied_at(repository, self.fleet)
        async with self._gate:
            applied = await read_applied(self.registry, where) if where.tag in tags else None
        applied = await self._own(applied) if applied else None
        async with self._gate:
            left = await read_announcement(self.registry, repository) if PRUNING_TAG in tags else None
        return Stock(repository, tags, applied, self._left(left))

    async def in_full(self, stock: Stock, staying: Collection[Digest]) -> Stock:
        """The same, with everything that says what reaches what, and whose it is; of what is `staying` anyway only the
        former. Raises LianError for a single thing that cannot be read: it might be what keeps another."""
        lists = set(stock.attached_tags())
        left = stock.left.digests if stock.left else frozenset()
        named = {digest for tag, digest in stock.tags.items() if names_image(tag)}
        contents = await self.contents(stock.repository, named | lists | left)
        subjects = {content.subject for digest in left if (content := contents.get(digest)) and content.subject}
        contents |= await self.contents(stock.repository, subjects - contents.keys())
        whole = replace(stock, contents=contents)
        return await self.with_records(whole, (named | lists | left | subjects) - set(staying))

    async def with_records(self, stock: Stock, images: Collection[Digest]) -> Stock:
        """The same, with what refers to these images, and what the build records among that say. Raises LianError."""
        asked = [image for image in images if image not in stock.referrers]
        descriptors = await self._all_referrers(stock.repository, asked)
        records = await all_of(self._records(stock.repository, those) for those in descriptors)
        found = {image: tuple(d.digest for d in those) for image, those in zip(asked, descriptors, strict=True)}
        read = {image: those for image, those in zip(asked, records, strict=True) if those}
        return replace(stock, referrers={**stock.referrers, **found}, records={**stock.records, **read})

    async def with_referrers(self, stock: Stock, subjects: Collection[Digest]) -> Stock:
        """The same, with all that refers to these, and to that in turn. Raises LianError."""
        referrers = dict(stock.referrers)
        level = list(subjects)
        for _ in range(DEEPEST):
            asked = [subject for subject in level if subject not in referrers]
            descriptors = await self._all_referrers(stock.repository, asked)
            those_of = zip(asked, descriptors, strict=True)
            referrers |= {subject: tuple(d.digest for d in those) for subject, those in those_of}
            level = [referrer for subject in level for referrer in referrers[subject]]
        return replace(stock, referrers=referrers)

    async def contents(self, repository: Repository, starts: Collection[Digest]) -> dict[Digest, Content]:
        """These manifests and those that they name, as far as they are there. Raises LianError."""
        found: dict[Digest, Content] = {}
        level = list(starts)
        for _ in range(DEEPEST):
            contents = await all_of(self._content(repository, digest) for digest in level)
            there = {d: content for d, content in zip(level, contents, strict=True) if content is not None}
            found |= there
            level = list(dict.fromkeys(c for one in there.values() for c in one.children if c not in found))
            if not level:
                return found
        message = f"an index in {repository} holds others, {DEEPEST} deep and deeper"
        raise LianError(Problem("index-too-deep", message, hint="remove its tag, if nobody needs it"))

    async def _own(self, applied: Applied) -> Applied:
        """The document without what it says of commits that are not known."""
        tags = {tag: entry for tag, entry in applied.tags.items() if await self._is_known(entry)}
        return replace(applied, tags=tags)

    async def _is_known(self, about: AppliedTag | BuildRecord) -> bool:
        if self.known is None or await self.known(about.revision):
            return True
        self.strangers.add(about.revision)
        return False

    def _left(self, announced: Announcement | None) -> Announcement | None:
        """This fleet's. One whose time is not over is that of a prune at work now, or just killed: it is waited for
        before anything is removed, and either there is nothing left of it then, or all of it."""
        return announced if announced is not None and announced.fleet == self.fleet else None

    async def _content(self, repository: Repository, digest: Digest) -> Content | None:
        async with self._gate:
            try:
                return Content.of(await self.registry.manifest(repository, digest))
            except LianError as error:
                if error.problems[0].code in GONE:
                    return None
                raise
            except ValueError as error:
                message = f"the manifest {repository}@{digest} cannot be understood"
                hint = "see what it is, and remove its tags if nobody needs it"
                raise LianError(Problem("manifest-unreadable", message, cause=str(error), hint=hint)) from error

    async def _all_referrers(
        self, repository: Repository, subjects: Sequence[Digest]
    ) -> Sequence[Sequence[Descriptor]]:
        return await all_of(self._referrers(repository, subject) for subject in subjects)

    async def _referrers(self, repository: Repository, subject: Digest) -> Sequence[Descriptor]:
        async with self._gate:
            return await self.registry.referrers(repository, subject, None)

    async def _records(self, repository: Repository, referrers: Sequence[Descriptor]) -> tuple[BuildRecord, ...]:
        """The newest build records among these, newest first. One whose content is gone says nothing."""
        records = [d for d in referrers if d.artifact_type == ARTIFACT_TYPE]
        read = await all_of(self._record(repository, descriptor) for descriptor in newest_records(records))
        return tuple([r for r in read if r is not None and (r.fleet != self.fleet or await self._is_known(r))])

    async def _record(self, repository: Repository, descriptor: Descriptor) -> BuildRecord | None:
        async with self._gate:
            try:
                return await read_record(self.registry, repository, descriptor)
            except LianError as error:
                if error.problems[0].code in GONE:
                    return None
                raise
