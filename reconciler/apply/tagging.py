"""Moving tags. A registry has no compare-and-swap, so everything that speaks against a move is looked at again just
before it, and what a prune may have taken meanwhile is looked at just after (design section 5, ADR 031 and 032)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.applied import APPLIED_TAG, Applied, AppliedTag
from reconciler.model.observed import Found, Questions, Unknown
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.record import TIME_ANNOTATION
from reconciler.model.reference import Reference
from reconciler.model.stock import Content
from reconciler.observe.ask import ask, read_announcement, read_applied
from reconciler.ports.publisher import NOT_MOVED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest
    from reconciler.model.observed import Observed, Sighting
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Repository
    from reconciler.ports.bundle import Ports

TRIES = 5
"""How often the applied document is written when others write it in the same moment."""
REFERRERS = 50
"""So many of what refers to an image are put back if a prune takes them."""
_UNREADABLE = {"manifest-unknown", "registry-wrong-digest", "registry-damaged", "content-too-large"}
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 90.0
"""How long a prune that has announced itself is waited for; it promises to be done sooner."""


class HeldBack(LianError):
    """The change must not be carried out now; nothing is wrong with it."""


@dataclass(frozen=True, slots=True)
class Whole:
    """An image with the manifests that it names and those that refer to it."""

    image: Manifest
    parts: tuple[Manifest, ...] = ()
    referrers: tuple[Manifest, ...] = ()

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """In the order in which a registry takes them."""
        return (*self.parts, self.image, *self.referrers)


@dataclass(slots=True)
class Tagger:
    """Moves the tags of one pass. One artifact of a repository at a time: their applied document is one."""

    ports: Ports
    desired: Desired
    observed: Observed
    allow_older: bool = False
    _locks: dict[Repository, asyncio.Lock] = field(default_factory=dict)
    _documents: dict[tuple[Repository, Digest], Applied | None] = field(default_factory=dict)
    _lineage: dict[str, bool | None] = field(default_factory=dict)

    async def counting(self, artifact: Artifact, key: str, tag: str, manifest: Manifest, *, replaces: bool) -> Digest:
        """Which image is to stand under the tags, of all that were built from these inputs: one that a tag names which
        must not move; else the one under the content tag, if another pass was first; else this one. So passes on one
        commit do not undo one another. Raises LianError.

        `replaces`: what is there is not good, so it is this one, whatever is there.
        """
        if replaces:
            return manifest.digest
        fixed = [one for one in artifact.tags if self.desired.fleet.policy.immutable(one)]
        heads = await self._heads(artifact.image, [tag, *fixed])
        content = head.digest if isinstance(head := heads[tag], Found) else manifest.digest
        for other in {head.digest for one in fixed if isinstance(head := heads[one], Found)} - {content}:
            if any(record.key == key for record in await self._records(artifact.image, other)):
                return other
        return content

    async def content(self, repository: Repository, named: Mapping[str, Digest]) -> None:
        """Point content tags at what they stand for, in this order. Raises LianError."""
        heads = await self._heads(repository, named)
        for tag, digest in named.items():
            if not _names(heads[tag], digest):
                manifest = await self.ports.registry.manifest(repository, digest)
                await self.ports.publisher.publish(repository, manifest, tags=[tag])

    async def tags(self, artifact: Artifact, manifest: Manifest, tags: Sequence[str]) -> tuple[str, ...]:
        """Point these tags at the image and write the applied document; the tags that had to move. Raises HeldBack for
        a move that must not be, LianError; what was moved before stays so, and is in the document."""
        repository = artifact.image
        moved: list[str] = []
        async with self._locks.setdefault(repository, asyncio.Lock()):
            try:
                for tag in tags:
                    if await self._move(artifact, tag, manifest):
                        moved.append(tag)
            finally:
                if moved:
                    await self._witness(artifact, manifest.digest, moved)
        return tuple(moved)

    async def stand(self, repository: Repository, named: Mapping[str, Digest]) -> bool:
        """True if each of these tags names what it should, at one look. Raises LianError."""
        heads = await self._heads(repository, named)
        return all(_names(heads[tag], digest) for tag, digest in named.items())

    def unless_stuck(self, artifact: Artifact, left: Collection[str]) -> None:
        """Before a build: raises HeldBack if one of its tags must never move and is there."""
        for tag in artifact.tags:
            there = isinstance(self.observed.heads.get(Reference(artifact.image, tag)), Found)
            if there and tag not in left and self.desired.fleet.policy.immutable(tag):
                raise HeldBack(_immutable(f"{artifact.image}:{tag}"))

    async def whole(self, repository: Repository, image: Manifest) -> Whole:
        """The image with what belongs to it, before any tag of it is moved. Raises LianError, and HeldBack if a prune
        has just taken it: an image goes before what refers to it, so as long as it is there nothing is missing here."""
        registry = self.ports.registry
        parts = [await self._readable(repository, child) for child in _children(image)]
        about = sorted(
            await registry.referrers(repository, image.digest, None),
            key=lambda descriptor: descriptor.annotations.get(TIME_ANNOTATION, ""),
        )
        referrers = [await self._readable(repository, descriptor.digest) for descriptor in about[-REFERRERS:]]
        reference = Reference(repository, digest=image.digest)
        if self._is_gone((await registry.heads([reference]))[reference]):
            raise HeldBack(_pruned(f"{repository}@{image.digest}"))
        return Whole(image, tuple(m for m in parts if m), tuple(m for m in referrers if m))

    async def _readable(self, repository: Repository, digest: Digest) -> Manifest | None:
        """None for what was not there before either, or is damaged: it cannot be put back. Raises LianError."""
        try:
            return await self.ports.registry.manifest(repository, digest)
        except LianError as error:
            if error.problems[0].code not in _UNREADABLE:
                raise
            return None

    async def outlast(self, repository: Repository, whole: Whole, tags: Collection[str]) -> None:
        """See to it that a prune in the same moment has not taken what these tags point at: one that announced itself
        is waited for; then everything is looked at again, and put again if need be. Raises HeldBack, LianError."""
        deadline = self.ports.clock() + PATIENCE_SECONDS
        while await self._threatened(repository, whole, tags):
            if self.ports.clock() > deadline:
                raise HeldBack(_prune_goes_on(repository))
            await asyncio.sleep(POLL_SECONDS)
        named = {manifest.digest: Reference(repository, digest=manifest.digest) for manifest in whole.manifests}
        heads = await self.ports.registry.heads([*named.values(), *(Reference(repository, tag) for tag in tags)])
        lost = [tag for tag in tags if self._is_gone(heads[Reference(repository, tag)])]
        for manifest in whole.manifests:
            again = lost if manifest == whole.image else ()
            if again or self._is_gone(heads[named[manifest.digest]]):
                await self.ports.publisher.publish(repository, manifest, tags=again)

    async def _threatened(self, repository: Repository, whole: Whole, tags: Collection[str]) -> bool:
        announced = await read_announcement(self.ports.registry, repository)
        digests = {manifest.digest for manifest in whole.manifests}
        return announced is not None and announced.threatens(tags, digests, self.ports.clock())

    @staticmethod
    def _is_gone(head: Sighting) -> bool:
        """Raises LianError if that cannot be told."""
        if isinstance(head, Unknown):
            raise LianError(head.problem)
        return not isinstance(head, Found)

    async def _move(self, artifact: Artifact, tag: str, manifest: Manifest) -> bool:
        """True if the tag had to be moved."""
        repository = artifact.image
        heads = await self._heads(repository, [tag, APPLIED_TAG])
        head = heads[tag]
        if _names(head, manifest.digest):
            return False
        applied = await self._ours(repository, heads[APPLIED_TAG])
        await self._guard(artifact, tag, head, applied)
        await self.ports.publisher.publish(repository, manifest, tags=[tag])
        return True

    async def _guard(self, artifact: Artifact, tag: str, head: Sighting, applied: Applied | None) -> None:
        """Raises HeldBack if the tag must not be moved by this pass."""
        where = f"{artifact.image}:{tag}"
        if applied is not None and (newer := await self._newer(applied, tag)):
            raise HeldBack(_superseded(where, newer))
        if not isinstance(head, Found):
            return
        if self.desired.fleet.policy.immutable(tag):
            raise HeldBack(_immutable(where))
        if _names(self.observed.heads.get(Reference(artifact.image, tag)), head.digest):
            return
        last = applied.tags.get(tag) if applied is not None else None
        if last is None or last.digest != head.digest:
            await self._moved_meanwhile(artifact.image, tag, head.digest)

    async def _moved_meanwhile(self, repository: Repository, tag: str, digest: Digest) -> None:
        """Someone moved the tag while this pass ran, and no applied document tells who. Goes on only if it was a pass
        of this fleet for the same commit or an older one. Raises HeldBack."""
        records = [r for r in await self._records(repository, digest) if r.fleet == self.desired.fleet.name]
        stands = {record.revision: await self._descends(record.revision) for record in records}
        if self.allow_older and records:
            return
        for revision in (revision for revision, newer in stands.items() if newer):
            raise HeldBack(_superseded(f"{repository}:{tag}", revision))
        if False not in stands.values():
            raise HeldBack(_moved(f"{repository}:{tag}", digest))

    async def _records(self, repository: Repository, digest: Digest) -> tuple[BuildRecord, ...]:
        """The image's build records as of now; none if they cannot be read."""
        image = (repository, digest)
        return (await ask(Questions(records=frozenset({image})), self.ports.registry)).records_of(*image)

    async def _newer(self, applied: Applied, tag: str) -> str | None:
        """The commit, newer than this pass's, that was applied here; None if there is none or that does not matter."""
        known = await self._known(applied, [tag])
        return None if self.allow_older else applied.newer_than(self.desired.history, tag, known)

    async def _known(self, applied: Applied, tags: Collection[str]) -> dict[str, bool | None]:
        """Where the document's commits stand, as far as the desired repo tells."""
        return {revision: await self._descends(revision) for revision in applied.revisions(tags)}

    async def _descends(self, revision: str) -> bool | None:
        if revision == self.desired.revision:
            return False
        if revision not in self._lineage:
            self._lineage[revision] = await self.ports.source.descends(revision)
        return self._lineage[revision]

    async def _witness(self, artifact: Artifact, digest: Digest, moved: Sequence[str]) -> None:
        """Write into the applied document where these tags were moved, but for those that had to go back. Raises
        HeldBack for these, LianError."""
        repository = artifact.image
        entry = AppliedTag(digest, str(artifact.name), self.desired.revision, self.desired.history.time)
        placed = dict.fromkeys(moved, digest)
        undone: dict[str, str] = {}
        for left in reversed(range(TRIES)):
            try:
                before = await self._give_back(repository, placed, undone)
                kept = [tag for tag in moved if tag not in undone]
                await self._write(repository, before, dict.fromkeys(kept, entry))
                break
            except LianError as error:  # whoever wrote in the same moment is read and written on
                if not left or not is_not_moved(error):
                    raise
        for tag, revision in undone.items():
            raise HeldBack(_superseded(f"{repository}:{tag}", revision))

    async def _write(self, repository: Repository, before: Applied | None, entries: Mapping[str, AppliedTag]) -> None:
        """The applied document with these entries; it stays a newer commit's if it is one's. Raises LianError."""
        if not entries:
            return
        history = self.desired.history
        before = before or Applied(self.desired.fleet.name, history)
        overtaken = before.stands_after(history, await self._known(before, entries)) and not self.allow_older
        manifest, blobs = before.moved(before.history if overtaken else history, entries).packed()
        await self.ports.publisher.publish(repository, manifest, tags=[APPLIED_TAG], blobs=blobs)

    async def _give_back(
        self, repository: Repository, placed: dict[str, Digest], undone: dict[str, str]
    ) -> Applied | None:
        """Put back what a newer commit's pass pointed a tag at between our look and our move: its document tells, and
        it may have ended. `placed` and `undone` are kept up: where the tags were put, and which of them went back, with
        the newer commit. The document as it is now. Raises LianError."""
        while True:
            head = (await self._heads(repository, [APPLIED_TAG]))[APPLIED_TAG]
            applied = await self._ours(repository, head)
            if applied is None or self.allow_older:
                return applied
            known = await self._known(applied, placed)
            lasts = {tag: applied.overtaking(self.desired.history, tag, known) for tag in placed}
            back = {tag: last for tag, last in lasts.items() if last and last.digest != placed[tag]}
            if not back:
                return applied
            for tag, last in back.items():
                undone[tag] = last.revision
                manifest = await self.ports.registry.manifest(repository, last.digest)
                await self.ports.publisher.publish(repository, manifest, tags=[tag])
                placed[tag] = last.digest

    async def _ours(self, repository: Repository, head: Sighting) -> Applied | None:
        """The applied document, if it is this fleet's."""
        applied = await self._applied(repository, head)
        return applied if applied is not None and applied.fleet == self.desired.fleet.name else None

    async def _applied(self, repository: Repository, head: Sighting) -> Applied | None:
        """The document that APPLIED_TAG names now; read once for each digest."""
        if not isinstance(head, Found):
            return None
        key = (repository, head.digest)
        if key not in self._documents:
            self._documents[key] = await read_applied(self.ports.registry, repository, head.digest)
        return self._documents[key]

    async def _heads(self, repository: Repository, tags: Collection[str]) -> dict[str, Sighting]:
        """What these tags name right now. Raises LianError if one cannot be read: unknown is never absent."""
        references = {tag: Reference(repository, tag) for tag in tags}
        answers = await self.ports.registry.heads(references.values())
        heads = {tag: answers[reference] for tag, reference in references.items()}
        for head in heads.values():
            if isinstance(head, Unknown):
                raise LianError(head.problem)
        return heads


def _children(image: Manifest) -> tuple[Digest, ...]:
    """The manifests of an index; none of what is no index that can be read."""
    try:
        return Content.of(image).children
    except ValueError:
        return ()


def _names(head: Sighting | None, digest: Digest) -> bool:
    return isinstance(head, Found) and head.digest == digest


def is_not_moved(error: LianError) -> bool:
    """True if a tag that was moved read back as something else: to be looked at again."""
    return not isinstance(error, HeldBack) and error.problems[0].code == NOT_MOVED


def _superseded(where: str, revision: str) -> Problem:
    return Problem(
        "superseded",
        f"a newer commit, {revision[:12]}, has been applied to {where} while this pass ran",
        hint="reconcile that commit or a later one; to go back on purpose give --allow-older",
        next=Next.RETRY,
    )


def _immutable(where: str) -> Problem:
    return Problem(
        "tag-immutable",
        f"{where} must not move, and points at another image",
        hint="want a new tag in the directive",
        next=Next.PERSON,
    )


def _pruned(where: str) -> Problem:
    return Problem(
        "image-pruned",
        f"{where} was pruned while this pass ran",
        hint="run again: the next pass builds the image if it is gone",
        next=Next.RETRY,
    )


def _prune_goes_on(repository: Repository) -> Problem:
    return Problem(
        "prune-busy",
        f"a prune of {repository} goes on and on, and is about to remove what this pass has tagged",
        hint="run again when it is done",
        next=Next.RETRY,
    )


def _moved(where: str, digest: Digest) -> Problem:
    return Problem(
        "tag-moved-meanwhile",
        f"{where} was moved to {digest.short} by someone else while this pass ran",
        hint="run again: the next pass sees who it was, and does what the policy says",
        next=Next.RETRY,
    )
