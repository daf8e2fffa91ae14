"""One fake for each port, in memory. Every call passes `Points.at`, where a test can fail, cut or hold it.

They keep the ports' promises for real: the registry is a content store that refuses what it could not serve, the
builder's output is a function of its request, compute knows what is out.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from reconciler.cache.vet import CONFIG as CACHE_CONFIG
from reconciler.model.applied import APPLIED_PREFIX, Applied
from reconciler.model.artifact import Place
from reconciler.model.attestation import BUNDLE, SBOM_PREDICATE, STATEMENT_PAYLOAD, sbom_statement
from reconciler.model.cache_use import StepRun
from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, IMAGE_INDEX, IMAGE_MANIFEST, Descriptor, Manifest, artifact, parse
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.platform import Platform
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.secret import SecretBytes
from reconciler.ports.archives import Packed, Tool
from reconciler.ports.builder import Built, CacheMade, PinnedImage, StepSeen
from reconciler.ports.bundle import Ports, Removing
from reconciler.ports.compute import Keeper, Outstanding, RentalState, Runner, Standing, Swept, Usage
from reconciler.ports.publisher import PullFrom, PushTo
from reconciler.ports.signer import Signature

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.credential import SourceRef
    from reconciler.model.desired import Desired, Materials, SentFolder
    from reconciler.model.event import Event
    from reconciler.model.observed import Sighting
    from reconciler.model.plan import FileSince
    from reconciler.model.reference import Reference, Repository
    from reconciler.model.rule import Written
    from reconciler.model.tier import Sizes
    from reconciler.model.tree import Entry
    from reconciler.ports.builder import BuildRequest
    from reconciler.ports.compute import LeaseRequest
    from reconciler.ports.publisher import Destination, Origin
    from reconciler.ports.signer import Signer, Verifier
    from tests.commits import Commit

CONFIG = "application/vnd.oci.image.config.v1+json"


_NEXT = {
    "build-failed": Next.PERSON,
    "build-out-of-memory": Next.PERSON,
    "no-runner": Next.PERSON,
    "push-refused": Next.HOLD,
}


def problem(code: str = "planted", message: str = "planted by the test") -> LianError:
    """An error as adapters raise it; what they say comes next depends on the code."""
    return LianError(Problem(code, message, next=_NEXT.get(code, Next.RETRY)))


@dataclass
class Points:
    """The places where the core waits for the outside, in the order they were reached."""

    seen: list[str] = field(default_factory=list)
    faults: dict[str, Exception] = field(default_factory=dict)
    """Point -> what is raised there."""
    holds: dict[str, asyncio.Event] = field(default_factory=dict)
    """Point -> what is waited for there."""
    arrivals: dict[str, asyncio.Event] = field(default_factory=dict)
    """Point -> set when it is reached."""
    cancel_at: int | None = None
    """The pass is cancelled when it reaches its point of this number."""
    victim: asyncio.Task[object] | None = None

    async def at(self, point: str) -> None:
        """Reached by every call of a port, before and after its effect."""
        self.seen.append(point)
        if arrival := self.arrivals.get(point):
            arrival.set()
        if self.victim is not None and len(self.seen) - 1 == self.cancel_at:
            self.victim.cancel()
        await asyncio.sleep(0)
        if hold := self.holds.get(point):
            await hold.wait()
        if fault := self.faults.get(point):
            raise fault


class FakeSource:
    """Hands out the commit it holds."""

    def __init__(self, commit: Commit, points: Points) -> None:
        self.commit, self.points = commit, points
        self.line = 0
        """In which line Dockerfiles name images."""
        self.descendants: set[str] = set()
        """Commits that this clone knows to come after its own."""
        self.missing: tuple[str, ...] = ()
        """Files that are not in the commit; all others are."""
        self.changed: dict[str, str] = {}
        """File -> the commit that changed it last, where that is not the newest."""

    async def load(self) -> Desired:
        await self.points.at("load")
        return self.commit.desired

    async def places(self, written: Collection[Written]) -> Mapping[Written, Place]:
        await self.points.at("places")
        return {one: Place(one.file, self.line if one.image is not None else 0) for one in written}

    async def descends(self, revision: str) -> bool | None:
        await self.points.at("descends")
        if revision in self.descendants:
            return True
        return False if revision in (self.commit.revision, *self.commit.before) else None

    async def last_changed(self, files: Collection[FileSince]) -> Mapping[FileSince, str]:
        await self.points.at("history")
        order = [self.commit.revision, *reversed(self.commit.before)]
        found = {one: self.changed.get(one.path, self.commit.revision) for one in files}
        newest = sorted(found, key=lambda one: order.index(found[one]))
        return {one: found[one] for one in newest if found[one] not in _up_to(one.since, order)}

    async def listing(self, folder: SentFolder) -> tuple[Entry, ...]:
        await self.points.at("listing")
        return self.commit.listing(folder)

    async def sizes(self) -> Sizes:
        await self.points.at("sizes")
        return self.commit.sizes

    async def export(self, folder: SentFolder, into: Path) -> int:
        await self.points.at("export")
        into.mkdir()
        content = self.commit.content(folder)
        for path, data in content.items():
            (into / path).parent.mkdir(parents=True, exist_ok=True)
            (into / path).write_bytes(data)
            await self.points.at("exported")
        return sum(map(len, content.values()))

    async def export_dockerfile(self, materials: Materials, into: Path) -> None:
        await self.points.at("export dockerfile")
        into.mkdir()
        name = materials.dockerfile_path.rpartition("/")[2]
        (into / name).write_bytes(await self.blob(materials.dockerfile_path))

    async def blob(self, path: str) -> bytes:
        if path in self.missing:
            raise problem("path-missing", f"the commit holds no file {path}")
        return self.commit.files.get(path, b"FROM scratch\n")


def _up_to(revision: str, order: Sequence[str]) -> Sequence[str]:
    """That commit and those before it."""
    return order[order.index(revision) :] if revision in order else ()


class FakeRevisions:
    """The branches and tags of the desired repo."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.refs: dict[str, Commit] = {}
        """Full name -> what it names."""
        self.others: list[Commit] = []
        """Commits that can be had although no ref names them."""
        self.settings = True
        """Whether commits have a lian.ncl."""
        self.forks: dict[str, str] = {}
        """Revision -> the commit at which that of the pass has parted from it."""

    async def matching(self, globs: Sequence[str]) -> Mapping[str, str]:
        await self.points.at("refs")
        matching = (name for name in sorted(self.refs) if any(fnmatchcase(name, glob) for glob in globs))
        return {name: self.refs[name].revision for name in matching}

    def at(self, revision: str) -> FakeSource:
        commits = [*self.refs.values(), *self.others]
        source = FakeSource(next(commit for commit in commits if commit.revision == revision), self.points)
        source.missing = () if self.settings else ("lian.ncl",)
        return source

    async def parted_from(self, rev: str) -> str:
        await self.points.at("fork")
        return self.forks[rev]


class FakeRegistry:
    """Registry and publisher: content by digest, and tags. `journal` tells what was written, in order."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.blobs: dict[tuple[Repository, Digest], bytes] = {}
        self.manifests: dict[tuple[Repository, Digest], Manifest] = {}
        self.tags: dict[tuple[Repository, str], Digest] = {}
        self.journal: list[str] = []
        self.unreadable: set[str] = set()
        """Tags (or `records`, `signatures`) that cannot be read."""
        self.down_code = "registry-down"
        """Of the problem of what is unreadable."""
        self.terse = False
        """Tells digests alone, as a list of many images does."""
        self.asked: list[frozenset[Reference]] = []

    async def heads(self, references: Collection[Reference]) -> Mapping[Reference, Sighting]:
        await self.points.at("heads")
        self.asked.append(frozenset(references))
        return {reference: self._head(reference) for reference in references}

    def _head(self, reference: Reference) -> Sighting:
        repository, tag = reference.repository, reference.tag or ""
        if tag in self.unreadable:
            return Unknown(Problem(self.down_code, "the registry does not answer", next=Next.RETRY))
        digest = reference.digest or self.tags.get((repository, tag))
        manifest = self.manifests.get((repository, digest)) if digest else None
        if manifest and self.terse:
            return Found(manifest.digest)
        return Found(manifest.digest, manifest.media_type, len(manifest.data)) if manifest else ABSENT

    async def manifest(self, repository: Repository, digest: Digest) -> Manifest:
        await self.points.at("manifest")
        if (repository, digest) not in self.manifests:
            raise problem("manifest-unknown", f"{digest.short} is not in {repository}")
        return self.manifests[repository, digest]

    async def blob(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        await self.points.at("blob")
        data = self.blobs.get((repository, digest))
        if data is None or len(data) > limit:
            raise problem("blob-unknown", f"{digest.short} is not in {repository}")
        return data

    async def fetch(self, repository: Repository, blob: Descriptor, into: Path) -> None:
        await self.points.at("fetch")
        data = self.blobs.get((repository, blob.digest))
        if data is None or len(data) != blob.size:
            raise problem("blob-unknown", f"{blob.digest.short} is not in {repository}")
        into.write_bytes(data)

    async def store(self, repository: Repository, file: Path, media_type: str) -> Descriptor:
        await self.points.at("store")
        data = file.read_bytes()
        self.blobs[repository, Digest.of(data)] = data
        return Descriptor.of(media_type, data)

    async def referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> Sequence[Descriptor]:
        await self.points.at("referrers")
        if ("signatures" if artifact_type == BUNDLE else "records") in self.unreadable:
            raise problem("registry-down", "the registry does not answer")
        found = []
        for manifest in [one for (where, _), one in self.manifests.items() if where == repository]:
            document = manifest.document
            refers = document.get("subject", {}).get("digest") == str(subject)
            kind = document.get("artifactType")
            if refers and artifact_type in {None, kind}:
                d = Descriptor.of(manifest.media_type, manifest.data)
                found.append(Descriptor(d.media_type, d.digest, d.size, kind, document.get("annotations", {})))
        return found

    async def repositories(self, host: str) -> tuple[str, ...]:
        await self.points.at("repositories")
        if "catalog" in self.unreadable:
            raise problem("catalog-unsupported", "the registry lists no repositories")
        return tuple(sorted({r.path for r, _ in self.manifests if r.host == host}))

    async def tags_of(self, repository: Repository) -> Mapping[str, Digest]:
        await self.points.at("list")
        named = {tag: digest for (where, tag), digest in self.tags.items() if where == repository}
        if self.unreadable & named.keys():
            raise problem("registry-down", "the registry does not answer")
        return named

    async def all_names(self, repositories: Collection[Repository]) -> Mapping[Repository, tuple[str, ...]]:
        await self.points.at("names")
        return {r: tuple(tag for where, tag in self.tags if where == r) for r in repositories}

    async def all_tags(self, repositories: Collection[Repository]) -> Mapping[Repository, Mapping[str, Digest]]:
        return {repository: await self.tags_of(repository) for repository in repositories}

    async def missing(self, repository: Repository, digest: Digest) -> tuple[Digest, ...]:
        await self.points.at("missing")
        if "parts" in self.unreadable:
            raise problem("registry-down", "the registry does not answer")
        return tuple(dict.fromkeys(self._lacking(repository, digest)))

    async def verified(self, repository: Repository, blob: Descriptor) -> bool:
        await self.points.at("verified")
        data = self.blobs.get((repository, blob.digest))
        if data is None:
            raise problem("blob-unknown", f"{blob.digest.short} is not in {repository}")
        return len(data) == blob.size and blob.digest.matches(data)

    def _lacking(self, repository: Repository, digest: Digest) -> Iterator[Digest]:
        manifest = self.manifests.get((repository, digest))
        if manifest is None:
            yield digest
            return
        children, blobs = parts_of(manifest)
        for child in children:
            yield from self._lacking(repository, child)
        yield from (blob for blob in blobs if (repository, blob) not in self.blobs)

    def _point_of(self, repository: Repository, tag: str, manifest: Manifest) -> str:
        """What is done by pointing the tag there."""
        if tag.startswith(APPLIED_PREFIX):
            before = self.tags.get((repository, tag))
            return "announced" if before and self.announces(repository, before, manifest.digest) else "applied"
        return "content tag" if tag.startswith("lian-") else "tag"

    def announces(self, repository: Repository, before: Digest, after: Digest) -> bool:
        """Whether these applied documents differ only by what is about to be moved."""
        one, other = (self._applied(repository, digest) for digest in (before, after))
        return one != other and one is not None and other is not None and _at_rest(one) == _at_rest(other)

    def _applied(self, repository: Repository, document: Digest) -> Applied | None:
        """What a document says, as long as it is there and can be read."""
        try:
            (layer,) = self.manifests[repository, document].document["layers"]
            return Applied.from_json(parse(self.blobs[repository, Digest.parse(layer["digest"])]))
        except (KeyError, ValueError):
            return None

    def destination(self, repository: Repository, scratch: Path) -> Destination:
        del scratch
        return PushTo(repository, plain=True)

    def origin(self, repository: Repository) -> Origin:
        return PullFrom(repository, plain=True)

    async def take_in(self, repository: Repository, destination: Destination, digest: Digest) -> Manifest:
        del destination
        await self.points.at("take in")
        self.journal.append("read back")
        return await self.manifest(repository, digest)

    async def copy(self, source: Repository, target: Repository, digest: Digest) -> Manifest:
        assert source.host == target.host
        await self.points.at("copy")
        manifest = await self.manifest(source, digest)
        await self._bring(source, target, manifest)
        self.journal.append("copy")
        await self.points.at("copied")
        return manifest

    async def _bring(self, source: Repository, target: Repository, manifest: Manifest) -> None:
        children, blobs = parts_of(manifest)
        for child in children:
            await self._bring(source, target, await self.manifest(source, child))
        for blob in blobs:
            if (source, blob) not in self.blobs:
                raise problem("blob-unknown", f"{blob.short} is not in {source}")
            await self.points.at("mount")
            self.blobs[target, blob] = self.blobs[source, blob]
        await self.points.at("copy manifest")
        self.put(target, manifest)

    async def untag(self, repository: Repository, tag: str) -> None:
        await self.points.at("untag")
        if self.tags.pop((repository, tag), None):
            self.journal.append(f"untag {tag}")
        await self.points.at("untagged")

    async def delete(self, repository: Repository, digest: Digest) -> None:
        await self.points.at("delete")
        for tag in [tag for (where, tag), named in self.tags.items() if (where, named) == (repository, digest)]:
            del self.tags[repository, tag]
        if self.manifests.pop((repository, digest), None):
            self.journal.append(f"delete {digest.short}")
        await self.points.at("deleted")

    async def publish(
        self,
        repository: Repository,
        manifest: Manifest,
        *,
        tags: Sequence[str] = (),
        blobs: Mapping[Digest, bytes] | None = None,
    ) -> Descriptor:
        about = "signature" if manifest.document.get("artifactType") == BUNDLE else "record"
        kind = about if "subject" in manifest.document else "manifest"
        await self.points.at(f"publish {kind}")
        for digest, data in (blobs or {}).items():
            if not digest.matches(data):
                raise problem("digest-mismatch")
            self.blobs[repository, digest] = data
        self.put(repository, manifest)
        if not tags:
            self.journal.append(kind)
        for tag in tags:
            name = self._point_of(repository, tag, manifest)
            await self.points.at(name)
            self.tags[repository, tag] = manifest.digest
            self.journal.append(f"tag {tag}" if name == "tag" else name)
            await self.points.at("read back")
            if self.tags.get((repository, tag)) != manifest.digest:
                raise problem("tag-not-moved", f"{repository}:{tag} does not read back so")
        await self.points.at("published")
        return Descriptor.of(manifest.media_type, manifest.data)

    def put(self, repository: Repository, manifest: Manifest) -> None:
        """By digest; refused when what it names is not there."""
        children, blobs = parts_of(manifest)
        held = [(repository, blob) in self.blobs for blob in blobs]
        if not all(held + [(repository, child) in self.manifests for child in children]):
            raise problem("manifest-refused", "a part of it is not there")
        self.manifests[repository, manifest.digest] = manifest


def _at_rest(applied: Applied) -> Applied:
    return replace(applied, tags={tag: replace(entry, next=None) for tag, entry in applied.tags.items()})


def parts_of(manifest: Manifest) -> tuple[list[Digest], list[Digest]]:
    """The manifests and the blobs that a manifest names."""
    document = manifest.document
    blobs = [document["config"], *document["layers"]] if "config" in document else []
    named = (document.get("manifests", []), blobs)
    children, parts = ([Digest.parse(d["digest"]) for d in descriptors] for descriptors in named)
    return children, parts


class FakeCompute:
    """Knows which leases are out; `returned` holds what came back."""

    def __init__(self, folder: Path, points: Points) -> None:
        self.folder, self.points = folder, points
        self.out: dict[str, LeaseRequest] = {}
        self.rented: list[LeaseRequest] = []
        self.returned: list[str] = []
        self.left: list[str] = []
        self.swept_for: list[str | None] = []
        self.stuck: tuple[Problem, ...] = ()
        """What a sweep cannot return."""
        self.unseen: tuple[Problem, ...] = ()
        """Where it cannot look."""
        self.used: dict[str, Usage] = {}
        """Lease -> what builds have used there so far; each build adds `one_build`."""
        self.one_build = Usage(1 << 20, 0.05)

    def built(self, lease: str) -> None:
        """A build has ended there: the largest is the peak, the processor time adds up."""
        before, more = self.used.get(lease, Usage(0, 0.0)), self.one_build
        peak = None if more.peak_memory is None else max(before.peak_memory or 0, more.peak_memory)
        spent = None if more.cpu_seconds is None else (before.cpu_seconds or 0) + more.cpu_seconds
        self.used[lease] = Usage(peak, spent, before.oom_kills)

    def kills(self, lease: str) -> None:
        """The kernel ends a process of a step there."""
        before = self.used.get(lease, Usage(0, 0.0))
        self.used[lease] = replace(before, oom_kills=(before.oom_kills or 0) + 1)

    @asynccontextmanager
    async def rent(self, request: LeaseRequest) -> AsyncIterator[Runner]:
        if request.lease in self.out:
            raise problem("lease-taken")
        self.out[request.lease] = request
        self.rented.append(request)
        scratch = self.folder / request.lease
        try:
            await self.points.at("rent")
            scratch.mkdir()
            await self.points.at("set up")
            yield Runner(request.lease, f"unix://{scratch}", scratch, "buildkit v0")
        finally:
            shutil.rmtree(scratch, ignore_errors=False) if scratch.exists() else None
            del self.out[request.lease]
            self.returned.append(request.lease)
            await self.points.at("return")
            await self.points.at("returned")

    async def sweep(self, fleet: str | None = None) -> Swept:
        await self.points.at("sweep")
        self.swept_for.append(fleet)
        swept, self.left = self.left, []
        return Swept(tuple(swept), self.stuck, self.unseen)

    async def outstanding(self, fleet: str | None = None) -> Standing:
        leases = ((name, lease) for name, lease in sorted(self.out.items()) if fleet in {None, lease.fleet})
        return Standing(
            tuple(Outstanding(name, "fake", one.at(0.0), RentalState.READY, Keeper.ALIVE) for name, one in leases)
        )

    async def usage(self, runner: Runner) -> Usage:
        await self.points.at("usage")
        assert runner.lease in self.out
        return self.used.get(runner.lease, Usage(0, 0.0))


class FakeBuilder:
    """The image is a function of the request; comments in the Dockerfile do not reach it. `RUN false` fails.

    Unless builds are `reproducible`, it is a function of the runner too: other passes get other images.
    """

    def __init__(self, registry: FakeRegistry, compute: FakeCompute, points: Points) -> None:
        self.registry, self.compute, self.points = registry, compute, points
        self.built: list[str] = []
        self.checked: list[str] = []
        self.requests: list[BuildRequest] = []
        self.running = 0
        self.most = 0
        self.reproducible = True
        self.keeps = False
        """Builds leave a cache; it is empty, as that of an image of one COPY may be, where they do not."""
        self.refused = ""
        """Why caches cannot be written."""
        self.next_cache: Manifest | None = None
        """What the next ones leave, if not one of their own each."""
        self.swallows: dict[str, list[float]] = {}
        """Artifact -> in its next builds a process is ended for want of memory, at a tier of less GiB than this."""
        self.sboms: list[Mapping[str, object]] = [{"spdxVersion": "SPDX-2.3"}]
        """What a scanner says of every image."""

    async def build(self, runner: Runner, request: BuildRequest, seen: Callable[[StepSeen], None]) -> Built:
        assert runner.lease in self.compute.out, "built on a runner that was returned"
        self.requests.append(request)
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.points.at(f"build {request.artifact}")
            seen(StepSeen("[1/1] FROM", done=True, cached=False))
            if (sizes := self.swallows.get(request.artifact)) and request.tier.memory_gb < sizes.pop(0):
                self.compute.kills(runner.lease)
                await self.points.at(f"killed {request.artifact}")
            built = await self._solve(runner, request)
            self.compute.built(runner.lease)
            return built
        finally:
            self.running -= 1

    async def _solve(self, runner: Runner, request: BuildRequest) -> Built:
        lines = [line for line in request.dockerfile.read_text().splitlines() if not line.startswith("#")]
        request.log.write_text("\n".join(lines))
        target = request.target or ""
        if "RUN false" in lines or f"RUN fail {target}" in lines:
            raise problem("build-failed", "RUN false exited with 1")
        if request.destination is None:
            self.checked.append(f"{request.artifact}:{target}")
            return Built(None, 0.1, (StepRun("[1/1] RUN x", False, 0.1),))
        inputs = self._inputs(request) if self.reproducible else {**self._inputs(request), "runner": runner.lease}
        config = canonical({"lines": lines, **inputs})
        digest = await self._push(request, config)
        self.built.append(f"{request.artifact} {request.platform}")
        steps = (StepRun("[1/1] RUN x", bool(request.cache_from), 0.1),)
        return Built(digest, 0.1, steps, cache=await self._cached(request))

    async def _cached(self, request: BuildRequest) -> CacheMade:
        """What a build leaves for the next, if it `keeps` anything: a cache of no layers."""
        if request.cache_to is None or not self.keeps:
            return CacheMade()
        await self.points.at(f"cache {request.artifact}")
        if self.refused:
            return CacheMade(failure=self.refused)
        assert isinstance(request.cache_to.destination, PushTo)
        repository, config = request.cache_to.destination.repository, b'{"layers":[{"blob":"%d"}]}' % len(self.requests)
        self.registry.blobs[repository, Digest.of(config)] = config
        made = self.next_cache or cache(config)
        self.registry.put(repository, made)
        self.registry.tags[repository, request.cache_to.tag] = made.digest
        return CacheMade(made.digest)

    def _inputs(self, request: BuildRequest) -> dict[str, object]:
        assert isinstance(request.destination, PushTo)
        for context in request.contexts.values():
            if isinstance(context, PinnedImage):
                assert isinstance(context.origin, PullFrom)
                assert (context.origin.repository, context.digest) in self.registry.manifests, "pinned to nothing"
        return {
            "context": _bytes_of(request.context),
            "target": request.target,
            "args": dict(request.args),
            "labels": dict(request.labels),
            "platform": str(request.platform),
            "contexts": {
                name: str(c.digest) if isinstance(c, PinnedImage) else _bytes_of(c)
                for name, c in request.contexts.items()
            },
            "epoch": request.source_date_epoch,
        }

    async def _push(self, request: BuildRequest, config: bytes) -> Digest:
        assert isinstance(request.destination, PushTo)
        repository = request.destination.repository
        self.registry.blobs[repository, Digest.of(config)] = config
        manifest = image(config)
        self.registry.put(repository, manifest)
        self.registry.journal.append("push by digest")
        await self.points.at("pushed")
        return manifest.digest if request.scanner is None else self._scanned(repository, manifest)

    def _scanned(self, repository: Repository, image: Manifest) -> Digest:
        """The image in an index, beside an attestation manifest with `sboms`, as BuildKit does it."""
        layers = []
        for sbom in self.sboms:
            payload = sbom_statement(image.digest, sbom).to_bytes()
            self.registry.blobs[repository, Digest.of(payload)] = payload
            about = {"in-toto.io/predicate-type": SBOM_PREDICATE}
            layers.append(replace(Descriptor.of(STATEMENT_PAYLOAD, payload), annotations=about))
        self.registry.blobs[repository, Digest.of(EMPTY_BLOB)] = EMPTY_BLOB
        kind = "application/vnd.docker.attestation.manifest.v1+json"
        attestation = artifact(kind, Descriptor.of(image.media_type, image.data), tuple(layers), {})
        self.registry.put(repository, attestation)
        about = {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": str(image.digest)}
        children = [
            Descriptor.of(image.media_type, image.data),
            replace(Descriptor.of(attestation.media_type, attestation.data), annotations=about),
        ]
        document = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [c.to_json() for c in children]}
        wrapper = Manifest(IMAGE_INDEX, canonical(document))
        self.registry.put(repository, wrapper)
        return wrapper.digest


def image(config: bytes) -> Manifest:
    """An image without layers."""
    descriptor = Descriptor.of(CONFIG, config).to_json()
    return Manifest(
        IMAGE_MANIFEST,
        canonical({"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": descriptor, "layers": []}),
    )


def cache(config: bytes) -> Manifest:
    """A cache of BuildKit's without layers."""
    descriptor = Descriptor.of(CACHE_CONFIG, config).to_json()
    document = {"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": descriptor, "layers": []}
    return Manifest(IMAGE_MANIFEST, canonical(document))


def _bytes_of(folder: Path) -> dict[str, str]:
    """The files that a build sees; the Dockerfile's own comments do not reach the image."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "Dockerfile")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


class FakeArchives:
    """An archive is its tar. `refused` are contents that are no good."""

    def __init__(self, folder: Path, points: Points) -> None:
        self.folder, self.points = folder, points
        self.refused: dict[bytes, str] = {}
        """Content -> code of the problem."""
        self.lacking = False
        """There is no tool."""

    async def tool(self) -> Tool:
        await self.points.at("tool")
        if self.lacking:
            raise problem("cache-mounts-tool-missing", "there is no busybox")
        path = self.folder / "busybox"
        path.write_bytes(b"a busybox")
        return Tool(path, Platform("linux", "amd64"))

    async def pack(self, tar: Path, into: Path) -> Packed:
        await self.points.at("pack")
        self._check(tar)
        into.write_bytes(tar.read_bytes())
        return Packed(tar.stat().st_size, int(tar.stat().st_size > 0))

    async def unpack(self, archive: Path, into: Path, after: Path, told: Packed) -> None:
        await self.points.at("unpack")
        self._check(archive)
        assert archive.stat().st_size == told.size
        into.write_bytes(archive.read_bytes())
        after.write_bytes(b"")

    def _check(self, file: Path) -> None:
        if code := self.refused.get(file.read_bytes()):
            raise LianError(Problem(code, "planted by the test"))


class FakeRecorder:
    """Keeps every event."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def record(self, event: Event) -> None:
        self.events.append(event)

    def of(self, kind: type) -> list[Event]:
        """The events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]


class FakeClock:
    """Stands still until it is set."""

    def __init__(self, now: float = 1_000_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class FakeMemory:
    """Remembers as long as it lives."""

    def __init__(self) -> None:
        self.kept: frozenset[str] = frozenset()

    async def recall(self) -> frozenset[str]:
        return self.kept

    async def keep(self, repositories: Collection[Repository]) -> None:
        self.kept = frozenset(map(str, repositories))


class FakeSigner:
    """Keeps the port's promises with a hash; who knows the name of a key can sign with it."""

    def __init__(self, key: str, points: Points) -> None:
        self.name, self.key_hint, self.points = key, f"hint of {key}", points

    async def prepare(self) -> None:
        await self.points.at("prepare")

    async def sign(self, message: bytes) -> Signature:
        await self.points.at("sign")
        return Signature(self._over(message), self.key_hint)

    async def verifier(self) -> Verifier:
        await self.points.at("verifier")
        return self

    def holds(self, message: bytes, signature: bytes) -> bool:
        return signature == self._over(message)

    def _over(self, message: bytes) -> bytes:
        return hashlib.sha256(self.name.encode() + message).digest()


class FakeKeyring:
    """Has every key."""

    def __init__(self, points: Points) -> None:
        self.points = points

    def signer(self, key: SourceRef) -> Signer:
        return FakeSigner(key.name, self.points)


class FakeSecrets:
    """What lies in each place, by its name there; `read` are those that were asked for."""

    def __init__(self, points: Points) -> None:
        self.points = points
        self.held: dict[str, bytes] = {}
        self.read: list[str] = []

    async def resolve(self, source: SourceRef, purpose: str) -> SecretBytes:
        await self.points.at("secret")
        self.read.append(source.name)
        if source.name not in self.held:
            message = f"the variable {source.name}, which is to hold {purpose}, is not set"
            raise LianError(Problem("credential-missing", message))
        return SecretBytes(self.held[source.name])


class FakeTrigger:
    """Fires when told; signals that nobody waits for collapse into one."""

    def __init__(self) -> None:
        self._fired = asyncio.Event()
        self.error: Exception | None = None

    def fire(self) -> None:
        self._fired.set()

    async def wait(self) -> None:
        await self._fired.wait()
        self._fired.clear()
        if self.error:
            raise self.error


class World:
    """A commit, a registry and a place to build, that passes are run on."""

    def __init__(self, commit: Commit, folder: Path) -> None:
        self.points = Points()
        self.source = FakeSource(commit, self.points)
        self.revisions = FakeRevisions(self.points)
        self.registry = FakeRegistry(self.points)
        self.compute = FakeCompute(folder, self.points)
        self.builder = FakeBuilder(self.registry, self.compute, self.points)
        self.archives = FakeArchives(folder, self.points)
        self.keyring = FakeKeyring(self.points)
        self.secrets = FakeSecrets(self.points)
        self.clock = FakeClock()
        self.memory = FakeMemory()
        self.recorder = FakeRecorder()
        self.pauses: list[float] = []
        """How long it was waited before builds were done again."""
        self.logs = folder / "logs"
        self.logs.mkdir(exist_ok=True)
        self._passes = defaultdict(int, {"": 0})

    def ports(self) -> Ports:
        """The ports of the next pass."""
        self._passes[""] += 1
        return Ports(
            source=self.source,
            registry=self.registry,
            inventory=self.registry,
            clock=self.clock,
            memory=self.memory,
            publisher=self.registry,
            remover=self.registry,
            revisions=self.revisions,
            compute=self.compute,
            builder=self.builder,
            blob_files=self.registry,
            archives=self.archives,
            keyring=self.keyring,
            secrets=self.secrets,
            recorder=self.recorder,
            pause=self.pause,
            pass_id=f"pass{self._passes['']}",
            logs=self.logs,
        )

    async def pause(self, seconds: float) -> None:
        """See the port Pause: time passes at once."""
        await self.points.at("pause")
        self.pauses.append(seconds)

    def removing(self) -> Removing:
        """The ports of a prune."""
        return Removing(
            source=self.source,
            registry=self.registry,
            inventory=self.registry,
            clock=self.clock,
            memory=self.memory,
            publisher=self.registry,
            remover=self.registry,
            revisions=self.revisions,
        )

    def tag(self, repository: Repository, tag: str) -> Digest | None:
        """What a tag names."""
        return self.registry.tags.get((repository, tag))
