"""One artifact's build on one runner: its checks, then each of its platforms."""

from __future__ import annotations

import asyncio
import time
from dataclasses import KW_ONLY, dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.apply.mounts import kept
from reconciler.apply.scanned import scanned
from reconciler.apply.secrets import read_secrets
from reconciler.apply.send import contexts, frontend_of
from reconciler.apply.taken_over import is_whole
from reconciler.apply.tries import OnRunner
from reconciler.finishing import beside
from reconciler.identity.held import missing_base
from reconciler.model.artifact import BaseImage, ParentImage
from reconciler.model.event import Step
from reconciler.model.manifest import Descriptor
from reconciler.model.mount_use import MountUse
from reconciler.model.observed import Absent, Found, Unknown
from reconciler.model.problem import LianError, Next, Problem
from reconciler.observe.ask import known_heads
from reconciler.ports.builder import CACHE_BROKEN, CACHE_STALLED, PUSH_FAILED, UNCLEAR, BuildRequest
from reconciler.ports.registry import DOWN, REST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from reconciler.apply.attesting import Attester
    from reconciler.apply.caching import Caches, Lookup
    from reconciler.apply.mounts import CacheMounts
    from reconciler.apply.oom_kills import OomKills
    from reconciler.apply.send import Parcel
    from reconciler.identity.inputs import Inputs
    from reconciler.identity.resolve import Keyed, Resolution
    from reconciler.model.attestation import Statement
    from reconciler.model.cache_use import CacheUse
    from reconciler.model.desired import Materials, Needs, Wanted
    from reconciler.model.digest import Digest
    from reconciler.model.mount_use import MountsMoved
    from reconciler.model.name import ArtifactName
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Reference
    from reconciler.model.secret import SecretBytes
    from reconciler.model.tier import Tier
    from reconciler.ports.builder import Built, ContextInput, StepSeen
    from reconciler.ports.bundle import Ports
    from reconciler.ports.compute import Runner
    from reconciler.ports.publisher import Destination


SECOND_TRY_SECONDS = 60.0
"""At least so long a second try may take: what the first one made is still on the runner."""
PEACE_SECONDS = REST_SECONDS + 1.0
"""What a registry is left in peace for that was DOWN for a cache: longer than its adapter asks it nothing."""
_AGAIN = {PUSH_FAILED, CACHE_STALLED}
_AGAIN_WITHOUT = {CACHE_BROKEN, UNCLEAR}
"""Where a cache was read: the same without it."""


@dataclass(slots=True)
class Building:
    """One artifact on one runner."""

    ports: Ports
    resolution: Resolution
    _: KW_ONLY
    attester: Attester
    wanted: Wanted
    materials: Materials
    identity: Keyed
    runner: Runner
    oom_kills: OomKills
    parcel: Parcel
    tier: Tier
    deadline: float
    caches: Caches
    mounts: CacheMounts
    turn: int = 1
    """Which try this is of the artifact's build."""
    solves: dict[Platform, list[Built]] = field(default_factory=dict)
    """Of each platform: its checks, then its image."""
    logs: list[Path] = field(default_factory=list)
    """Of all solves, in their order, those of the tries before it included."""
    restored: dict[Platform, MountsMoved] = field(default_factory=dict)
    """What became of each platform's cache mounts before its first solve."""
    failures: list[Problem] = field(default_factory=list)
    """Of cache mounts, since the registry was last let rest."""
    sboms: dict[Digest, tuple[Statement, ...]] = field(default_factory=dict)
    """Of the platforms' manifests."""
    secrets: Mapping[str, SecretBytes] | None = None
    """By id, once they have been read: right before the first solve."""

    @property
    def last_log(self) -> str | None:
        """Of the solve that ran last: the one that failed, if one did."""
        return str(self.logs[-1]) if self.logs else None

    @property
    def used(self) -> dict[Platform, CacheUse]:
        """What caches did for each platform's build, also for one that has not come to its end."""
        begun = {p: replace(self.caches.looked(p), mounts=MountUse(moved)) for p, moved in self.restored.items()}
        return {**begun, **self.caches.uses}

    def log(self, platform: Platform, target: str | None = None) -> Path:
        name = self.wanted.artifact.name
        parts = [name.workspace, name.artifact, str(platform).replace("/", "-"), *([target] if target else [])]
        parts += [f"try{self.turn}"] if self.turn > 1 else []
        return self.ports.logs / ("_".join(parts) + ".log")

    async def run(
        self, parents: Mapping[tuple[ArtifactName, Platform], Digest], *, fresh: bool
    ) -> dict[Platform, Descriptor]:
        """The checks, then every platform's manifest: see `platforms`. Raises LianError."""
        await self.checks(parents)
        return await self.platforms(fresh=fresh)

    async def checks(self, parents: Mapping[tuple[ArtifactName, Platform], Digest]) -> None:
        """Build every check target; the first that fails fails the artifact before anything is pushed."""
        for platform in self.wanted.artifact.platforms if self.wanted.artifact.checks else ():
            async with beside(self._restore(platform)):
                await self.caches.look(platform)
            await self._let_rest()
            needs = self.materials.check_needs[platform]
            inputs = await self._check_inputs(needs, platform, parents)
            namespace = self.mounts.namespace(platform)
            for target in self.wanted.artifact.checks:
                log = self.log(platform, target)
                lookup = await self.caches.look(platform)
                request = await self._request(platform, needs, inputs, None, target, log)
                await self._tried(replace(request, cache_from=lookup.sources, mount_namespace=namespace), lookup)
        await self.oom_kills.ensure_none(self.materials.dockerfile_path, self.last_log)

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
        digests = await self._digests([*images.values(), *([needs.frontend] if needs.frontend else [])])
        for name in needs.contexts:
            if name in images:
                contexts[name] = {"image": str(digests[images[name]])}
        bases = {written: str(digests[ref]) for written, ref in needs.images.items()}
        frontend = {"frontend": str(digests[needs.frontend])} if needs.frontend else {}
        return {"contexts": contexts, "bases": bases, **frontend}

    async def _digests(self, references: Iterable[Reference]) -> dict[Reference, Digest]:
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

    async def platforms(self, *, fresh: bool) -> dict[Platform, Descriptor]:
        """Every platform's manifest: those whose content tag exists are taken, if they may be and not all shall be
        `fresh`; the others are built. Raises HeldBack, LianError."""
        artifact = self.wanted.artifact
        present: dict[Platform, Descriptor] = {}
        if len(artifact.platforms) > 1 and not fresh:
            tags = {platform: self.identity.tag(platform) for platform in artifact.platforms}
            heads = await known_heads(self.ports.registry, artifact.image, tags.values())
            for platform, tag in tags.items():
                head = heads[tag]
                if isinstance(head, Found) and await self._may_take(head.digest):
                    present[platform] = head.descriptor or await self._described(head.digest)
        return {platform: present.get(platform) or await self._platform(platform) for platform in artifact.platforms}

    async def _may_take(self, digest: Digest) -> bool:
        """Whether what is there of one platform may stand in place of a build. Raises HeldBack, LianError."""
        image = self.wanted.artifact.image
        if not await self.attester.vouches(image, digest):
            return False
        return await is_whole(self.ports.registry, self.resolution, image, digest)

    async def _restore(self, platform: Platform) -> None:
        """What the platform's cache mounts held when they were last saved, before its first solve."""
        if platform not in self.restored:
            self.restored[platform] = await self.mounts.restore(platform, kept(self.materials, platform))
            self.failures += self.restored[platform].problems

    async def _described(self, digest: Digest) -> Descriptor:
        """Of a manifest in the artifact's repository. Raises LianError if it cannot be read."""
        manifest = await self.ports.registry.manifest(self.wanted.artifact.image, digest)
        return Descriptor.of(manifest.media_type, manifest.data)

    async def _platform(self, platform: Platform) -> Descriptor:
        """Build one platform, bring it into the repository by digest, and read it back."""
        artifact, publisher = self.wanted.artifact, self.ports.publisher
        log = self.log(platform)
        scratch = self.runner.scratch / "out" / log.stem
        scratch.mkdir(parents=True, exist_ok=True)
        destination = publisher.destination(artifact.image, scratch)
        needs, inputs = self.materials.needs[platform], self.identity.inputs[platform]
        async with beside(self._restore(platform)):
            request = await self._request(platform, needs, inputs, destination, artifact.target, log)
            lookup = await self.caches.look_and_keep(platform, scratch / "cache")
        await self._let_rest()
        request = replace(
            request,
            cache_from=lookup.sources,
            cache_to=lookup.target,
            mount_namespace=self.mounts.namespace(platform),
        )
        built, lookup = await self._tried(request, lookup)
        await self._ensure_whole(platform, lookup)
        taken = await self._taken_in(destination, built)
        await self._kept(platform, lookup)
        return taken

    async def _ensure_whole(self, platform: Platform, lookup: Lookup) -> None:
        """Before anything of what was built can be found by others. Raises OnRunner if a step of it is not complete;
        then its cache is in nobody's way."""
        try:
            await self.oom_kills.ensure_none(self.materials.dockerfile_path, self.last_log)
        except OnRunner:
            await self.caches.put_back(platform, lookup)
            raise

    async def _kept(self, platform: Platform, lookup: Lookup) -> None:
        """What of the build makes the next one faster. Raises nothing but a cancellation."""
        async with beside(self.caches.keep(platform, lookup, self.solves[platform])):
            saved = await self.mounts.save(platform, kept(self.materials, platform), self.solves[platform])
        use = replace(self.caches.uses[platform], mounts=MountUse(self.restored[platform], saved))
        self.caches.uses[platform] = use
        self.failures += saved.problems
        await self._let_rest()

    async def _let_rest(self) -> None:
        """A registry that has just been DOWN for a cache is left in peace until it is asked again: what is asked of it
        next is for the image, which must not fail for that."""
        failures, self.failures = [*self.failures, *self.caches.failures()], []
        if any(failure.code in DOWN for failure in failures):
            await asyncio.sleep(PEACE_SECONDS)

    async def _taken_in(self, destination: Destination, built: Built) -> Descriptor:
        """The platform's manifest, in the repository and read back. Raises LianError."""
        artifact, publisher = self.wanted.artifact, self.ports.publisher
        if built.digest is None:
            problem = Problem("digest-missing", "BuildKit reported success without a digest", next=Next.BUG)
            raise LianError(problem.of(str(artifact.name)))
        digest = built.digest
        if (scanner := self.attester.scanner) is not None:
            registry = self.ports.registry
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
        """What to build, of what is there once this returns. Raises OnRunner if it could not be brought there."""
        artifact = self.wanted.artifact
        context, dockerfile, named = await self._sent(needs, inputs)
        return BuildRequest(
            artifact=str(artifact.name),
            platform=platform,
            context=context,
            dockerfile=dockerfile,
            log=log,
            tier=self.tier,
            destination=destination,
            target=target,
            args=artifact.args,
            labels=artifact.labels,
            contexts=named,
            frontend=frontend_of(needs, inputs, self.ports.publisher),
            pinned={source.location: source.pin for source in needs.fetched if source.pin},
            scanner=self.attester.scanner if destination else None,
            source_date_epoch=artifact.source_date_epoch,
            deadline=self.deadline,
        )

    async def _sent(self, needs: Needs, inputs: Inputs) -> tuple[Path, Path, dict[str, ContextInput]]:
        """The context, the Dockerfile and the named contexts, where the builder finds them. Raises OnRunner."""
        publisher, desired = self.ports.publisher, self.resolution.desired
        try:
            context = await self.parcel.folder(self.materials.context)
            dockerfile = await self.parcel.dockerfile(self.materials)
            return context, dockerfile, await contexts(self.wanted, needs, inputs, self.parcel, publisher, desired)
        except LianError as error:
            raise OnRunner(error.problems) from error

    async def _tried(self, request: BuildRequest, lookup: Lookup) -> tuple[Built, Lookup]:
        """Built and pushed, with what has become of the caches. A push that fails is tried once more, which builds
        nothing again: two pipelines that push the same content at once can be refused by docker-registry, which finds a
        part empty that the other is just writing. So is a build that failed on a cache it read, then without any:
        BuildKit fetches layers late, and what it lacks then looks like a failed push. And one whose cache could not be
        written in time, then without writing it."""
        if self.secrets is None:
            bindings = self.resolution.desired.fleet.secrets
            self.secrets = await read_secrets(self.ports.secrets, self.wanted.artifact, bindings)
        request = replace(request, secrets=self.secrets)
        began = time.monotonic()
        try:
            return await self._run(request), lookup
        except OnRunner as error:
            first = error.problems[0]
            if first.code not in _AGAIN | (_AGAIN_WITHOUT if request.cache_from else set()):
                raise
        lookup = lookup.after(first)
        self.caches.refuse(request.platform, lookup)
        left = request.deadline - (time.monotonic() - began)
        again = replace(
            request,
            log=request.log.with_name(f"{request.log.stem}_again.log"),
            cache_from=lookup.sources,
            cache_to=lookup.target,
            deadline=max(left, SECOND_TRY_SECONDS),
        )
        try:
            return await self._run(again), lookup
        except OnRunner as error:
            raise OnRunner(_after(p, first) for p in error.problems) from error

    async def _run(self, request: BuildRequest) -> Built:
        self.logs.append(request.log)
        try:
            built = await self.ports.builder.build(self.runner, request, self._seen)
        except LianError as error:
            raise OnRunner(self._in_repo(p) for p in error.problems) from error
        self.solves.setdefault(request.platform, []).append(built)
        return built

    def _in_repo(self, problem: Problem) -> Problem:
        """The builder names the Dockerfile as it was handed over; a person knows it by its path in the repo."""
        known = problem.file == self.materials.dockerfile_path.rpartition("/")[2]
        return replace(problem, file=self.materials.dockerfile_path) if known else problem

    def _seen(self, step: StepSeen) -> None:
        self.ports.recorder.record(Step(self.wanted.artifact.name, step.name, step.done, step.cached))


def _after(problem: Problem, first: Problem) -> Problem:
    """What the second try failed with, and what the first did, if that was something else."""
    if problem.message == first.message:
        return problem
    return replace(problem, message=f"{problem.message}; the try before it: {first.message}")
