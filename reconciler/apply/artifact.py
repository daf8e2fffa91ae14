"""One artifact's way through a pass: build or retag, in the order of pushing of design section 5."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.apply.attesting import Recorded
from reconciler.apply.record import Facts, attach, carry_over
from reconciler.apply.scanned import scanned
from reconciler.apply.send import Sender, contexts
from reconciler.apply.tagging import HeldBack, is_not_moved
from reconciler.identity.resolve import Keyed, identify, missing_base
from reconciler.model.artifact import BaseImage, ParentImage
from reconciler.model.event import Started, Step, Waiting
from reconciler.model.manifest import Descriptor, index, platforms_of
from reconciler.model.observed import Absent, Found, Unknown
from reconciler.model.outcome import Result, Status
from reconciler.model.plan import Action
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.reference import Reference
from reconciler.ports.builder import PUSH_FAILED, BuildRequest
from reconciler.sizing.choose import tier_for

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from pathlib import Path

    from reconciler.apply.attesting import Attester
    from reconciler.apply.runners import Runners
    from reconciler.apply.tagging import Tagger, Whole
    from reconciler.identity.inputs import Inputs
    from reconciler.identity.resolve import Resolution
    from reconciler.model.artifact import Artifact
    from reconciler.model.attestation import Statement
    from reconciler.model.desired import Materials, Needs, Wanted
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Sighting
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Repository
    from reconciler.ports.builder import Built, StepSeen
    from reconciler.ports.bundle import Ports
    from reconciler.ports.compute import Runner
    from reconciler.ports.publisher import Destination

ROUNDS = 4
"""How often an image's tags are looked at again after they were moved. Passes on one commit agree after two."""


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
    tagger: Tagger
    attester: Attester
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

    async def converge(
        self,
        wanted: Wanted,
        identity: Keyed,
        digest: Digest,
        left: Collection[str] = (),
        source: Repository | None = None,
    ) -> Result:
        """The content exists: point the tags that do not name it yet at it, but for those that are to be `left`.
        Builds nothing. `source` is another repository that the image is copied from first. Raises HeldBack, LianError.
        """
        name, start = wanted.artifact.name, time.monotonic()
        manifest = await self._brought(wanted, identity, source, digest)
        platforms = _platforms(identity, manifest)
        tags = [tag for tag in wanted.artifact.tags if tag not in left]
        heads = await self.heads(wanted, (*_content_tags(identity), *tags))
        named = {identity.tag(): digest, **dict.fromkeys(tags, digest)}
        named |= {identity.tag(platform): one for platform, one in platforms.items()}
        away = [tag for tag, one in named.items() if not isinstance(head := heads[tag], Found) or head.digest != one]
        if not away and source is None:
            return Result(name, Action.NONE, Status.NONE, digest, time.monotonic() - start, platforms=platforms)
        self.ports.recorder.record(Started(name))
        manifest = await self._settle(wanted, identity, manifest, left)
        digest, platforms = manifest.digest, _platforms(identity, manifest)
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
        digests = dict.fromkeys((*_platforms(identity, manifest).values(), manifest.digest))
        await self.attester.carry_over(source, image, digests)
        return manifest

    async def _settle(
        self,
        wanted: Wanted,
        identity: Keyed,
        manifest: Manifest,
        left: Collection[str],
        *,
        replaces: bool = False,
    ) -> Manifest:
        """Point the content tags at the image, each platform's before the whole's, then the directive's tags, until one
        look finds all of them there: whoever moves last looks last, so passes on one commit end on one image. Which one
        that is; another pass's if that was first. Raises HeldBack, LianError."""
        artifact = wanted.artifact
        tags = [tag for tag in artifact.tags if tag not in left]
        unmoved: LianError | None = None
        for number in range(ROUNDS):
            fresh = replaces and number == 0
            manifest = await self._counting(artifact, identity, manifest, replaces=fresh)
            whole = await self.tagger.whole(artifact.image, manifest)
            try:
                if await self._point(artifact, identity, whole, tags):
                    return manifest
            except HeldBack:
                if await self._counting(artifact, identity, manifest, replaces=replaces) == manifest:
                    raise
            except LianError as error:  # another pass moved a tag in the same moment, or the registry has lost it
                if not is_not_moved(error):
                    raise
                unmoved = error
        raise unmoved or HeldBack(_contested(artifact))

    async def _point(self, artifact: Artifact, identity: Keyed, whole: Whole, tags: Sequence[str]) -> bool:
        """One round: True if afterwards one look finds all tags where they should be. Raises HeldBack, LianError."""
        image, digest = artifact.image, whole.image.digest
        platforms = _platforms(identity, whole.image) if len(identity.keys) > 1 else {}
        content = {identity.tag(platform): one for platform, one in platforms.items()} | {identity.tag(): digest}
        await self.tagger.content(image, content)
        await self.tagger.tags(artifact, whole.image, tags)
        await self.tagger.outlast(image, whole, (*content, *tags))
        return await self.tagger.stand(image, content | dict.fromkeys(tags, digest))

    async def _counting(self, artifact: Artifact, identity: Keyed, manifest: Manifest, *, replaces: bool) -> Manifest:
        """The image that is to stand under the tags (see Tagger.counting): another's only if it may be taken over.
        Raises LianError."""
        digest = await self.tagger.counting(artifact, identity.key, identity.tag(), manifest, replaces=replaces)
        if digest == manifest.digest or not await self.attester.vouches(artifact.image, digest):
            return manifest
        return await self.ports.registry.manifest(artifact.image, digest)

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
        work: _Build | None = None
        start = time.monotonic()
        await self.attester.prepare()
        try:
            if self.places.locked():
                self.ports.recorder.record(Waiting(wanted.artifact.name, "a free place"))
            async with self.places:
                work = await self._begin(wanted, identity)
                started, start = self.ports.clock(), time.monotonic()
                await work.checks(parents)
                manifests = await work.platforms(fresh=replaces)
            subject = await self._record(work, manifests, started, time.monotonic() - start)
            manifest = await self.ports.registry.manifest(wanted.artifact.image, subject.digest)
            manifest = await self._settle(wanted, identity, manifest, left, replaces=replaces)
        except LianError as error:
            if work is None or isinstance(error, HeldBack):
                raise
            problem = error.problems[0].of(str(wanted.artifact.name))
            seconds = time.monotonic() - start
            return Result(wanted.artifact.name, Action.BUILD, Status.FAILED, None, seconds, problem, log=work.last_log)
        seconds, name, digests = time.monotonic() - start, wanted.artifact.name, _platforms(identity, manifest)
        return Result(name, Action.BUILD, Status.DONE, manifest.digest, seconds, platforms=digests, log=work.last_log)

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

    async def _record(
        self, work: _Build, manifests: Mapping[Platform, Descriptor], started: float, seconds: float
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
            builds=tuple(work.built),
            peak_memory=await self.ports.compute.peak_memory(runner),
            logs=tuple(work.logs),
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
    logs: list[Path] = field(default_factory=list)
    """Of all solves, in their order."""
    sboms: dict[Digest, tuple[Statement, ...]] = field(default_factory=dict)
    """Of the platforms' manifests."""

    @property
    def last_log(self) -> str | None:
        """Of the solve that ran last: the one that failed, if one did."""
        return str(self.logs[-1]) if self.logs else None

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

    async def platforms(self, *, fresh: bool) -> dict[Platform, Descriptor]:
        """Every platform's manifest: those whose content tag exists are taken, if they may be and not all shall be
        `fresh`; the others are built."""
        artifact = self.wanted.artifact
        present: dict[Platform, Descriptor] = {}
        if len(artifact.platforms) > 1 and not fresh:
            tags = {platform: self.identity.tag(platform) for platform in artifact.platforms}
            heads = await self.worker.heads(self.wanted, tuple(tags.values()))
            for platform, tag in tags.items():
                head = heads[tag]
                if isinstance(head, Found) and await self.worker.attester.vouches(artifact.image, head.digest):
                    present[platform] = head.descriptor or await self._described(head.digest)
        return {platform: present.get(platform) or await self._platform(platform) for platform in artifact.platforms}

    async def _described(self, digest: Digest) -> Descriptor:
        """Of a manifest in the artifact's repository. Raises LianError if it cannot be read."""
        manifest = await self.worker.ports.registry.manifest(self.wanted.artifact.image, digest)
        return Descriptor.of(manifest.media_type, manifest.data)

    async def _platform(self, platform: Platform) -> Descriptor:
        """Build one platform, bring it into the repository by digest, and read it back."""
        artifact, publisher = self.wanted.artifact, self.worker.ports.publisher
        log = self.log(platform)
        scratch = self.runner.scratch / "out" / log.stem
        scratch.mkdir(parents=True, exist_ok=True)
        destination = publisher.destination(artifact.image, scratch)
        needs, inputs = self.materials.needs[platform], self.identity.inputs[platform]
        built = await self._pushed(await self._request(platform, needs, inputs, destination, artifact.target, log))
        if built.digest is None:
            problem = Problem("digest-missing", "BuildKit reported success without a digest", next=Next.BUG)
            raise LianError(problem.of(str(artifact.name)))
        digest = built.digest
        if (scanner := self.worker.attester.scanner) is not None:
            registry = self.worker.ports.registry
            result = await scanned(registry, artifact.image, destination, digest, scanner)
            digest = result.image.digest
            self.sboms[digest] = result.sboms
        manifest = await publisher.take_in(artifact.image, destination, digest)
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
            scanner=self.worker.attester.scanner if destination else None,
            source_date_epoch=artifact.source_date_epoch,
            deadline=self.deadline,
        )

    async def _pushed(self, request: BuildRequest) -> Built:
        """Built and pushed. A push that fails is tried once more, which builds nothing again: two pipelines that push
        the same content at once can be refused by docker-registry, which finds a part empty that the other is just
        writing."""
        try:
            return await self._run(request)
        except LianError as error:
            if any(problem.code != PUSH_FAILED for problem in error.problems):
                raise
        again = request.log.with_name(f"{request.log.stem}_again.log")
        return await self._run(replace(request, log=again))

    async def _run(self, request: BuildRequest) -> Built:
        self.logs.append(request.log)
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


def _content_tags(identity: Keyed) -> tuple[str, ...]:
    """The content tags of an image: each platform's where there are several, then the whole's."""
    platforms = identity.keys if len(identity.keys) > 1 else ()
    return (*(identity.tag(platform) for platform in platforms), identity.tag())


def _platforms(identity: Keyed, manifest: Manifest) -> dict[Platform, Digest]:
    """Each platform's manifest of an image that exists. Raises LianError `index-broken`."""
    if len(identity.keys) == 1:
        return dict.fromkeys(identity.keys, manifest.digest)
    try:
        listed = platforms_of(manifest)
        return {platform: listed[platform] for platform in identity.keys}
    except (ValueError, KeyError) as error:
        raise LianError(_broken(manifest.digest, error)) from error


def _contested(artifact: Artifact) -> Problem:
    return Problem(
        "tags-contested",
        f"the tags of {artifact.image} were moved again and again while this pass ran",
        hint="see which other pipeline wants the same tags for something else, and run again",
        next=Next.RETRY,
    )


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
