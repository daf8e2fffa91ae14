"""Moving tags. A registry has no compare-and-swap, so everything that speaks against a move is looked at again just
before it, and what a prune may have taken meanwhile is looked at just after (design section 5, ADR 031 and 032)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.applied import APPLIED_TAG, Applied, AppliedTag
from reconciler.model.observed import Found, Questions, Unknown
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.reference import Reference
from reconciler.observe.ask import ask, read_announcement, read_applied

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest
    from reconciler.model.observed import Observed, Sighting
    from reconciler.model.reference import Repository
    from reconciler.ports.bundle import Ports

POLL_SECONDS = 1.0
PATIENCE_SECONDS = 90.0
"""How long a prune that has announced itself is waited for; it promises to be done sooner."""


class HeldBack(LianError):
    """The change must not be carried out now; nothing is wrong with it."""


@dataclass(slots=True)
class Tagger:
    """Moves the tags of one pass. One artifact of a repository at a time: their applied document is one."""

    ports: Ports
    desired: Desired
    observed: Observed
    allow_older: bool = False
    _locks: dict[Repository, asyncio.Lock] = field(default_factory=dict)
    _documents: dict[tuple[Repository, Digest], Applied | None] = field(default_factory=dict)

    async def content(self, repository: Repository, tag: str, manifest: Manifest, *, replaces: bool) -> Digest:
        """Point a content tag at the image, and return what it names then: if another pass has put the same inputs
        there meanwhile, that image, so that two passes do not undo one another. Raises LianError.

        `replaces`: what is there is not good, whatever it is.
        """
        head = (await self._heads(repository, [tag]))[tag]
        if isinstance(head, Found) and (head.digest == manifest.digest or not replaces):
            return head.digest
        await self.ports.publisher.publish(repository, manifest, tags=[tag])
        return manifest.digest

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

    def unless_stuck(self, artifact: Artifact, left: Collection[str]) -> None:
        """Before a build: raises HeldBack if one of its tags must never move and is there."""
        for tag in artifact.tags:
            there = isinstance(self.observed.heads.get(Reference(artifact.image, tag)), Found)
            if there and tag not in left and self.desired.fleet.policy.immutable(tag):
                raise HeldBack(_immutable(f"{artifact.image}:{tag}"))

    async def outlast(self, repository: Repository, manifest: Manifest, tags: Collection[str]) -> None:
        """See to it that a prune in the same moment has not taken what these tags point at: one that announced itself
        is waited for, and then everything is looked at again, and put again if need be. Raises LianError."""
        deadline = self.ports.clock() + PATIENCE_SECONDS
        threatened = False
        while await self._threatened(repository, manifest, tags):
            threatened = True
            if self.ports.clock() > deadline:
                break
            await asyncio.sleep(POLL_SECONDS)
        if not threatened:
            return
        heads = await self._heads(repository, tags)
        lost = [tag for tag in tags if not isinstance(heads[tag], Found)]
        if lost:
            await self.ports.publisher.publish(repository, manifest, tags=lost)

    async def _threatened(self, repository: Repository, manifest: Manifest, tags: Collection[str]) -> bool:
        announced = await read_announcement(self.ports.registry, repository)
        now = self.ports.clock()
        return announced is not None and any(announced.threatens(tag, manifest.digest, now) for tag in tags)

    async def _move(self, artifact: Artifact, tag: str, manifest: Manifest) -> bool:
        """True if the tag had to be moved."""
        repository = artifact.image
        heads = await self._heads(repository, [tag, APPLIED_TAG])
        head = heads[tag]
        if isinstance(head, Found) and head.digest == manifest.digest:
            return False
        applied = await self._applied(repository, heads[APPLIED_TAG])
        await self._guard(artifact, tag, head, applied)
        await self.ports.publisher.publish(repository, manifest, tags=[tag])
        return True

    async def _guard(self, artifact: Artifact, tag: str, head: Sighting, applied: Applied | None) -> None:
        """Raises HeldBack if the tag must not be moved by this pass."""
        desired, where = self.desired, f"{artifact.image}:{tag}"
        if applied is not None and applied.fleet == desired.fleet.name and not self.allow_older:
            known = await self._descends(applied.history.revision)
            if applied.supersedes(desired.history, tag, known):
                raise HeldBack(_superseded(where, applied.history.revision))
        if not isinstance(head, Found):
            return
        if desired.fleet.policy.immutable(tag):
            raise HeldBack(_immutable(where))
        seen = self.observed.heads.get(Reference(artifact.image, tag))
        if isinstance(seen, Found) and seen.digest == head.digest:
            return
        last = applied.tags.get(tag) if applied is not None and applied.fleet == desired.fleet.name else None
        if last is None or last.digest != head.digest:
            await self._moved_meanwhile(artifact.image, tag, head.digest)

    async def _moved_meanwhile(self, repository: Repository, tag: str, digest: Digest) -> None:
        """Someone moved the tag while this pass ran, and no applied document tells who. Goes on only if it was a pass
        of this fleet for the same commit or an older one. Raises HeldBack."""
        image = (repository, digest)
        answers = await ask(Questions(records=frozenset({image})), self.ports.registry)
        records = [r for r in answers.records_of(*image) if r.fleet == self.desired.fleet.name]
        for record in records:
            newer = await self._descends(record.revision)
            if newer and not self.allow_older:
                raise HeldBack(_superseded(f"{repository}:{tag}", record.revision))
            if newer is False or self.allow_older:
                return
        raise HeldBack(_moved(f"{repository}:{tag}", digest))

    async def _descends(self, revision: str) -> bool | None:
        if revision == self.desired.revision:
            return False
        return await self.ports.source.descends(revision)

    async def _witness(self, artifact: Artifact, digest: Digest, moved: Sequence[str]) -> None:
        """Write into the applied document where these tags were moved."""
        repository, history = artifact.image, self.desired.history
        head = (await self._heads(repository, [APPLIED_TAG]))[APPLIED_TAG]
        before = await self._applied(repository, head)
        if before is None or before.fleet != self.desired.fleet.name:
            before = Applied(self.desired.fleet.name, history)
        entry = AppliedTag(digest, str(artifact.name), self.desired.revision, history.time)
        manifest, blobs = before.moved(history, dict.fromkeys(moved, entry)).packed()
        await self.ports.publisher.publish(repository, manifest, tags=[APPLIED_TAG], blobs=blobs)

    async def _applied(self, repository: Repository, head: Sighting) -> Applied | None:
        """The document that APPLIED_TAG names now; read once for each digest."""
        if not isinstance(head, Found):
            return None
        key = (repository, head.digest)
        if key not in self._documents:
            self._documents[key] = await read_applied(self.ports.registry, repository)
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


def _moved(where: str, digest: Digest) -> Problem:
    return Problem(
        "tag-moved-meanwhile",
        f"{where} was moved to {digest.short} by someone else while this pass ran",
        hint="run again: the next pass sees who it was, and does what the policy says",
        next=Next.RETRY,
    )
