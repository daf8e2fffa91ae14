"""Moving tags. A registry has no compare-and-swap, so everything that speaks against a move is looked at again just
before it (design section 5, ADR 031 and 046)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.apply.held import HeldBack, immutable, moved_meanwhile, superseded
from reconciler.model.observed import Found
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference
from reconciler.observe.ask import known_heads, read_records

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from reconciler.apply.witness import Witness
    from reconciler.model.applied import Applied
    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest
    from reconciler.model.observed import Absent, Observed, Sighting
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Repository
    from reconciler.ports.bundle import Ports


@dataclass(slots=True)
class Tagger:
    """Moves the tags of one pass. One artifact of a repository at a time: their applied document is one."""

    ports: Ports
    desired: Desired
    observed: Observed
    witness: Witness
    _locks: dict[Repository, asyncio.Lock] = field(default_factory=dict)

    async def counting(self, artifact: Artifact, key: str, tag: str, manifest: Manifest, *, replaces: bool) -> Digest:
        """Which image is to stand under the tags, of all that were built from these inputs: one that a tag names which
        must not move; else the one under the content tag, if another pass was first; else this one. So passes on one
        commit do not undo one another. Raises LianError.

        `replaces`: what is there is not good, so it is this one, whatever is there.
        """
        if replaces:
            return manifest.digest
        fixed = [one for one in artifact.tags if self._fixed(one)]
        heads = await self._now(artifact.image, [tag, *fixed])
        content = head.digest if isinstance(head := heads[tag], Found) else manifest.digest
        for other in {head.digest for one in fixed if isinstance(head := heads[one], Found)} - {content}:
            if await self._records(artifact.image, other, key):
                return other
        return content

    async def content(self, repository: Repository, named: Mapping[str, Digest]) -> None:
        """Point content tags at what they stand for, in this order. Raises LianError."""
        heads = await self._now(repository, named)
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
            told = await self._announce(artifact, manifest, tags)
            try:
                for tag in tags:
                    if await self._move(artifact, tag, manifest, told=told):
                        moved.append(tag)
            finally:
                if moved:
                    await self.witness.testify(artifact, manifest.digest, moved)
        return tuple(moved)

    async def _announce(self, artifact: Artifact, manifest: Manifest, tags: Sequence[str]) -> bool:
        """Of tags that will be moved from where the plan saw them, the applied document tells where to beforehand. True
        if it had to be written."""
        seen = self.observed.named(artifact.image, tags)
        away = [tag for tag, digest in seen.items() if digest != manifest.digest and not self._fixed(tag)]
        if not away:
            return False
        document = self.witness.tag(artifact.image)
        heads = await self._now(artifact.image, [*away, document])
        targets = {tag: manifest.digest for tag in away if _names(heads[tag], seen[tag])}
        return await self.witness.announce(artifact.image, heads[document], targets)

    async def stand(self, repository: Repository, named: Mapping[str, Digest]) -> bool:
        """True if each of these tags names what it should, at one look. Raises LianError."""
        heads = await self._now(repository, named)
        return all(_names(heads[tag], digest) for tag, digest in named.items())

    def unless_stuck(self, artifact: Artifact, left: Collection[str]) -> None:
        """Before a build: raises HeldBack if one of its tags must never move and is there."""
        for tag in artifact.tags:
            there = isinstance(self.observed.heads.get(Reference(artifact.image, tag)), Found)
            if there and tag not in left and self._fixed(tag):
                raise HeldBack(immutable(f"{artifact.image}:{tag}"))

    async def _move(self, artifact: Artifact, tag: str, manifest: Manifest, *, told: bool) -> bool:
        """True if the tag had to be moved. `told`: our own writing may have cost the document another's word."""
        repository = artifact.image
        document = self.witness.tag(repository)
        heads = await self._now(repository, [tag, document])
        head = heads[tag]
        if _names(head, manifest.digest):
            return False
        applied = await self.witness.read(repository, heads[document])
        await self._guard(artifact, tag, head, applied, told=told)
        await self.ports.publisher.publish(repository, manifest, tags=[tag])
        return True

    async def _guard(
        self, artifact: Artifact, tag: str, head: Sighting, applied: Applied | None, *, told: bool
    ) -> None:
        """Raises HeldBack if the tag must not be moved by this pass."""
        where = f"{artifact.image}:{tag}"
        if applied is not None and (newer := await self.witness.newer(applied, tag)):
            raise HeldBack(superseded(where, newer))
        if not isinstance(head, Found):
            return
        if self._fixed(tag):
            raise HeldBack(immutable(where))
        if _names(self.observed.heads.get(Reference(artifact.image, tag)), head.digest):
            return
        last = applied.tags.get(tag) if applied is not None else None
        if last is None or last.digest != head.digest:
            await self._moved_meanwhile(artifact.image, tag, head.digest, told=told)

    async def _moved_meanwhile(self, repository: Repository, tag: str, digest: Digest, *, told: bool) -> None:
        """Someone moved the tag while this pass ran, and no applied document tells who. Goes on only if it was a pass
        of this fleet for the same commit or, if the document is sure to be whole, an older one: the image of an older
        commit may be what a newer one went back to. Raises HeldBack."""
        records = [r for r in await self._records(repository, digest) if r.fleet == self.desired.fleet.name]
        stands = {record.revision: await self.witness.descends(record.revision) for record in records}
        if self.witness.allow_older and records:
            return
        for revision in (revision for revision, newer in stands.items() if newer):
            raise HeldBack(superseded(f"{repository}:{tag}", revision))
        excused = self.desired.revision in stands if told else False in stands.values()
        if not excused:
            raise HeldBack(moved_meanwhile(f"{repository}:{tag}", digest))

    async def _records(self, repository: Repository, digest: Digest, key: str | None = None) -> tuple[BuildRecord, ...]:
        """The image's build records as of now, of one key if it is given; none if they cannot be read."""
        try:
            return await read_records(self.ports.registry, repository, digest, key)
        except LianError:
            return ()

    def _fixed(self, tag: str) -> bool:
        return self.desired.fleet.policy.immutable(tag)

    async def _now(self, repository: Repository, tags: Collection[str]) -> Mapping[str, Found | Absent]:
        """What these tags name right now. Raises LianError if one cannot be read."""
        return await known_heads(self.ports.registry, repository, tags)


def _names(head: Sighting | None, digest: Digest) -> bool:
    return isinstance(head, Found) and head.digest == digest
