"""One artifact's way through a pass: build or retag, in the order of pushing of design section 5."""

from __future__ import annotations

import time
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.apply.attesting import Recorded
from reconciler.apply.building import SECOND_TRY_SECONDS, Building
from reconciler.apply.caching import LOOK_SECONDS, Caches
from reconciler.apply.course import Course
from reconciler.apply.doubts import Doubts
from reconciler.apply.held import HeldBack
from reconciler.apply.hosts import freshness_of
from reconciler.apply.measuring import run_of
from reconciler.apply.mounts import RESTORE_SECONDS, SAVE_SECONDS, CacheMounts
from reconciler.apply.oom_kills import OomKills
from reconciler.apply.record import Facts, attach, carry_over, single_out
from reconciler.apply.send import Parcel, Sender
from reconciler.apply.settling import content_tags, platforms_in
from reconciler.apply.tries import FailureClass, OnRunner, Tries, failure_class
from reconciler.identity.resolve import Keyed, identify
from reconciler.model.attempt import Again
from reconciler.model.cache import Ci
from reconciler.model.event import Retrying, Started, Waiting
from reconciler.model.manifest import Descriptor, index
from reconciler.model.observed import Found
from reconciler.model.outcome import Result, Status
from reconciler.model.plan import Action
from reconciler.model.problem import LianError, Problem
from reconciler.model.run import newest
from reconciler.observe.ask import known_heads
from reconciler.observe.evidence import runs_of

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from reconciler.apply.attesting import Attester
    from reconciler.apply.places import Places
    from reconciler.apply.pool import Stay
    from reconciler.apply.runners import Runners
    from reconciler.apply.settling import Settler
    from reconciler.identity.resolve import Resolution
    from reconciler.model.desired import Materials, Wanted
    from reconciler.model.digest import Digest
    from reconciler.model.forecast import BuildForecast
    from reconciler.model.manifest import Manifest
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Observed
    from reconciler.model.platform import Platform
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Repository
    from reconciler.model.tier import Tier
    from reconciler.ports.bundle import Ports
    from reconciler.ports.compute import Runner
    from reconciler.sizing.sized import Sized


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
    _: KW_ONLY
    runners: Runners
    limits: Limits
    places: Places
    """How many artifacts may be worked on at a time, and which of them goes first."""
    settler: Settler
    attester: Attester
    observed: Observed
    sized: Sized
    """How large a runner each artifact gets that the plan may build."""
    forecasts: Mapping[ArtifactName, BuildForecast]
    shares: Mapping[ArtifactName, str]
    """With whom each of them shares it."""
    _senders: dict[str, Sender] = field(default_factory=dict)
    _doubts: Doubts = field(init=False)

    def __post_init__(self) -> None:
        self._doubts = Doubts(self.ports)

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

        A build that fails is a result too, with its seconds and its log; what a person has to see to is held. Raises
        LianError if none could be started. A place is held while the builder works, and free again while the registry
        is spoken to: for what stands on this one, if that is more urgent than what waits.
        """
        name = wanted.artifact.name
        tries = Tries(self.sized.ladder, self.sized.sizings[name].tier)
        foreseen = self.forecasts.get(name)
        expected = foreseen.time if foreseen else None
        course = Course(wanted, identity, parents, replaces, tries, self.shares[name], expected)
        await self.attester.prepare()
        try:
            if self.places.all_taken:
                self.ports.recorder.record(Waiting(name, "a free place"))
            async with self.places.of(name):
                manifests = await self._until_built(course)
                self.places.built(name)
            subject = await self._record(course, manifests)
            manifest = await self.ports.registry.manifest(wanted.artifact.image, subject.digest)
            manifest = await self.settler.settle(wanted.artifact, identity, manifest, left, replaces=replaces)
        except LianError as error:
            problem = error.problems[0].of(str(name))
            hold = isinstance(error, OnRunner) and failure_class(problem) is FailureClass.HOLD
            if isinstance(error, HeldBack) or not (hold or course.began or course.tries.failed):
                raise
            return replace(course.ended, status=Status.HELD if hold else Status.FAILED, problem=problem)
        finally:
            for share in course.apart:
                self.runners.done(share)
        return replace(
            course.ended, status=Status.DONE, digest=manifest.digest, platforms=platforms_in(identity, manifest)
        )

    async def _until_built(self, course: Course) -> dict[Platform, Descriptor]:
        """On one runner after another, as `tries` says. Raises LianError: of the last try, with what was tried."""
        name, tries = course.name, course.tries
        while True:
            began = time.monotonic()
            stay: Stay | None = None
            try:
                stay = await self._enter(course)
                return await self._once(course, stay)
            except OnRunner as error:
                problem = error.problems[0].of(str(name))
                spent = self.runners.spent(course.share)
                again = tries.after(problem, time.monotonic() - began, spent=spent)
                if failure_class(problem) is FailureClass.INFRASTRUCTURE:
                    self._doubts.suspect(course.wanted.artifact.image)
                    if not spent:
                        self._give_up(course.share, stay)
                if again is None:
                    raise OnRunner(tries.told(problem, spent=spent)) from error
            finally:
                if stay is not None:
                    self.runners.leave(stay)
            if again is not Again.NEW_RUNNER:
                course.share = self.runners.apart(course.share, f"{name} {tries.tier.words}")
                course.apart.append(course.share)
            self.ports.recorder.record(Retrying(name, tries.failed[-1], tries.tier))
            await self.ports.pause(tries.pause)

    def _give_up(self, share: str, stay: Stay | None) -> None:
        """Whoever comes next gets another runner than this one, or than the one that could not be had."""
        if stay is not None:
            self.runners.lose(stay)
        else:
            self.runners.renew(share)

    async def _enter(self, course: Course) -> Stay:
        """Raises OnRunner if no runner can be had, LianError if what is built could not be pushed."""
        await self._doubts.settle(course.wanted.artifact.image, course.identity.tag())
        self.ports.recorder.record(Waiting(course.name, "a runner"))
        self._make_log_folder()
        tier = course.tries.tier
        try:
            stay = await self.runners.enter(course.share, tier, self._budget(course.wanted, tier))
        except LianError as error:
            raise OnRunner(error.problems) from error
        self.ports.recorder.record(Started(course.name))
        return stay

    def _deadline(self, tier: Tier) -> float:
        """Of one solve."""
        return min(tier.time_budget * 60.0, self.limits.build_timeout or float("inf"))

    def _budget(self, wanted: Wanted, tier: Tier) -> float:
        """Seconds in which a try has ended, on a runner that is there."""
        platforms, checks = len(wanted.artifact.platforms), len(wanted.artifact.checks)
        solves = platforms * (1 + checks) * (self._deadline(tier) + SECOND_TRY_SECONDS)
        return solves + platforms * (LOOK_SECONDS + RESTORE_SECONDS + SAVE_SECONDS)

    async def _once(self, course: Course, stay: Stay) -> dict[Platform, Descriptor]:
        """One try, on this runner. Raises LianError; OnRunner for what another runner may do better."""
        began = self.ports.clock(), time.monotonic()
        course.began = course.began or began
        compute = self.ports.compute
        try:
            before = await compute.usage(stay.runner)
        except LianError as error:
            raise OnRunner(error.problems) from error
        oom_kills = OomKills(compute, stay, course.tries.tier, before.oom_kills or 0)
        work = course.work = self._building(course, stay, oom_kills)
        try:
            manifests = await work.run(course.parents, fresh=course.fresh)
        except OnRunner as error:
            raise await oom_kills.explain(error, work.last_log) from error
        except LianError:
            await oom_kills.leave()
            raise
        course.usage = await oom_kills.leave()
        course.run = run_of(work, began, before, course.usage, alone=stay.alone, expected=course.expected)
        return manifests

    def _building(self, course: Course, stay: Stay, oom_kills: OomKills) -> Building:
        runner = stay.runner
        artifact, tries, tier = course.wanted.artifact, course.tries, course.tries.tier
        desired = self.resolution.desired
        freshness = freshness_of(artifact, self.resolution)
        return Building(
            self.ports,
            self.resolution,
            attester=self.attester,
            wanted=course.wanted,
            materials=_materials(course.wanted),
            identity=course.identity,
            runner=runner,
            oom_kills=oom_kills,
            parcel=Parcel(self._sender(runner)),
            tier=tier,
            deadline=self._deadline(tier),
            caches=Caches(self.ports, desired, artifact, Ci(), freshness, tries.silent),
            mounts=CacheMounts(self.ports, desired, artifact, Ci(), runner, tier, freshness=freshness),
            turn=len(tries.failed) + 1,
            logs=course.logs,
        )

    async def _record(self, course: Course, manifests: Mapping[Platform, Descriptor]) -> Descriptor:
        """The image as a whole, put there by digest, with its record and what is signed. Raises LianError."""
        work, run = course.work, course.run
        assert work is not None and run is not None and course.began is not None
        wanted, desired = course.wanted, self.resolution.desired
        digests = {platform: descriptor.digest for platform, descriptor in manifests.items()}
        subject = await self._subject(wanted, manifests)
        facts = Facts(
            fleet=desired.fleet.name,
            revision=desired.revision,
            started=course.began[0],
            seconds=time.monotonic() - course.began[1],
            builder=work.runner.builder,
            tier=work.tier,
            builds=tuple(built for solves in work.solves.values() for built in solves),
            peak_memory=course.usage.peak_memory,
            logs=tuple(course.logs),
            caches=dict(work.caches.uses),
            runs=newest([run, *runs_of(wanted.artifact, desired, self.observed)]),
            tries=tuple(failed.kept for failed in course.tries.failed),
        )
        record = await attach(self.ports, wanted, course.identity, subject, digests, facts)
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


def _materials(wanted: Wanted) -> Materials:
    if wanted.materials is None:
        raise ValueError(f"{wanted.artifact.name} is held: it cannot be built")
    return wanted.materials
