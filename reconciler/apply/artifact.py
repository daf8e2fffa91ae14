"""One artifact's way through a pass: build or retag, in the order of pushing of design section 5."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.apply.record import Facts, attach
from reconciler.apply.send import Sender, contexts
from reconciler.identity.resolve import Keyed, identify, missing_base
from reconciler.model.artifact import BaseImage, ParentImage
from reconciler.model.event import Started, Step, Waiting
from reconciler.model.manifest import Descriptor, index, platforms_of
from reconciler.model.observed import Absent, Found, Unknown
from reconciler.model.outcome import Result, Status
from reconciler.model.plan import Action
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.reference import Reference
from reconciler.ports.builder import BuildRequest
from reconciler.sizing.choose import tier_for

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from reconciler.apply.runners import Runners
    from reconciler.identity.inputs import Inputs
    from reconciler.identity.resolve import Resolution
    from reconciler.model.desired import Materials, Needs, Wanted
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Sighting
    from reconciler.model.platform import Platform
    from reconciler.ports.builder import Built, StepSeen
    from reconciler.ports.bundle import Ports
    from reconciler.ports.compute import Runner
    from reconciler.ports.registry import Destination


@dataclass(frozen=True, slots=True)
class Limits:
    """What a person set for the pass: a cap in seconds on every build, None for the tier's own time budget."""

    build_timeout: float | None = None


@dataclass(slots=True)
class Worker:
    """Carries out single changes. Shared by all artifacts of a pass."""

    ports: Ports
    resolution: Resolution
    runners: Runners
    limits: Limits
    places: asyncio.Semaphore
    """How many artifacts may be worked on at a time."""
    _senders: dict[str, Sender] = field(default_factory=dict)

    async def close(self) -> None:
        """End what is still being sent; called before the runners are returned."""
        for sender in self._senders.values():
            await sender.close()

    async def heads(self, wanted: Wanted, tags: tuple[str, ...]) -> dict[str, Sighting]:
        """What these tags name right now. Raises LianError if one cannot be read: unknown is never absent."""
        references = {tag: Reference(wanted.artifact.image, tag) for tag in tags}
        answers = await self.ports.registry.heads(references.values())
        heads = {tag: answers[reference] for tag, reference in references.items()}
        for head in heads.values():
            if isinstance(head, Unknown):
                raise LianError(head.problem)
        return heads

    async def digests(self, references: Iterable[Reference]) -> dict[Reference, Digest]:
        """The digests of images, pinned ones as they are. Raises LianError for one that is not there or unreadable."""
        wanted = set(references)
        known = {ref: ref.digest for ref in wanted if ref.digest} | {
            ref: self.resolution.images[ref] for ref in wanted if ref in self.resolution.images
        }
        heads = await self.ports.registry.heads(wanted - known.keys())
        for reference, head in heads.items():
            match head:
                case Found(digest):
                    known[reference] = digest
                case Unknown(problem):
                    raise LianError(problem)
                case Absent():
                    raise LianError(missing_base(reference))
        return known

    def identify(self, wanted: Wanted, parents: Mapping[tuple[ArtifactName, Platform], Digest]) -> Keyed:
        """The identity, now that all parents are known."""
        return identify(
            wanted,
            self.resolution.images,
            parents,
            builder=self.resolution.desired.fleet.builder,
            moment=self.resolution.moment,
        )

    async def converge(self, wanted: Wanted, identity: Keyed, digest: Digest) -> Result:
        """The content exists: point the tags that do not name it yet at it. Builds nothing."""
        name, start = wanted.artifact.name, time.monotonic()
        tags = (identity.tag(), *wanted.artifact.tags)
        heads = await self.heads(wanted, tags)
        moves = [tag for tag in tags if not isinstance(h := heads[tag], Found) or h.digest != digest]
        platforms, lost = await self._platforms(wanted, identity, digest)
        if not moves and not lost:
            return Result(name, Action.NONE, Status.NONE, digest, time.monotonic() - start, platforms=platforms)
        self.ports.recorder.record(Started(name))
        for platform in lost:
            manifest = await self.ports.registry.manifest(wanted.artifact.image, platforms[platform])
            await self.ports.publisher.publish(wanted.artifact.image, manifest, tags=[identity.tag(platform)])
        manifest = await self.ports.registry.manifest(wanted.artifact.image, digest)
        await self.ports.publisher.publish(wanted.artifact.image, manifest, tags=moves)
        return Result(name, Action.RETAG, Status.DONE, digest, time.monotonic() - start, platforms=platforms)

    async def _platforms(
        self, wanted: Wanted, identity: Keyed, digest: Digest
    ) -> tuple[dict[Platform, Digest], tuple[Platform, ...]]:
        """Each platform's manifest of an image that exists, and the platforms whose content tag was lost."""
        if len(identity.keys) == 1:
            return dict.fromkeys(identity.keys, digest), ()
        tags = {platform: identity.tag(platform) for platform in identity.keys}
        heads = await self.heads(wanted, tuple(tags.values()))
        found = {p: head.digest for p, tag in tags.items() if isinstance(head := heads[tag], Found)}
        lost = tuple(platform for platform in tags if platform not in found)
        if lost:
            whole = await self.ports.registry.manifest(wanted.artifact.image, digest)
            try:
                found |= {platform: platforms_of(whole)[platform] for platform in lost}
            except (ValueError, KeyError) as error:
                raise LianError(_broken(digest, error)) from error
        return found, lost

    async def build(
        self, wanted: Wanted, identity: Keyed, parents: Mapping[tuple[ArtifactName, Platform], Digest]
    ) -> Result:
        """Build what is missing, push by digest, read back, record, then move the tags.

        A build that fails is a result too, with its seconds and its log. Raises LianError if none could be started.
        A place is held while the builder works, and free again while the registry is spoken to.
        """
        work: _Build | None = None
        start = time.monotonic()
        try:
            if self.places.locked():
                self.ports.recorder.record(Waiting(wanted.artifact.name, "a free place"))
            async with self.places:
                work = await self._begin(wanted, identity)
                started, start = self.ports.clock(), time.monotonic()
                await work.checks(parents)
                manifests = await work.platforms()
            subject = await self._finish(work, manifests, started, time.monotonic() - start)
        except LianError as error:
            if work is None:
                raise
            problem = error.problems[0].of(str(wanted.artifact.name))
            seconds = time.monotonic() - start
            return Result(wanted.artifact.name, Action.BUILD, Status.FAILED, None, seconds, problem, log=work.last_log)
        digests = {platform: descriptor.digest for platform, descriptor in manifests.items()}
        seconds, name = time.monotonic() - start, wanted.artifact.name
        return Result(name, Action.BUILD, Status.DONE, subject.digest, seconds, platforms=digests, log=work.last_log)

    async def _begin(self, wanted: Wanted, identity: Keyed) -> _Build:
        """A build on its runner. Raises LianError if none can be had."""
        artifact, materials = wanted.artifact, _materials(wanted)
        tier = tier_for(artifact)
        deadline = min(tier.time_budget * 60.0, self.limits.build_timeout or float("inf"))
        self.ports.recorder.record(Waiting(artifact.name, "a runner"))
        self._make_log_folder()
        runner = await self.runners.runner(artifact.name.workspace, tier, deadline)
        self.ports.recorder.record(Started(artifact.name))
        return _Build(self, wanted, materials, identity, runner, self._sender(runner), deadline)

    async def _finish(
        self, work: _Build, manifests: Mapping[Platform, Descriptor], started: float, seconds: float
    ) -> Descriptor:
        """Record, then tags, in the order of design section 5; the image as a whole. Raises LianError."""
        wanted, identity, runner = work.wanted, work.identity, work.runner
        digests = {platform: descriptor.digest for platform, descriptor in manifests.items()}
        subject = await self._subject(wanted, manifests)
        peak = await self.ports.compute.peak_memory(runner)
        tier = tier_for(wanted.artifact)
        facts = Facts(self.resolution.desired.revision, started, seconds, runner.builder, tier, tuple(work.built), peak)
        await attach(self.ports.publisher, self.ports.source, wanted, identity, subject, digests, facts)
        await self._tag(wanted, identity, subject, manifests)
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

    async def _tag(
        self, wanted: Wanted, identity: Keyed, subject: Descriptor, manifests: Mapping[Platform, Descriptor]
    ) -> None:
        repository, registry = wanted.artifact.image, self.ports.registry
        if len(manifests) > 1:
            for platform, descriptor in manifests.items():
                manifest = await registry.manifest(repository, descriptor.digest)
                await self.ports.publisher.publish(repository, manifest, tags=[identity.tag(platform)])
        manifest = await registry.manifest(repository, subject.digest)
        await self.ports.publisher.publish(repository, manifest, tags=[identity.tag(), *wanted.artifact.tags])

    def _sender(self, runner: Runner) -> Sender:
        if runner.lease not in self._senders:
            self._senders[runner.lease] = Sender(self.ports.source, runner.scratch)
        return self._senders[runner.lease]


@dataclass(slots=True)
class _Build:
    """One artifact on one runner."""

    worker: Worker
    wanted: Wanted
    materials: Materials
    identity: Keyed
    runner: Runner
    sender: Sender
    deadline: float
    built: list[Built] = field(default_factory=list)
    last_log: str | None = None
    """Of the solve that ran last: the one that failed, if one did."""

    def log(self, platform: Platform, target: str | None = None) -> Path:
        name = self.wanted.artifact.name
        parts = [name.workspace, name.artifact, str(platform).replace("/", "-"), *([target] if target else [])]
        return self.worker.ports.logs / ("_".join(parts) + ".log")

    async def checks(self, parents: Mapping[tuple[ArtifactName, Platform], Digest]) -> None:
        """Build every check target; the first that fails fails the artifact before anything is pushed."""
        for platform in self.wanted.artifact.platforms if self.wanted.artifact.checks else ():
            needs = self.materials.check_needs[platform]
            inputs = await self._check_inputs(needs, platform, parents)
            for target in self.wanted.artifact.checks:
                await self._run(await self._request(platform, needs, inputs, None, target, self.log(platform, target)))

    async def _check_inputs(
        self, needs: Needs, platform: Platform, parents: Mapping[tuple[ArtifactName, Platform], Digest]
    ) -> Inputs:
        """Digests of what only the checks need: pinned like everything else, though part of no key."""
        artifact = self.wanted.artifact
        images = dict(needs.images)
        contexts: dict[str, dict[str, str]] = {}
        for name in needs.contexts:
            context = artifact.contexts[name]
            if isinstance(context, BaseImage):
                images[name] = context.reference
            elif isinstance(context, ParentImage):
                contexts[name] = {"image": str(parents[context.artifact, platform])}
        digests = await self.worker.digests(images.values())
        for name in needs.contexts:
            if name in images:
                contexts[name] = {"image": str(digests[images[name]])}
        return {"contexts": contexts, "bases": {written: str(digests[ref]) for written, ref in needs.images.items()}}

    async def platforms(self) -> dict[Platform, Descriptor]:
        """Every platform's manifest: those whose content tag exists are taken, the others are built."""
        artifact = self.wanted.artifact
        present: dict[Platform, Descriptor] = {}
        if len(artifact.platforms) > 1:
            tags = {platform: self.identity.tag(platform) for platform in artifact.platforms}
            heads = await self.worker.heads(self.wanted, tuple(tags.values()))
            for platform, tag in tags.items():
                if isinstance(head := heads[tag], Found):
                    present[platform] = Descriptor(head.media_type, head.digest, head.size)
        return {platform: present.get(platform) or await self._platform(platform) for platform in artifact.platforms}

    async def _platform(self, platform: Platform) -> Descriptor:
        """Build one platform, bring it into the repository by digest, and read it back."""
        artifact, publisher = self.wanted.artifact, self.worker.ports.publisher
        log = self.log(platform)
        scratch = self.runner.scratch / "out" / log.stem
        scratch.mkdir(parents=True, exist_ok=True)
        destination = publisher.destination(artifact.image, scratch)
        needs, inputs = self.materials.needs[platform], self.identity.inputs[platform]
        built = await self._run(await self._request(platform, needs, inputs, destination, artifact.target, log))
        if built.digest is None:
            problem = Problem("digest-missing", "BuildKit reported success without a digest", next=Next.BUG)
            raise LianError(problem.of(str(artifact.name)))
        manifest = await publisher.take_in(artifact.image, destination, built.digest)
        return Descriptor.of(manifest.media_type, manifest.data)

    async def _request(
        self,
        platform: Platform,
        needs: Needs,
        inputs: Inputs,
        destination: Destination | None,
        target: str | None,
        log: Path,
    ) -> BuildRequest:
        artifact, desired = self.wanted.artifact, self.worker.resolution.desired
        publisher = self.worker.ports.publisher
        return BuildRequest(
            artifact=str(artifact.name),
            platform=platform,
            context=await self.sender.folder(self.materials.context),
            dockerfile=await self.sender.dockerfile(self.materials),
            log=log,
            tier=tier_for(artifact),
            destination=destination,
            target=target,
            args=artifact.args,
            labels=artifact.labels,
            contexts=await contexts(self.wanted, needs, inputs, self.sender, publisher, desired),
            source_date_epoch=artifact.source_date_epoch,
            deadline=self.deadline,
        )

    async def _run(self, request: BuildRequest) -> Built:
        self.last_log = str(request.log)
        try:
            built = await self.worker.ports.builder.build(self.runner, request, self._seen)
        except LianError as error:
            raise LianError(self._in_repo(p) for p in error.problems) from error
        self.built.append(built)
        return built

    def _in_repo(self, problem: Problem) -> Problem:
        """The builder names the Dockerfile as it was handed over; a person knows it by its path in the repo."""
        known = problem.file == self.materials.dockerfile_path.rpartition("/")[2]
        return replace(problem, file=self.materials.dockerfile_path) if known else problem

    def _seen(self, step: StepSeen) -> None:
        self.worker.ports.recorder.record(Step(self.wanted.artifact.name, step.name, step.done, step.cached))


def _broken(digest: Digest, error: Exception) -> Problem:
    return Problem(
        "index-broken",
        f"the image {digest.short} under its content tag does not list the platforms it was built for",
        cause=f"{type(error).__name__}: {error}",
        hint="delete that content tag; the next pass builds the image again",
    )


def _materials(wanted: Wanted) -> Materials:
    if wanted.materials is None:
        raise ValueError(f"{wanted.artifact.name} is held: it cannot be built")
    return wanted.materials
