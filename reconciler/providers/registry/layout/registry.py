"""Reading a registry that is a folder on disk: one OCI image layout per repository."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from reconciler.model.manifest import MAX_MANIFEST
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.problem import LianError
from reconciler.ports.registry import BLOB_UNKNOWN, MANIFEST_UNKNOWN
from reconciler.providers.registry import problems, referrers, whole
from reconciler.providers.registry.layout.folder import LayoutFolder, folder_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor, Manifest
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Reference, Repository
    from reconciler.providers.registry.layout.index import LayoutIndex
    from reconciler.providers.registry.whole import Whole

Answer = TypeVar("Answer")
_READS = 5
"""Of an index that changes under its reader."""


class LayoutRegistry:
    """The port Registry on disk; it writes nothing, not even a lock. `root` holds the repositories' folders."""

    def __init__(self, root: Path) -> None:
        self.root = root

    async def aclose(self) -> None:
        """Nothing is held open."""

    async def heads(self, references: Collection[Reference]) -> Mapping[Reference, Sighting]:
        """See the port. Each repository's index is read once; what a tag names is read and hashed."""
        return await asyncio.to_thread(self._heads, references)

    async def manifest(self, repository: Repository, digest: Digest) -> Manifest:
        """See the port. Raises LianError `manifest-unknown`, `registry-damaged`, `content-too-large`, …"""
        return await asyncio.to_thread(self.read_manifest, repository, digest)

    async def blob(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        """See the port. Raises LianError `blob-unknown`, `registry-damaged`, `content-too-large`, …"""
        return await asyncio.to_thread(self._blob, repository, digest, limit)

    async def referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> Sequence[Descriptor]:
        """See the port. What the fallback tag lists, and what else the index holds with that subject."""
        return await asyncio.to_thread(self._referrers, repository, subject, artifact_type)

    async def missing(self, repository: Repository, digest: Digest) -> tuple[Digest, ...]:
        """See the port. Manifests are read; a blob is there if a file of its size is. Raises LianError."""
        return (await self.look(repository, digest)).missing

    async def verified(self, repository: Repository, blob: Descriptor) -> bool:
        """See the port. Raises LianError `blob-unknown`, …"""
        return await asyncio.to_thread(self._verified, repository, blob)

    async def look(self, repository: Repository, digest: Digest) -> Whole:
        """`missing`, with the image's own manifest."""
        folder = self.folder(repository)
        with unreadable(folder):
            return await whole.look(_Shelf(self.root, folder), digest)

    def folder(self, repository: Repository) -> LayoutFolder:
        """The repository's layout, whether it exists or not."""
        return LayoutFolder(folder_of(self.root, repository))

    def read_manifest(self, repository: Repository, digest: Digest) -> Manifest:
        """`manifest`, blocking."""
        folder = self.folder(repository)
        with told(self.root):
            found = folder.manifest(digest)
        if found is None:
            raise LianError(problems.missing(MANIFEST_UNKNOWN, str(self.root), f"{repository.path}@{digest}"))
        return found

    def _heads(self, references: Collection[Reference]) -> dict[Reference, Sighting]:
        by_repository: dict[Repository, list[Reference]] = {}
        for reference in references:
            by_repository.setdefault(reference.repository, []).append(reference)
        answers: dict[Reference, Sighting] = {}
        for repository, wanted in by_repository.items():
            try:
                with told(self.root):
                    answers.update(_sightings(self.folder(repository), wanted))
            except LianError as error:
                answers.update(dict.fromkeys(wanted, Unknown(error.problems[0])))
        return answers

    def _blob(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        with told(self.root):
            data = self.folder(repository).blob(digest, limit)
        if data is None:
            raise LianError(problems.missing(BLOB_UNKNOWN, str(self.root), f"{repository.path}@{digest}"))
        return data

    def _verified(self, repository: Repository, blob: Descriptor) -> bool:
        folder = self.folder(repository)
        with told(self.root):
            if folder.holds_verified(blob.digest, blob.size):
                return True
            there = Path(folder.blob_path(blob.digest)).exists()
        if not there:
            raise LianError(problems.missing(BLOB_UNKNOWN, str(self.root), f"{repository.path}@{blob.digest}"))
        return False

    def _referrers(self, repository: Repository, subject: Digest, artifact_type: str | None) -> tuple[Descriptor, ...]:
        folder, tag = self.folder(repository), referrers.fallback_tag(subject)

        def read(index: LayoutIndex | None) -> tuple[tuple[Descriptor, ...], bool]:
            listed = index.tagged({tag}).get(tag) if index else None
            fallback = folder.manifest(listed.digest) if listed else None
            found = referrers.selected(referrers.entries_of(fallback), artifact_type) if fallback else ()
            known = {d.digest for d in found}
            held = index.descriptors() if index else ()
            kinds = [d for d in held if (d.artifact_type == artifact_type if artifact_type else d.artifact_type)]
            rest = [d for d in kinds if d.digest not in known]
            found += tuple(d for d in rest if _refers(folder, d, subject))
            return found, listed is None or fallback is not None

        with told(self.root), unreadable(folder):
            return _settled(folder, read)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """Where the parts of one repository's images lie. OSError becomes LianError here, in the thread it comes from."""

    root: Path
    folder: LayoutFolder

    async def manifests(self, digests: Sequence[Digest]) -> Sequence[Manifest | None]:
        def read() -> list[Manifest | None]:
            with told(self.root):
                return [self.folder.manifest(digest) for digest in digests]

        return await asyncio.to_thread(read)

    async def holds(self, blobs: Sequence[Descriptor]) -> Sequence[bool]:
        def look() -> list[bool]:
            with told(self.root):
                return [self.folder.holds(blob.digest, blob.size) for blob in blobs]

        return await asyncio.to_thread(look)


@contextlib.contextmanager
def told(root: Path) -> Iterator[None]:
    """Turns the file system's errors into LianError."""
    try:
        yield
    except OSError as error:
        raise LianError(problems.disk(root, error)) from error


@contextlib.contextmanager
def unreadable(folder: LayoutFolder) -> Iterator[None]:
    """Turns what cannot be parsed inside a layout into LianError `registry-damaged`."""
    try:
        yield
    except ValueError as error:
        raise LianError(problems.damaged(folder.path, str(error))) from error


def _settled(folder: LayoutFolder, read: Callable[[LayoutIndex | None], tuple[Answer, bool]]) -> Answer:
    """What `read` makes of the index. Where that named something that is not there, which `read` tells too, someone may
    just have removed it: then the index says so by now, and is read once more."""
    index = folder.index()
    for _ in range(_READS):
        found, consistent = read(index)
        before, index = index, index if consistent else folder.index()
        if index == before:
            break
    return found


def _sightings(folder: LayoutFolder, wanted: Sequence[Reference]) -> dict[Reference, Sighting]:
    tags = {reference.name for reference in wanted if reference.digest is None}

    def read(index: LayoutIndex | None) -> tuple[dict[Reference, Sighting], bool]:
        tagged = index.tagged(tags) if index else {}
        found: dict[Digest, Sighting] = {}
        answers: dict[Reference, Sighting] = {}
        consistent = True
        for reference in wanted:
            digest = reference.digest or (tagged[reference.name].digest if reference.name in tagged else None)
            if digest is None:
                answers[reference] = ABSENT
                continue
            if digest not in found:
                found[digest] = _sighting(folder, digest)
            seen = found[digest]
            if seen is ABSENT and reference.digest is None:
                cause = f"{reference.name} names {digest}, which is no manifest in it"
                seen, consistent = Unknown(problems.damaged(folder.path, cause)), False
            answers[reference] = seen
        return answers, consistent

    with unreadable(folder):
        return _settled(folder, read) if tags else read(None)[0]


def _sighting(folder: LayoutFolder, digest: Digest) -> Sighting:
    try:
        found = folder.manifest(digest)
    except LianError as error:
        return Unknown(error.problems[0])
    return Found(digest, found.media_type, len(found.data)) if found else ABSENT


def _refers(folder: LayoutFolder, descriptor: Descriptor, subject: Digest) -> bool:
    if descriptor.size > MAX_MANIFEST:
        return False
    manifest = folder.manifest(descriptor.digest)
    return manifest is not None and referrers.subject_of(manifest) == subject
