"""The cache of one artifact's builds: looked at before a build, written by it, noted and told after it.

Nothing here fails a build: what goes wrong with a cache costs time, and is told. Which caches are read and written is
the rule's to say (reconciler.cache.rules); each is looked at before it is read, and read by the digest that was looked
at. What a slot held goes to `.previous` when something else takes its place, so that two branches that are built in
turns find their own (ADR 054).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.cache import notes, rules
from reconciler.cache.home import cache_layout
from reconciler.cache.notes import Note
from reconciler.cache.vet import unfit
from reconciler.model.cache import CacheMode
from reconciler.model.cache_use import CacheLook, CacheUse, LookStatus
from reconciler.model.observed import Found, Unknown
from reconciler.model.parts import below
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.builder import CACHE_BROKEN, CACHE_STALLED, CacheSource, CacheTarget
from reconciler.ports.publisher import WriteLayout
from reconciler.ports.registry import GONE

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.cache.rules import Slot
    from reconciler.model.artifact import Artifact
    from reconciler.model.cache import BuildMode
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest
    from reconciler.model.observed import Sighting
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Reference
    from reconciler.ports.builder import Built
    from reconciler.ports.bundle import Ports


@dataclass(frozen=True, slots=True)
class Lookup:
    """What was found for one platform: what the build is given, and what is known of it."""

    looks: tuple[CacheLook, ...] = ()
    sources: tuple[CacheSource, ...] = ()
    target: CacheTarget | None = None
    place: Reference | None = None
    """Where the build's own cache goes, None if it keeps none."""
    found: tuple[Manifest, ...] = ()
    """What can be read, in the order in which it was looked at."""
    latest: Manifest | None = None
    """What lies at `place`, if that is a cache."""
    previous: Digest | None = None
    """What lies beside it, whatever it is."""
    problem: Problem | None = None

    def after(self, failure: Problem) -> Lookup:
        """For the second try of a build that failed for this: nothing is read again, for a cache may be what it failed
        on, and a cache that could not be written in time is not written."""
        if failure.code == CACHE_STALLED:
            return replace(self, sources=(), target=None, problem=failure)
        if failure.code != CACHE_BROKEN:
            return replace(self, sources=())
        looks = tuple(
            replace(look, status=LookStatus.BROKEN, cause=failure.cause) if look.status is LookStatus.READ else look
            for look in self.looks
        )
        return replace(self, looks=looks, sources=(), latest=None)


@dataclass(slots=True)
class Caches:
    """The caches of one artifact. `freshness` says how fresh its builds are asked to be; what was made otherwise is not
    read."""

    ports: Ports
    desired: Desired
    artifact: Artifact
    mode: BuildMode
    freshness: str = ""
    uses: dict[Platform, CacheUse] = field(default_factory=dict)
    """What became of each build so far."""

    async def look(self, platform: Platform, scratch: Path) -> Lookup:
        """What a build for this platform may read, and where it writes. Raises nothing but a cancellation."""
        if self.artifact.cache.mode is CacheMode.OFF:
            return Lookup()
        try:
            slots = {slot: self._at(slot) for slot in self._imports(platform)}
            place = self._at(rules.export(self.mode, *self._of(platform)))
            target = CacheTarget(
                self.ports.publisher.destination(place.repository, scratch), place.tag or "", self.artifact.cache.mode
            )
        except ValueError as error:
            return Lookup(problem=_unusable(str(error)))
        except LianError as error:
            return Lookup(problem=error.problems[0])
        return await self._looked(list(slots.values()), place, target)

    async def keep(self, platform: Platform, lookup: Lookup, built: Built) -> None:
        """After a build: note what it wrote, and what the cache did for it. Raises nothing but a cancellation."""
        known = {name: s for one in reversed(lookup.found) for name, s in notes.note_of(one).seconds.items()}
        use = CacheUse(
            self.artifact.cache.mode,
            lookup.looks,
            notes.tally(built.steps, known),
            built.pulled,
            problem=lookup.problem,
        )
        if lookup.target is not None and lookup.place is not None:
            use = await self._written(lookup, lookup.place, lookup.target, built, use)
        self.uses[platform] = use

    # -- before a build

    def _of(self, platform: Platform) -> tuple[str, str, Platform]:
        return self.artifact.name.workspace, self.artifact.name.artifact, platform

    def _imports(self, platform: Platform) -> tuple[Slot, ...]:
        return rules.imports(self.mode, *self._of(platform))

    def _at(self, slot: Slot) -> Reference:
        """Raises ValueError."""
        host = self.artifact.cache_host
        return slot.at(host, cache_layout(self.desired, host))

    async def _looked(self, references: list[Reference], place: Reference, target: CacheTarget) -> Lookup:
        heads = await self.ports.registry.heads(references)
        looks: list[CacheLook] = []
        manifests: dict[Digest, Manifest] = {}
        sources: dict[Digest, CacheSource] = {}
        latest: Manifest | None = None
        for reference in references:
            digest = head.digest if isinstance(head := heads[reference], Found) else None
            if digest in sources:
                continue  # the same as another
            look, manifest = await self._one(reference, head)
            looks.append(look)
            if manifest is None or digest is None:
                continue
            latest = manifest if reference == place else latest
            if look.status is LookStatus.READ:
                manifests[digest] = manifest
                sources[digest] = CacheSource(digest, self.ports.publisher.origin(reference.repository))
        beside = heads.get(replace(place, tag=f"{place.tag}{rules.Generation.PREVIOUS}"))
        previous = beside.digest if isinstance(beside, Found) else None
        return Lookup(tuple(looks), tuple(sources.values()), target, place, tuple(manifests.values()), latest, previous)

    async def _one(self, reference: Reference, head: Sighting) -> tuple[CacheLook, Manifest | None]:
        """What lies there; the manifest of what is a cache, also of one that is not fresh enough."""
        name = str(reference)
        if not isinstance(head, Found):
            status = LookStatus.UNREADABLE if isinstance(head, Unknown) else LookStatus.ABSENT
            return CacheLook(name, status, cause=head.problem.message if isinstance(head, Unknown) else None), None
        try:
            manifest = await self.ports.registry.manifest(reference.repository, head.digest)
            wrong = unfit(manifest)
        except LianError as error:
            first = error.problems[0]
            status = LookStatus.ABSENT if first.code in GONE else LookStatus.UNREADABLE
            return CacheLook(name, status, head.digest, first.message), None
        if wrong is not None:
            return CacheLook(name, wrong[0], head.digest, wrong[1]), None
        if not self.freshness or notes.note_of(manifest).freshness == self.freshness:
            return CacheLook(name, LookStatus.READ, head.digest), manifest
        cause = "it was made before the artifact asked to be this fresh"
        return CacheLook(name, LookStatus.STALE, head.digest, cause), manifest

    # -- after it

    async def _written(
        self, lookup: Lookup, place: Reference, target: CacheTarget, built: Built, use: CacheUse
    ) -> CacheUse:
        made = built.cache
        if made.digest is None:
            return replace(use, problem=_not_written(made.failure)) if made.failure else use
        try:
            manifest = await self._taken_in(place, target, made.digest)
            if too_large := unfit(manifest):
                return replace(use, problem=_not_written(too_large[1]))
            left = await self._put(lookup, place, manifest, use)
            if isinstance(target.destination, WriteLayout):  # on disk nobody collects garbage
                for digest in left:
                    await self.ports.remover.delete(place.repository, digest)
        except LianError as error:
            return replace(use, problem=_not_written(error.problems[0].message))
        return replace(use, written=str(place), pushed=_new_bytes(manifest, lookup.found))

    async def _taken_in(self, place: Reference, target: CacheTarget, digest: Digest) -> Manifest:
        """The cache as BuildKit left it: in the registry, or in a layout of its own. Raises LianError."""
        if isinstance(target.destination, WriteLayout):
            return await self.ports.publisher.take_in(place.repository, target.destination, digest)
        return await self.ports.registry.manifest(place.repository, digest)

    async def _put(self, lookup: Lookup, place: Reference, manifest: Manifest, use: CacheUse) -> set[Digest]:
        """Under its tag, with its note, and what was there before beside it. Returns what no slot holds any more.
        Raises LianError."""
        publisher, tag = self.ports.publisher, place.tag or ""
        noted, before, previous = notes.noted(manifest, self._note(use)), lookup.latest, lookup.previous
        left = {manifest.digest}
        if before is not None and notes.is_same(before, manifest):
            left.add(before.digest)
        elif before is not None:
            await publisher.publish(place.repository, before, tags=[f"{tag}{rules.Generation.PREVIOUS}"])
            left |= {previous} if previous else set()
            previous = before.digest
        await publisher.publish(place.repository, noted, tags=[tag])
        return left - {noted.digest, previous}

    def _note(self, use: CacheUse) -> Note:
        created = datetime.fromtimestamp(self.ports.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return Note(
            str(self.artifact.name),
            self.desired.fleet.name,
            self.desired.revision,
            created,
            self.freshness,
            notes.seconds_of(use.steps),
        )


def _new_bytes(manifest: Manifest, known: tuple[Manifest, ...]) -> int:
    """Of what the cache is made of and those that were read are not."""
    there = {part.digest for one in known for part in below(one).blobs}
    sizes = {part.digest: part.size for part in below(manifest).blobs}
    return sum(size for digest, size in sizes.items() if digest not in there)


def _not_written(cause: str | None) -> Problem:
    hint = "the image is good, and the next build may take longer; see docs/cache.md"
    return Problem("cache-not-written", "the build's cache was not written", cause=cause, hint=hint, next=Next.RETRY)


def _unusable(cause: str) -> Problem:
    hint = "give the artifact, its workspace or `cache_prefix` a shorter or plainer name"
    return Problem("cache-name", "the artifact can have no cache in this registry", cause=cause, hint=hint)
