"""The cache of one artifact's builds: looked at before a build, written by it, noted and told after it.

Nothing here fails a build: what goes wrong with a cache costs time, and is told. Which caches are read and written is
the rule's to say (reconciler.cache.rules); each is looked at before it is read, and read by the digest that was looked
at. What a slot held goes to `.previous` when something else takes its place, so that two branches that are built in
turns find their own (ADR 054).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.cache import notes, rules
from reconciler.cache.content import rfc3339
from reconciler.cache.home import place_of
from reconciler.cache.notes import Note
from reconciler.cache.vet import LIMIT, config_of, undescribed, unfit
from reconciler.finishing import all_of
from reconciler.model.cache import CacheMode
from reconciler.model.cache_use import CacheLook, CacheUse, LookStatus
from reconciler.model.observed import Found, Unknown
from reconciler.model.parts import below
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.builder import CACHE_BROKEN, CACHE_STALLED, CacheSource, CacheTarget
from reconciler.ports.publisher import WriteLayout
from reconciler.ports.registry import BLOB_UNKNOWN, MANIFEST_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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


LOOK_SECONDS = 60.0
KEEP_SECONDS = 120.0
"""However patient the registry's adapter is: a build does not wait longer for its cache before it, and after it."""


@dataclass(frozen=True, slots=True)
class Lookup:
    """What was found for one platform: what a build is given, and what is known of it."""

    looks: tuple[CacheLook, ...] = ()
    sources: tuple[CacheSource, ...] = ()
    target: CacheTarget | None = None
    """Where the build's own cache goes; None for one that keeps none, as that of a check."""
    found: tuple[Manifest, ...] = ()
    """What can be read, in the order in which it was looked at."""
    latest: Manifest | None = None
    """What lies where the build's own cache goes, if that is a cache."""
    own: Digest | None = None
    """What lies there, whatever it is."""
    previous: Digest | None = None
    """What lies beside it, likewise."""
    problem: Problem | None = None

    @property
    def broken(self) -> frozenset[Digest]:
        """What is not to be kept under any tag."""
        return frozenset(look.digest for look in self.looks if look.status is LookStatus.BROKEN and look.digest)

    def after(self, failure: Problem) -> Lookup:
        """For the second try of a build that failed for this: nothing is read again, for a cache may be what it failed
        on, and a cache that could not be written in time is not written."""
        if failure.code == CACHE_STALLED:
            return replace(self, sources=(), target=None, problem=failure)
        if failure.code != CACHE_BROKEN:
            return replace(self, sources=())
        guilty = self._with(failure.cause or "") or {manifest.digest for manifest in self.found}
        looks = tuple(_blamed(look, guilty, failure) for look in self.looks)
        return replace(self, looks=looks, sources=())

    def _with(self, text: str) -> set[Digest]:
        """Those that have a part which the text names."""
        return {one.digest for one in self.found if any(str(part.digest) in text for part in below(one).blobs)}


def _blamed(look: CacheLook, guilty: set[Digest], failure: Problem) -> CacheLook:
    """As it stands after a build has failed on one of those that it was given."""
    if look.status is not LookStatus.READ:
        return look
    if look.digest in guilty:
        return replace(look, status=LookStatus.BROKEN, cause=failure.cause)
    return replace(look, status=LookStatus.SET_ASIDE)


@dataclass(slots=True)
class Caches:
    """The caches of one artifact. `freshness` says how fresh its builds are asked to be; what was made otherwise is not
    read."""

    ports: Ports
    desired: Desired
    artifact: Artifact
    mode: BuildMode
    freshness: str = ""
    silent: Problem | None = None
    """Why none is read or written: a registry fell silent in the middle of one."""
    uses: dict[Platform, CacheUse] = field(default_factory=dict)
    """What became of each build so far."""
    _lookups: dict[Platform, Lookup] = field(default_factory=dict)
    _failures: list[Problem] = field(default_factory=list)
    """Of the registry, in what was asked of it for caches since `failures` was last called."""

    async def look(self, platform: Platform) -> Lookup:
        """What builds for this platform may read. Raises nothing but a cancellation."""
        if platform not in self._lookups:
            self._lookups[platform] = await self._look(platform)
        return self._lookups[platform]

    def looked(self, platform: Platform) -> CacheUse:
        """What is known of a build that has not ended."""
        lookup = self._lookups.get(platform, Lookup())
        return CacheUse(self.artifact.cache.mode, lookup.looks, problem=lookup.problem)

    async def look_and_keep(self, platform: Platform, scratch: Path) -> Lookup:
        """The same for a build that writes its cache too, by way of the folder `scratch`: one of a commit, for caches
        of CI hold nothing else."""
        lookup = await self.look(platform)
        if self.artifact.cache.mode is CacheMode.OFF or lookup.problem is not None or not self.desired.committed:
            return lookup
        place = self._at(self._own(platform))
        try:
            destination = self.ports.publisher.destination(place.repository, scratch)
        except LianError as error:
            return replace(lookup, problem=error.problems[0])
        return replace(lookup, target=CacheTarget(destination, place.tag or "", self.artifact.cache.mode))

    def failures(self) -> tuple[Problem, ...]:
        """What the registry has failed in since this was last asked."""
        found, self._failures = tuple(self._failures), []
        return found

    def refuse(self, platform: Platform, lookup: Lookup) -> None:
        """What a build failed on is given to no other."""
        self._lookups[platform] = replace(lookup, target=None, problem=None)

    async def keep(self, platform: Platform, lookup: Lookup, solves: Sequence[Built]) -> None:
        """After a build, the last of these solves: note what it wrote, and what the cache did for it; a step that ran
        for a check just before has run. Raises nothing but a cancellation."""
        built = solves[-1]
        known = {name: s for one in reversed(lookup.found) for name, s in notes.note_of(one).seconds.items()}
        use = CacheUse(
            self.artifact.cache.mode,
            lookup.looks,
            notes.tally(notes.as_first_met([solve.steps for solve in solves]), known),
            built.pulled,
            problem=lookup.problem,
        )
        self.uses[platform] = use
        if lookup.target is None:
            return
        try:
            async with asyncio.timeout(KEEP_SECONDS):
                self.uses[platform] = await self._written(lookup, self._own(platform), lookup.target, built, use)
        except TimeoutError:
            late = _not_written(f"the registry took more than {KEEP_SECONDS:g} s")
            self.uses[platform] = replace(use, problem=late)

    async def put_back(self, platform: Platform, lookup: Lookup) -> None:
        """After a build that was not good: what lay in its slot before, where BuildKit has written over it. Raises
        nothing but a cancellation: without a note of lian's nobody reads what lies there."""
        if lookup.target is None or lookup.latest is None:
            return
        try:
            async with asyncio.timeout(KEEP_SECONDS):
                await self._tagged(self._at(self._own(platform)), lookup.latest)
        except LianError as error:
            self._failures += error.problems
        except TimeoutError:
            return

    # -- before a build

    def _of(self, platform: Platform) -> tuple[str, str, Platform]:
        return self.artifact.name.workspace, self.artifact.name.artifact, platform

    def _own(self, platform: Platform) -> Slot:
        workspace, artifact, _ = self._of(platform)
        return rules.export(self.mode, workspace, self.artifact.cache.instead or artifact, platform)

    def _read(self, platform: Platform) -> list[Slot]:
        """What is looked at, the own first."""
        workspace, artifact, _ = self._of(platform)
        policy = self.artifact.cache
        others = (*((policy.instead,) if policy.instead else ()), *policy.beside)
        return [s for one in (artifact, *others) for s in rules.imports(self.mode, workspace, one, platform)]

    async def _look(self, platform: Platform) -> Lookup:
        if self.artifact.cache.mode is CacheMode.OFF:
            return Lookup()
        if self.silent is not None:
            return Lookup(problem=self.silent)
        try:
            references = list(dict.fromkeys(self._at(slot) for slot in self._read(platform)))
        except LianError as error:
            return Lookup(problem=error.problems[0])
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                return await self._looked(references, self._own(platform))
        except TimeoutError:
            cause = f"the registry did not answer within {LOOK_SECONDS:g} s"
            return Lookup(tuple(CacheLook(str(one), LookStatus.UNREADABLE, cause=cause) for one in references))

    def _at(self, slot: Slot) -> Reference:
        """Raises LianError."""
        return place_of(self.desired, self.artifact, slot)

    async def _looked(self, references: list[Reference], own: Slot) -> Lookup:
        heads = await self.ports.registry.heads(references)
        asked = _different(references, heads)
        looks, found = zip(*await all_of(self._one(each, heads[each]) for each in asked), strict=True)
        latest = dict(zip(asked, found, strict=True)).get(self._at(own))
        read = {
            manifest: CacheSource(manifest.digest, self.ports.publisher.origin(reference.repository))
            for reference, look, manifest in zip(asked, looks, found, strict=True)
            if manifest is not None and look.status is LookStatus.READ
        }
        at_own, beside = (_digest(heads.get(self._at(slot))) for slot in (own, rules.previous(own)))
        return Lookup(looks, tuple(read.values()), None, tuple(read), latest, at_own, beside)

    async def _one(self, reference: Reference, head: Sighting) -> tuple[CacheLook, Manifest | None]:
        """What lies there; the manifest of what is a cache, also of one that is not fresh enough."""
        name = str(reference)
        if isinstance(head, Unknown):
            self._failures.append(head.problem)
            return CacheLook(name, LookStatus.UNREADABLE, cause=head.problem.message), None
        if not isinstance(head, Found):
            return CacheLook(name, LookStatus.ABSENT), None
        try:
            manifest = await self.ports.registry.manifest(reference.repository, head.digest)
            if (wrong := unfit(manifest)) is None:  # BuildKit waits without end for what is not answered
                wrong = undescribed(await self.ports.registry.blob(reference.repository, config_of(manifest), LIMIT))
            lost = await self.ports.registry.missing(reference.repository, head.digest) if wrong is None else ()
        except LianError as error:
            first = error.problems[0]
            self._failures += error.problems
            status = {MANIFEST_UNKNOWN: LookStatus.ABSENT, BLOB_UNKNOWN: LookStatus.BROKEN}.get(
                first.code, LookStatus.UNREADABLE
            )
            return CacheLook(name, status, head.digest, first.message), None
        if wrong is not None:
            return CacheLook(name, wrong[0], head.digest, wrong[1]), None
        if lost:
            return CacheLook(name, LookStatus.BROKEN, head.digest, _lost(lost)), None
        if not notes.is_finished(manifest):
            return CacheLook(name, LookStatus.UNFINISHED, head.digest), None
        if notes.is_fresh(manifest, self.freshness):
            return CacheLook(name, LookStatus.READ, head.digest), manifest
        cause = "it was made before the artifact asked to be this fresh"
        return CacheLook(name, LookStatus.STALE, head.digest, cause), manifest

    # -- after it

    async def _written(self, lookup: Lookup, own: Slot, target: CacheTarget, built: Built, use: CacheUse) -> CacheUse:
        made, place = built.cache, self._at(own)
        if made.digest is None:
            return replace(use, problem=_not_written(made.failure)) if made.failure else use
        try:
            manifest = await self._taken_in(place, target, made.digest)
            if too_large := unfit(manifest):
                return replace(use, problem=_not_written(too_large[1]))
            left = await self._put(lookup, own, manifest, use)
            if isinstance(target.destination, WriteLayout):  # on disk nobody collects garbage
                for digest in left:
                    await self.ports.remover.delete(place.repository, digest)
        except LianError as error:
            self._failures += error.problems
            return replace(use, problem=_not_written(error.problems[0].message))
        return replace(use, written=str(place), pushed=_new_bytes(manifest, lookup.found))

    async def _taken_in(self, place: Reference, target: CacheTarget, digest: Digest) -> Manifest:
        """The cache as BuildKit left it: in the registry, or in a layout of its own. Raises LianError."""
        if isinstance(target.destination, WriteLayout):
            return await self.ports.publisher.take_in(place.repository, target.destination, digest)
        return await self.ports.registry.manifest(place.repository, digest)

    async def _put(self, lookup: Lookup, own: Slot, manifest: Manifest, use: CacheUse) -> set[Digest]:
        """Under its tag, with its note, and what was there before beside it, unless it is broken. Returns what no slot
        holds any more. Raises LianError."""
        place, noted = self._at(own), notes.noted(manifest, self._note(use))
        before = None if lookup.latest and lookup.latest.digest in lookup.broken else lookup.latest
        beside = self._beside(lookup, before, noted)
        if beside is not None:
            await self._tagged(self._at(rules.previous(own)), beside)
        await self._tagged(place, noted)
        held = {noted.digest, beside.digest if beside else lookup.previous}
        over = [lookup.own] if before or lookup.own in lookup.broken else []  # else it is nothing of ours
        return {one for one in (manifest.digest, lookup.previous, *over) if one} - held

    @staticmethod
    def _beside(lookup: Lookup, before: Manifest | None, noted: Manifest) -> Manifest | None:
        """What goes beside the new one; None if what lies there stays. What is broken does not: the new one stands
        there too, until there is another."""
        if before is not None and not notes.is_same(before, noted):
            return before
        return noted if lookup.previous in lookup.broken else None

    async def _tagged(self, place: Reference, manifest: Manifest) -> None:
        await self.ports.publisher.publish(place.repository, manifest, tags=[place.tag or ""])

    def _note(self, use: CacheUse) -> Note:
        created = rfc3339(float(int(self.ports.clock()))) or ""
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


def _different(references: Sequence[Reference], heads: Mapping[Reference, Sighting]) -> list[Reference]:
    """Without those that name the same as one before them."""
    named = {_digest(heads[one]) or one: one for one in reversed(references)}
    return [one for one in references if one in named.values()]


def _digest(head: Sighting | None) -> Digest | None:
    return head.digest if isinstance(head, Found) else None


def _lost(parts: tuple[Digest, ...]) -> str:
    more = f", and {len(parts) - 1} more" if len(parts) > 1 else ""
    return f"the registry does not have {parts[0]} any more{more}"


def _not_written(cause: str | None) -> Problem:
    hint = "the image is good, and the next build may take longer; see docs/cache.md"
    return Problem("cache-not-written", "the build's cache was not written", cause=cause, hint=hint, next=Next.RETRY)
