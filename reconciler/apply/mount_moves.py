"""One way of the cache mounts of a build: from the registry into the builder, or back. Each works in a folder of its
own, and leaves nothing there that anyone needs."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.apply.mount_steps import ARCHIVES, OUT, emptying, name_of, restoring, saving
from reconciler.cache import mounts as forms
from reconciler.cache import notes
from reconciler.cache.content import rfc3339
from reconciler.cache.mounts import SavedMount
from reconciler.cache.notes import Note
from reconciler.finishing import all_of
from reconciler.model.cache import MAX_MOUNTS, MAX_MOUNTS_BYTES
from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB
from reconciler.model.mount_use import MountsEnd, MountsMoved
from reconciler.model.observed import Found, Unknown
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.archives import BROKEN, TOO_LARGE, UNSAFE, Packed
from reconciler.ports.builder import BuildRequest, WriteFolder
from reconciler.ports.registry import GONE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from reconciler.apply.mount_steps import MountStep
    from reconciler.model.cache import CacheMount
    from reconciler.model.manifest import Manifest
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Sighting
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Reference
    from reconciler.model.tier import Tier
    from reconciler.ports.archives import Tool
    from reconciler.ports.bundle import Ports
    from reconciler.ports.compute import Runner
    from reconciler.ports.registry import Registry

    _Made: TypeAlias = Mapping[CacheMount, tuple[Path, Packed]]

STEP_SECONDS = 600.0
"""How long a builder may take to unpack, or to pack, what a build keeps."""
EMPTYING_SECONDS = 60.0
"""How long it may take to empty the mounts when a restore was broken off."""
LATE = "cache-mounts-late"
"""Code of the problem that it took too long to bring cache mounts."""
_AT_ONCE = 2
"""Mounts that are fetched or packed at a time: one is waited for while another is worked on."""


@dataclass(frozen=True, slots=True)
class Lying:
    """What lies in a slot."""

    reference: Reference
    manifest: Manifest
    saved: tuple[SavedMount, ...]


@dataclass(frozen=True, slots=True)
class Build:
    """Whose mounts they are, for which platform, on which runner."""

    name: ArtifactName
    platform: Platform
    runner: Runner
    tier: Tier
    namespace: str
    """See BuildRequest.mount_namespace."""


class Spoilt(LianError):
    """A restore failed half-way, and the mounts could not be emptied either."""


async def lying(registry: Registry, reference: Reference, head: Sighting) -> Lying | None:
    """What was seen at the reference, None if nothing is there. Raises LianError if it cannot be read, ValueError for
    what is no saved mounts."""
    if isinstance(head, Unknown):
        raise LianError(head.problem)
    if not isinstance(head, Found):
        return None
    try:
        manifest = await registry.manifest(reference.repository, head.digest)
    except LianError as error:
        if all(problem.code in GONE for problem in error.problems):
            return None
        raise
    return Lying(reference, manifest, forms.parsed(manifest))


@asynccontextmanager
async def within(until: float) -> AsyncIterator[None]:
    """Raises LianError LATE if the block has not ended by then, in the event loop's time; it is cancelled. Any other
    cancellation passes."""
    limit = asyncio.timeout_at(until)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        hint = "if it is the rule, keep less in the folders, or leave `cache.mounts` off"
        message = "it took too long to bring the cache mounts, and they were given up"
        raise LianError(Problem(LATE, message, hint=hint, next=Next.RETRY)) from error


@dataclass(slots=True)
class _Moving:
    ports: Ports
    build: Build
    tool: Tool
    folder: Path
    problems: list[Problem]
    """What kept a mount from being brought; the others are."""
    nonce: str = field(default_factory=lambda: secrets.token_hex(8))
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(_AT_ONCE))

    async def _solve(
        self, what: str, step: MountStep, *, archives: Path | None = None, out: Path | None = None
    ) -> None:
        """Run one of lian's own steps. Raises LianError, OSError."""
        name, platform = self.build.name, self.build.platform
        dockerfile = self.folder / "steps" / f"{self.nonce}.{what}.Dockerfile"
        dockerfile.parent.mkdir(exist_ok=True)
        dockerfile.write_text(step.text, encoding="utf-8")
        log = f"{name.workspace}_{name.artifact}_{str(platform).replace('/', '-')}_mounts-{what}.log"
        request = BuildRequest(
            artifact=str(name),
            platform=self.tool.platform,
            context=self.folder / "tool",
            dockerfile=dockerfile,
            log=self.ports.logs / log,
            tier=self.build.tier,
            destination=WriteFolder(out) if out else None,
            args=step.args,
            contexts={ARCHIVES: archives} if archives else {},
            deadline=STEP_SECONDS,
            mount_namespace=self.build.namespace,
        )
        await self.ports.builder.build(self.build.runner, request, lambda seen: None)

    async def _lay_tool(self) -> str:
        """The busybox in a context of its own, under a name that follows from its content: see `name_of`."""
        context = self.folder / "tool"
        context.mkdir(exist_ok=True)

        def lay() -> str:
            data = self.tool.path.read_bytes()
            name = f"busybox-{hashlib.sha256(data).hexdigest()[:32]}"
            (context / name).write_bytes(data)
            (context / name).chmod(0o755)
            return name

        return await asyncio.to_thread(lay)

    def _note(self, mount: CacheMount, error: LianError) -> None:
        told = (replace(problem, message=f"the cache mount {mount}: {problem.message}") for problem in error.problems)
        self.problems.extend(told)


@dataclass(slots=True)
class Restoring(_Moving):
    """From the registry into the builder, `until` then."""

    until: float = field(kw_only=True)
    refused: set[CacheMount] = field(default_factory=set)
    """Those whose archive is no good, now or later."""

    async def run(self, found: Lying, mounts: Sequence[CacheMount]) -> MountsMoved:
        """Raises LianError, OSError."""
        archives = self.folder / ARCHIVES
        archives.mkdir()
        wanted = [one for one in found.saved if one.mount in mounts]
        async with within(self.until):
            brought = await all_of(self._brought(found, one, archives / str(n)) for n, one in enumerate(wanted))
        good = [(number, one) for number, one in enumerate(wanted) if brought[number]]
        if not good:
            return MountsMoved()
        for new, (old, _) in enumerate(good):
            for late in (False, True):
                _numbered(archives / str(old), late=late).rename(archives / name_of(self.nonce, new, late=late))
        await self._unpacked([one.mount for _, one in good], archives)
        size = sum(one.blob.size for _, one in good)
        return MountsMoved(MountsEnd.RESTORED, str(found.reference), len(good), size)

    async def _brought(self, found: Lying, one: SavedMount, into: Path) -> bool:
        """False if it cannot be used; why is noted."""
        packed = self.folder / f"{into.name}.zst"
        async with self._gate:
            try:
                await self.ports.blob_files.fetch(found.reference.repository, one.blob, packed)
                told = Packed(one.size, one.members)
                await self.ports.archives.unpack(packed, into, _numbered(into, late=True), told)
            except LianError as error:
                self._note(one.mount, error)
                if any(problem.code in GONE or problem.next is not Next.RETRY for problem in error.problems):
                    self.refused.add(one.mount)
                return False
            finally:
                packed.unlink(missing_ok=True)
        return True

    async def _unpacked(self, mounts: Sequence[CacheMount], archives: Path) -> None:
        """Raises LianError; then the mounts are empty, unless it is Spoilt."""
        tool = await self._lay_tool()
        try:
            async with within(self.until):
                await self._solve("restore", restoring(mounts, tool, self.nonce), archives=archives)
        except LianError as error:
            await self._emptied(mounts, tool, error)
            raise

    async def _emptied(self, mounts: Sequence[CacheMount], tool: str, why: LianError) -> None:
        """What is there by halves is away, and so is the room it took. Raises Spoilt."""
        try:
            async with within(asyncio.get_running_loop().time() + EMPTYING_SECONDS):
                await self._solve("empty", emptying(mounts, tool, secrets.token_hex(8)))
        except OSError as error:
            raise Spoilt(why.problems) from error
        except LianError as error:
            raise Spoilt((*why.problems, *error.problems)) from error


@dataclass(slots=True)
class Saving(_Moving):
    """From the builder into the registry, in the name of a fleet and its commit. Nothing is kept of what lies there of
    `refused` mounts, or of what is not as fresh."""

    fleet: str = ""
    revision: str = ""
    freshness: str = ""
    refused: frozenset[CacheMount] = frozenset()
    _failed: set[CacheMount] = field(default_factory=set)
    """Those that could not be packed, through no fault of theirs."""
    _own: frozenset[CacheMount] = frozenset()
    """This build's."""

    async def run(self, place: Reference, mounts: Sequence[CacheMount]) -> MountsMoved:
        """Raises LianError, OSError."""
        self._own = frozenset(mounts)
        out = self.folder / OUT
        await self._solve("save", saving(mounts, await self._lay_tool(), self.nonce), out=out)
        before = await self._before(place)
        packed = await all_of(self._packed(n, mount, out / OUT) for n, mount in enumerate(mounts))
        made = {mount: one for mount, one in zip(mounts, packed, strict=True) if one is not None}
        now = float(int(self.ports.clock()))
        saved = await self._stored(place, made, self._carried(made, before, now), now)
        known = {one.blob.digest for one in before.saved} if before else frozenset[Digest]()
        new = sum(one.blob.size for one in saved if one.blob.digest not in known)
        own, dropped = sum(one.mount in self._own for one in saved), sum(one.dropped for _, one in made.values())
        moved = MountsMoved(MountsEnd.UNCHANGED, str(place), own, new, dropped=dropped)
        if not saved or (before is not None and forms.is_current(before.manifest, saved, now, self.freshness)):
            return moved
        blobs = {Digest.of(EMPTY_BLOB): EMPTY_BLOB}
        try:
            manifest = forms.formed(saved, self._annotations(now))
        except ValueError as error:
            message = "the cache mounts are not saved: they could not be restored"
            raise LianError(Problem(BROKEN, message, cause=str(error), next=Next.BUG)) from error
        await self.ports.publisher.publish(place.repository, manifest, tags=[place.name], blobs=blobs)
        return replace(moved, end=MountsEnd.SAVED)

    async def _before(self, place: Reference) -> Lying | None:
        """What is saved now; what is no such thing is overwritten. Raises LianError if nobody can tell."""
        head = (await self.ports.registry.heads([place]))[place]
        try:
            return await lying(self.ports.registry, place, head)
        except ValueError:
            return None

    async def _packed(self, number: int, mount: CacheMount, folder: Path) -> tuple[Path, Packed] | None:
        """None if it cannot be kept; why is noted. The tar goes at once: it is large."""
        tar, into = folder / name_of(self.nonce, number), self.folder / f"{number}.zst"
        async with self._gate:
            try:
                return into, await self.ports.archives.pack(tar, into)
            except LianError as error:
                self._note(mount, error)
                if not any(problem.code in {TOO_LARGE, UNSAFE} for problem in error.problems):
                    self._failed.add(mount)
                return None
            finally:
                tar.unlink(missing_ok=True)

    async def _stored(self, place: Reference, made: _Made, old: Iterable[SavedMount], now: float) -> list[SavedMount]:
        """What is to lie there, as far as the bounds of it all allow: what is not empty now, put into the registry, and
        what is carried over of `old`. Raises LianError."""
        saved: list[SavedMount] = []
        room = MAX_MOUNTS_BYTES
        new = ((mount, packed.size) for mount, (_, packed) in made.items() if packed.members)
        kept = {one.mount: one for one in old}
        for mount, size in (*new, *((one.mount, one.size) for one in kept.values())):
            if size > room or (mount in kept and len(saved) >= MAX_MOUNTS):
                if mount in self._own:
                    self._note(mount, LianError(_too_much()))
                continue
            room -= size
            if mount in kept:
                saved.append(kept[mount])
            else:
                file, packed = made[mount]
                blob = await self.ports.blob_files.store(place.repository, file, forms.LAYER)
                saved.append(SavedMount(mount, blob, size, packed.members, now))
        return saved

    def _carried(self, made: _Made, before: Lying | None, now: float) -> Iterator[SavedMount]:
        """What was saved and may stay. Of this build's mounts: those that are empty now, as their steps did not run
        here, and those that could not be packed. Then those that other builds had of late, the youngest first."""
        if before is None or not notes.is_fresh(before.manifest, self.freshness):
            return
        old = [one for one in before.saved if one.mount not in self.refused]
        for one in old:
            if one.mount in self._failed or (one.mount in made and not made[one.mount][1].members):
                yield replace(one, seen=now)
        others = [(one.seen, n) for n, one in enumerate(old) if one.mount not in self._own and one.seen is not None]
        for seen, number in sorted(others, reverse=True):
            if abs(now - seen) < forms.UNUSED_SECONDS:
                yield old[number]

    def _annotations(self, now: float) -> dict[str, str]:
        name, created = str(self.build.name), rfc3339(now) or ""
        return notes.origin(Note(name, self.fleet, self.revision, created, self.freshness))


def _numbered(path: Path, *, late: bool) -> Path:
    """An archive on its way, and the one that is unpacked after it."""
    return path.with_name(f"{path.name}.late") if late else path


def _too_much() -> Problem:
    cause = f"all cache mounts of the build together have more than {MAX_MOUNTS_BYTES:,} bytes"
    hint = "keep less in the folders, or leave `cache.mounts` off"
    return Problem(TOO_LARGE, "it is not kept", cause=cause, hint=hint)
