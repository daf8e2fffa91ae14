"""One artifact's way through a pass: build or retag, in the order of pushing of design section 5."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.apply.attesting import Recorded
from reconciler.apply.building import Building
from reconciler.apply.caching import Caches
from reconciler.apply.held import HeldBack
from reconciler.apply.hosts import freshness_of, share_of
from reconciler.apply.mounts import CacheMounts
from reconciler.apply.record import Facts, attach, carry_over, single_out
from reconciler.apply.send import Sender
from reconciler.apply.settling import content_tags, platforms_in
from reconciler.identity.resolve import Keyed, identify
from reconciler.model.cache import Ci
from reconciler.model.event import Started, Waiting
from reconciler.model.manifest import Descriptor, index
from reconciler.model.observed import Found
from reconciler.model.outcome import Result, Status
from reconciler.model.plan import Action
from reconciler.model.problem import LianError, Problem
from reconciler.observe.ask import known_heads
from reconciler.ports.builder import CACHE_SILENT
from reconciler.sizing.choose import tier_for

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Mapping, Sequence

    from reconciler.apply.attesting import Attester
    from reconciler.apply.runners import Runners
    from reconciler.apply.settling import Settler
    from reconciler.identity.resolve import Resolution
    from reconciler.model.desired import Materials, Wanted
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest
    from reconciler.model.name import ArtifactName
    from reconciler.model.platform import Platform
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Repository
    from reconciler.ports.bundle import Ports
    from reconciler.ports.compute import Runner


@dataclass(frozen=True, slots=True)
class Limits:
    """What a person set for the pass: a cap in seconds on every build, None for the tier's own time budget; whether
    its commit may undo what a newer one applied."""

    build_timeout: float | None = None
    allow_older: bool = False


@dataclass(slots=True)
class Worker:
    """Carries out single changes. Shared by all artifacts of a pass."""

    ports: Ports
    resolution: Resolution
    runners: Runners
    limits: Limits
    places: asyncio.Semaphore
    """How many artifacts may be worked on at a time."""
    settler: Settler
    attester: Attester
    _senders: dict[str, Sender] = field(default_factory=dict)

    async def close(self) -> None:
        """End what is still being sent; called before the runners are returned."""
        for sender in self._senders.values():
            await sender.close()

    def identify(self, wanted: Wanted, parents: Mapping[tuple[ArtifactName, Platform], Digest]) -> Keyed:
        """The identity, now that all parents are known."""
        return identify(
            wanted,
            self.resolution.images,
            parents,
            builder=self.resolution.desired.fleet.builder,
            moment=self.resolution.moment,
        )

    async def converge(
        self,
        wanted: Wanted,
        identity: Keyed,
        digest: Digest,
        left: Collection[str] = (),
        source: Repository | None = None,
        known: Sequence[BuildRecord] = (),
    ) -> Result:
        """The content exists: point the tags that do not name it yet at it, but for those that are to be `left`.
        Builds nothing. `source` is another repository that the image is copied from first, `known` are records of what
        the tags named. Raises HeldBack, LianError.
        """
        name, start = wanted.artifact.name, time.monotonic()
        manifest = await self._brought(wanted, identity, source, digest)
        platforms = platforms_in(identity, manifest)
        tags = [tag for tag in wanted.artifact.tags if tag not in left]
        heads = await known_heads(self.ports.registry, wanted.artifact.image, (*content_tags(identity), *tags))
        named = {identity.tag(): digest, **dict.fromkeys(tags, digest)}
        named |= {identity.tag(platform): one for platform, one in platforms.items()}
        away = [tag for tag, one in named.items() if not isinstance(head := heads[tag], Found) or head.digest != one]
        if not away and source is None:
            return Result(name, Action.NONE, Status.NONE, digest, time.monotonic() - start, platforms=platforms)
        self.ports.recorder.record(Started(name))
        if len(identity.keys) == 1:
            fleet = self.resolution.desired.fleet.name
            await single_out(self.ports, wanted.artifact, fleet, identity.key, manifest, known)
        manifest = await self.settler.settle(wanted.artifact, identity, manifest, left)
        digest, platforms = manifest.digest, platforms_in(identity, manifest)
        return Result(name, Action.RETAG, Status.DONE, digest, time.monotonic() - start, platforms=platforms)

    async def _brought(self, wanted: Wanted, identity: Keyed, source: Repository | None, digest: Digest) -> Manifest:
        """The image's manifest. If it stands in `source`, it is copied from there, with its record and what the fleet's
        own key has said of it."""
        image = wanted.artifact.image
        if source is None:
            return await self.ports.registry.manifest(image, digest)
        manifest = await self.ports.publisher.copy(source, image, digest)
        fleet = self.resolution.desired.fleet.name
        await carry_over(self.ports, source, wanted.artifact, fleet, identity.key, manifest)
        digests = dict.fromkeys((*platforms_in(identity, manifest).values(), manifest.digest))
        await self.attester.carry_over(source, image, digests)
        return manifest

    async def build(
        self,
        wanted: Wanted,
        identity: Keyed,
        parents: Mapping[tuple[ArtifactName, Platform], Digest],
        left: Collection[str] = (),
        *,
        replaces: bool = False,
    ) -> Result:
        """Build what is missing, push by digest, read back, record, then move the tags, but for those to be `left`.
        `replaces`: what is there is not good, so all of it is built.

        A build that fails is a result too, with its seconds and its log. Raises LianError if none could be started.
        A place is held while the builder works, and free again while the registry is spoken to.
        """
        work: Building | None = None
        start = time.monotonic()
        await self.attester.prepare()
        try:
            if self.places.locked():
                self.ports.recorder.record(Waiting(wanted.artifact.name, "a free place"))
            async with self.places:
                work = await self._begin(wanted, identity)
                started, start = self.ports.clock(), time.monotonic()
                try:
                    manifests = await work.run(parents, fresh=replaces)
                except LianError as error:
                    if error.problems[0].code != CACHE_SILENT:
                        raise
                    self.runners.lose(self._share(wanted), work.runner)
                    work = await self._begin(wanted, identity, silent=error.problems[0])
                    manifests = await work.run(parents, fresh=replaces)
            subject = await self._record(work, manifests, started, time.monotonic() - start)
            manifest = await self.ports.registry.manifest(wanted.artifact.image, subject.digest)
            manifest = await self.settler.settle(wanted.artifact, identity, manifest, left, replaces=replaces)
        except LianError as error:
            if work is None or isinstance(error, HeldBack):
                raise
            problem = error.problems[0].of(str(wanted.artifact.name))
            return replace(_ended(work, start), problem=problem)
        return replace(
            _ended(work, start), status=Status.DONE, digest=manifest.digest, platforms=platforms_in(identity, manifest)
        )

    def _share(self, wanted: Wanted) -> str:
        return share_of(wanted.artifact.name, self.resolution.desired, self.resolution.moment)

    async def _begin(self, wanted: Wanted, identity: Keyed, *, silent: Problem | None = None) -> Building:
        """A build on its runner; without caches if one was `silent`. Raises LianError if none can be had."""
        artifact, materials = wanted.artifact, _materials(wanted)
        tier = tier_for(artifact)
        deadline = min(tier.time_budget * 60.0, self.limits.build_timeout or float("inf"))
        self.ports.recorder.record(Waiting(artifact.name, "a runner"))
        self._make_log_folder()
        desired, moment = self.resolution.desired, self.resolution.moment
        runner = await self.runners.runner(self._share(wanted), tier, deadline)
        self.ports.recorder.record(Started(artifact.name))
        sender = self._sender(runner)
        freshness = freshness_of(artifact, desired, moment)
        caches = Caches(self.ports, desired, artifact, Ci(), freshness, silent)
        mounts = CacheMounts(self.ports, desired, artifact, Ci(), runner, tier, freshness=freshness)
        return Building(
            self.ports,
            self.resolution,
            self.attester,
            wanted,
            materials,
            identity,
            runner,
            sender,
            deadline,
            caches,
            mounts,
        )

    async def _record(
        self, work: Building, manifests: Mapping[Platform, Descriptor], started: float, seconds: float
    ) -> Descriptor:
        """The image as a whole, put there by digest, with its record and what is signed. Raises LianError."""
        wanted, runner = work.wanted, work.runner
        digests = {platform: descriptor.digest for platform, descriptor in manifests.items()}
        subject = await self._subject(wanted, manifests)
        facts = Facts(
            fleet=self.resolution.desired.fleet.name,
            revision=self.resolution.desired.revision,
            started=started,
            seconds=seconds,
            builder=runner.builder,
            tier=tier_for(wanted.artifact),
            builds=tuple(built for solves in work.solves.values() for built in solves),
            peak_memory=await self.ports.compute.peak_memory(runner),
            logs=tuple(work.logs),
            caches=dict(work.caches.uses),
        )
        record = await attach(self.ports, wanted, work.identity, subject, digests, facts)
        image = Recorded(subject, tuple(manifests.values()), record, work.sboms)
        await self.attester.attest(wanted.artifact.image, image)
        return subject

    def _make_log_folder(self) -> None:
        try:
            self.ports.logs.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"the folder {self.ports.logs} for build logs cannot be made"
            hint = "give --cache a folder that can be written to"
            raise LianError(Problem("cache-unusable", message, cause=error.strerror, hint=hint)) from error

    async def _subject(self, wanted: Wanted, manifests: Mapping[Platform, Descriptor]) -> Descriptor:
        """The image as a whole: the one manifest, or an index of several, put there by digest."""
        if len(manifests) == 1:
            return next(iter(manifests.values()))
        return await self.ports.publisher.publish(wanted.artifact.image, index(manifests))

    def _sender(self, runner: Runner) -> Sender:
        if runner.lease not in self._senders:
            self._senders[runner.lease] = Sender(self.ports.source, runner.scratch)
        return self._senders[runner.lease]


def _ended(work: Building, start: float) -> Result:
    """A build that has failed so far."""
    seconds = time.monotonic() - start
    name = work.wanted.artifact.name
    return Result(name, Action.BUILD, Status.FAILED, seconds=seconds, log=work.last_log, caches=work.used)


def _materials(wanted: Wanted) -> Materials:
    if wanted.materials is None:
        raise ValueError(f"{wanted.artifact.name} is held: it cannot be built")
    return wanted.materials
