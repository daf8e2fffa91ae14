"""Taking away what a prune's plan names, one repository at a time, while others may push there (ADR 032 and 047).

Announce, look again, spare, remove, withdraw. What goes by its digest takes its tags along, so that no tag is ever left
pointing at half an image: indexes before the manifests they name, and these before what refers to them. Whoever is
killed in between leaves the announcement, which names all that is still to go: the next prune takes it up.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.apply.claim import Claim, Unready
from reconciler.model.applied import applied_at
from reconciler.model.digest import Digest
from reconciler.model.observed import Found
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.removal import Pruned, PruneStatus
from reconciler.model.stock import AttachedTag, names_image
from reconciler.observe.ask import known_heads, read_applied
from reconciler.observe.stock import Looker

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from reconciler.model.applied import Applied
    from reconciler.model.observed import Absent
    from reconciler.model.reference import Reference, Repository
    from reconciler.model.removal import Doomed, Removal, Untagged
    from reconciler.ports.bundle import Removing
    from reconciler.ports.remover import Remover

    Step = Callable[[], Awaitable[None]]

AT_ONCE = 100
"""Images of one announcement."""
CONCURRENCY = 4
_NOTHING = Digest.of(b"lian asks whether anything may be deleted here")
_REFUSED = "registry-refused"


async def deletes(remover: Remover, repository: Repository) -> None:
    """Find out whether the registry lets anything be deleted, without deleting: one that does not says so also of what
    is not there. Raises LianError `registry-refused`, …"""
    await remover.delete(repository, _NOTHING)


async def prune(ports: Removing, fleet: str, removal: Removal) -> Pruned:
    """Carry out what is planned for one repository, and what became of it; its problems are part of that.

    `fleet` is whose images they are. If this is cancelled, nothing of it goes on.
    """
    repository = removal.repository
    if removal.problems:
        return Pruned(repository, PruneStatus.HELD, problems=removal.problems)
    if not removal.chores:
        return Pruned(repository, PruneStatus.NONE)
    work = _Work(ports, fleet, removal)
    held = False
    try:
        await work.run()
    except LianError as error:
        held = isinstance(error, Unready)
        work.problems += error.problems
    status = PruneStatus.HELD if held else PruneStatus.FAILED if work.problems else PruneStatus.DONE
    problems = tuple(dict.fromkeys(work.problems))
    return Pruned(repository, status, tuple(work.removed), tuple(work.untagged), tuple(work.spared), problems)


class _TimeIsUp(Exception):
    """The announcement is about to end; what is left is announced anew."""


@dataclass(frozen=True, slots=True)
class _Batch:
    """What one announcement is about."""

    images: Sequence[Doomed]
    tags: Sequence[Untagged] = ()
    strays: Mapping[Digest, Digest] = field(default_factory=dict)
    lists: Sequence[str] = ()

    @property
    def digests(self) -> set[Digest]:
        """All manifests that go."""
        return {*self.strays, *(digest for image in self.images for digest in image.digests)}

    def named(self, seen: Mapping[str, Digest]) -> dict[str, Digest]:
        """All tags that go, with what they pointed at when it was planned."""
        names = [tag.tag for tag in self.tags] + [*self.lists]
        names += [tag for image in self.images for tag in (*image.tags, *image.lists)]
        return {tag: seen[tag] for tag in names}


@dataclass(slots=True)
class _Work:
    """One repository."""

    ports: Removing
    fleet: str
    removal: Removal
    problems: list[Problem] = field(default_factory=list)
    removed: dict[Digest, None] = field(default_factory=dict)
    """Images."""
    untagged: list[str] = field(default_factory=list)
    spared: dict[Digest, None] = field(default_factory=dict)
    _gone: set[Digest] = field(default_factory=set)
    """Manifests of any kind."""
    _stays: set[Digest] = field(default_factory=set)
    """What a tag has come to, and what could not be removed, with all that these reach."""

    @property
    def _repository(self) -> Repository:
        return self.removal.repository

    @property
    def _document(self) -> Reference:
        """The fleet's applied document."""
        return applied_at(self._repository, self.fleet)

    async def run(self) -> None:
        """Raises Unready, LianError; what was done until then is done."""
        batches = list(self._batches())
        claim = Claim(self.ports, self._repository, self.fleet, self.removal.unfinished)
        if not batches and not self.removal.unfinished:
            await claim.sweep(self.removal.claims)
            await self._forget()
            return
        await deletes(self.ports.remover, self._repository)
        try:
            async with claim:
                for batch in batches:
                    await self._carry_out(claim, batch)
                    claim.carried_out()
                await self._forget()
        finally:
            self.problems += claim.problems

    def _batches(self) -> Iterator[_Batch]:
        removal = self.removal
        if removal.any or removal.strays or removal.lists:
            yield _Batch(removal.images[:AT_ONCE], removal.tags, removal.strays, removal.lists)
        for start in range(AT_ONCE, len(removal.images), AT_ONCE):
            yield _Batch(removal.images[start : start + AT_ONCE])

    async def _carry_out(self, claim: Claim, batch: _Batch) -> None:
        """As many announcements as it takes. Raises Unready, LianError."""
        while True:
            before = len(self._gone) + len(self.untagged)
            try:
                await self._round(claim, batch)
                return
            except _TimeIsUp:
                if len(self._gone) + len(self.untagged) == before:
                    raise Unready(_too_slow(self._repository)) from None

    async def _round(self, claim: Claim, batch: _Batch) -> None:
        """Announce, look again, remove. Raises _TimeIsUp, Unready, LianError."""
        fresh = await claim.announce(batch.named(self.removal.seen), batch.digests)
        await self._spare(fresh, batch.images)
        tags = [tag for tag in batch.tags if fresh.get(tag.tag) == tag.digest]
        await _each(claim, [_step(self._untag, tag.tag) for tag in tags])
        images = [image for image in batch.images if image.digest not in self.spared]
        await _each(claim, [_step(self._image, image) for image in images])
        images = [image for image in images if image.digest in self.removed]
        await _each(claim, [_step(self._manifests, dict.fromkeys(image.parts, image.digest)) for image in images])
        await _each(claim, [_step(self._manifests, about) for about in (*(i.attached for i in images), batch.strays)])
        await _each(claim, [_step(self._tidy, images, batch.lists)])

    # -- what stays ---------------------------------------------------------------------------------------------------

    async def _spare(self, fresh: Mapping[str, Digest], images: Sequence[Doomed]) -> None:
        """Images that a tag has come to since they were judged, or a part of them, stay whole. Raises Unready."""
        if not images:
            return
        seen = self.removal.seen
        come = {digest for tag, digest in fresh.items() if names_image(tag) and seen.get(tag) != digest}
        if new := come - self._stays:
            looker = Looker(self.ports.registry, self.fleet)
            try:
                self._stays |= new | (await looker.contents(self._repository, new)).keys()
            except LianError as error:
                raise Unready(error.problems) from error
        for image in images:
            if image.digest not in self._gone and not self._stays.isdisjoint(image.reach):
                self.spared[image.digest] = None
                self._stays |= image.reach

    # -- what goes ----------------------------------------------------------------------------------------------------

    async def _untag(self, tag: str) -> None:
        if tag not in self.untagged:
            await self.ports.remover.untag(self._repository, tag)
            self.untagged.append(tag)

    async def _image(self, image: Doomed) -> None:
        """One that the registry does not give away stays with its parts, and the others go on."""
        if await self._delete(image.digest):
            self.removed[image.digest] = None
        else:
            self._stays |= image.reach

    async def _manifests(self, about: Mapping[Digest, Digest]) -> None:
        """These, one after the other, but for what stays or belongs to what stays."""
        for digest, subject in about.items():
            if self._stays.isdisjoint((digest, subject)):
                await self._delete(digest)

    async def _delete(self, digest: Digest) -> bool:
        """False if the registry does not let go of it, which is a problem then. Raises LianError for all else."""
        if digest not in self._gone:
            try:
                await self.ports.remover.delete(self._repository, digest)
            except LianError as error:
                if error.problems[0].code != _REFUSED:
                    raise
                self.problems += error.problems
                return False
            self._gone.add(digest)
        return True

    async def _tidy(self, images: Iterable[Doomed], lists: Iterable[str]) -> None:
        """Tags that are there although what they name is gone: some registries keep these. And what held nothing but
        what refers to an image that is gone. Raises LianError."""
        dead = [*lists, *(tag for image in images for tag in image.lists)]
        subjects = {tag: parsed.subject for tag in dead if (parsed := AttachedTag.parse(tag))}
        dead = [tag for tag in dead if subjects.get(tag) not in self._stays]
        heads = await self._heads({*dead, *(tag for image in images for tag in image.tags)})
        for tag, head in heads.items():
            if isinstance(head, Found) and (tag in dead or head.digest in self._gone):
                await self.ports.remover.untag(self._repository, tag)

    # -- the applied document -----------------------------------------------------------------------------------------

    async def _forget(self) -> None:
        """Tags that are gone leave the applied document; it goes with the last of them. Raises LianError."""
        removed = [tag for image in self.removal.images if image.digest in self.removed for tag in image.tags]
        names = {*self.removal.forget, *self.untagged, *removed}
        applied = await read_applied(self.ports.registry, self._document) if names else None
        if applied is None or names.isdisjoint(applied.tags):
            return
        heads = await self._heads(names)
        left = {tag: entry for tag, entry in applied.tags.items() if isinstance(heads.get(tag, _THERE), Found)}
        if left:
            manifest, blobs = replace(applied, tags=left).packed()
            await self.ports.publisher.publish(self._repository, manifest, tags=[self._document.name], blobs=blobs)
        else:
            await self._drop(applied)

    async def _drop(self, applied: Applied) -> None:
        """Only this very document: whoever has moved a tag meanwhile has written another."""
        digest = applied.packed()[0].digest
        tag = self._document.name
        if await self._named(tag) == digest:
            await self.ports.remover.delete(self._repository, digest)
            if await self._named(tag) == digest:
                await self.ports.remover.untag(self._repository, tag)

    async def _named(self, tag: str) -> Digest | None:
        head = (await self._heads([tag]))[tag]
        return head.digest if isinstance(head, Found) else None

    async def _heads(self, tags: Collection[str]) -> Mapping[str, Found | Absent]:
        """What these tags name right now. Raises LianError if one cannot be read."""
        return await known_heads(self.ports.registry, self._repository, tags)


_THERE = Found(_NOTHING)
"""For tags that nobody asked about."""


def _step(work: Callable[..., Awaitable[None]], *arguments: object) -> Step:
    return lambda: work(*arguments)


async def _each(claim: Claim, steps: Sequence[Step]) -> None:
    """All of these, a few at a time, as long as the announcement lasts; what goes wrong in one of them is raised when
    the others have ended. Raises _TimeIsUp, LianError."""
    gate = asyncio.Semaphore(CONCURRENCY)

    async def one(step: Step) -> None:
        async with gate:
            if claim.seconds_left <= 0:
                raise _TimeIsUp
            try:
                async with asyncio.timeout(claim.seconds_left):
                    await step()
            except TimeoutError as error:
                raise _TimeIsUp from error

    ends = await asyncio.gather(*(one(step) for step in steps), return_exceptions=True)
    errors = [end for end in ends if isinstance(end, BaseException)]
    for error in sorted(errors, key=lambda error: isinstance(error, _TimeIsUp)):
        raise error


def _too_slow(repository: Repository) -> Problem:
    return Problem(
        "prune-too-slow",
        f"the registry is too slow to remove anything from {repository} safely",
        cause="its list of tags takes as long as a prune may be announced for",
        hint="run again when the registry has less to do, or make tags fewer",
        next=Next.RETRY,
    )
