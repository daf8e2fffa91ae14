"""Writing to a registry that is a folder on disk. Safe beside other processes, and whenever it is cut off.

The order is that of a registry: blobs, then the manifest, then the index that names it. Each file is complete and on
disk before its name appears, so a reader never meets a part; what a dead writer left is removed by the next one.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.manifest import Descriptor, Manifest
from reconciler.model.problem import LianError
from reconciler.ports.registry import ReadLayout, WriteLayout
from reconciler.providers.registry import durable, problems, referrers
from reconciler.providers.registry.layout import LayoutRegistry, told, unreadable
from reconciler.providers.registry.layout_folder import BLOBS, INDEX, LOCK, MARK, LayoutFolder
from reconciler.providers.registry.layout_index import LayoutIndex
from reconciler.providers.registry.parts import below

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository
    from reconciler.ports.registry import Destination, Origin

_MARK = b'{"imageLayoutVersion":"1.0.0"}\n'
_PATIENCE = 60.0
"""Seconds to wait for another writer of the same repository; a writer holds the lock for milliseconds."""
_MAX_DEPTH = 4
"""Of indexes inside indexes."""


class LayoutPublisher:
    """The port Publisher on disk."""

    def __init__(self, root: Path) -> None:
        self._registry = LayoutRegistry(root)
        self._root = root

    async def aclose(self) -> None:
        """Nothing is held open."""

    def destination(self, repository: Repository, scratch: Path) -> Destination:
        """A layout in the build's own scratch folder."""
        return WriteLayout(scratch / "image")

    def origin(self, repository: Repository) -> Origin:
        """The repository's own layout."""
        return ReadLayout(self._registry.folder(repository).path)

    async def take_in(self, repository: Repository, destination: Destination, digest: Digest) -> Manifest:
        """See the port. Every blob is hashed. Raises LianError `image-damaged`, `disk-full`, …"""
        if not isinstance(destination, WriteLayout):
            raise TypeError(f"{destination} was not handed out by a registry on disk")
        return await asyncio.to_thread(self._take_in, repository, destination.folder, digest)

    async def publish(
        self,
        repository: Repository,
        manifest: Manifest,
        *,
        tags: Sequence[str] = (),
        blobs: Mapping[Digest, bytes] | None = None,
    ) -> Descriptor:
        """See the port; all tags move in one step. Raises LianError `registry-refused`, `disk-full`, …"""
        return await asyncio.to_thread(self._publish, repository, manifest, tuple(tags), blobs or {})

    def _take_in(self, repository: Repository, source: Path, digest: Digest) -> Manifest:
        with told(self._root):
            folder = self._prepared(repository)
            manifest = _Intake(LayoutFolder(source), folder).manifest(digest)
            self._enter(folder, Descriptor.of(manifest.media_type, manifest.data), ())
        return self._registry.read_manifest(repository, digest)

    def _publish(
        self, repository: Repository, manifest: Manifest, tags: tuple[str, ...], blobs: Mapping[Digest, bytes]
    ) -> Descriptor:
        with told(self._root):
            folder = self._prepared(repository)
            for digest, data in blobs.items():
                if not digest.matches(data):
                    raise ValueError(f"the bytes do not have the digest {digest}")
                _put(folder, digest, data)
            subject = self._checked(folder, repository, manifest)
            _put(folder, manifest.digest, manifest.data)
            plain = Descriptor.of(manifest.media_type, manifest.data)
            self._enter(folder, plain if subject is None else referrers.descriptor_of(manifest), tags, subject)
        return plain

    def _checked(self, folder: LayoutFolder, repository: Repository, manifest: Manifest) -> Digest | None:
        """The manifest's subject; what it names must be there, as registries demand. Raises `registry-refused`."""
        what = f"the manifest {repository.path}@{manifest.digest}"
        try:
            parts = below(manifest)
            subject = referrers.subject_of(manifest)
        except ValueError as error:
            raise LianError(problems.refused(str(self._root), what, f"MANIFEST_INVALID: {error}")) from error
        for part in (*parts.manifests, *parts.blobs):
            if not folder.holds(part.digest, part.size):
                cause = f"MANIFEST_BLOB_UNKNOWN: {part.digest} ({part.size} bytes)"
                raise LianError(problems.refused(str(self._root), what, cause))
        return subject

    def _prepared(self, repository: Repository) -> LayoutFolder:
        """The repository's layout, made if need be. The index comes before the mark that makes it a layout, so that
        a marked layout without index is never an unfinished one."""
        if not self._root.exists():
            durable.make_folder(self._root)
            durable.write(self._root / ".gitignore", b"*\n", self._root)
        folder = self._registry.folder(repository)
        durable.make_folder(folder.path / BLOBS / "sha256")
        if not (folder.path / MARK).exists():
            with durable.locked(folder.path / LOCK, _PATIENCE):
                if not (folder.path / INDEX).exists():
                    durable.write(folder.path / INDEX, LayoutIndex.empty().to_bytes(), folder.path)
                    durable.sync_folder(folder.path)
                durable.write(folder.path / MARK, _MARK, folder.path)
                durable.sync_folder(folder.path)
        durable.sweep(folder.path)
        return folder

    def _enter(
        self, folder: LayoutFolder, descriptor: Descriptor, tags: Sequence[str], subject: Digest | None = None
    ) -> None:
        """Into the index, in one step, after all it names is on disk (also what another writer has just put there)."""
        with durable.locked(folder.path / LOCK, _PATIENCE), unreadable(folder):
            old = folder.index() or LayoutIndex.empty()
            new = old.pointing(tags, descriptor) if tags else old.holding(descriptor)
            if subject is not None:
                new = _with_referrer(folder, new, subject, descriptor)
            if new is not old:
                for algorithm in (folder.path / BLOBS).iterdir():
                    durable.sync_folder(algorithm)
                durable.write(folder.path / INDEX, new.to_bytes(), folder.path)
                durable.sync_folder(folder.path)


class _Intake:
    """Brings an image from the builder's layout into a repository's, children before their parents."""

    def __init__(self, source: LayoutFolder, target: LayoutFolder) -> None:
        self._source, self._target = source, target

    def manifest(self, digest: Digest, depth: int = 0) -> Manifest:
        """The manifest, with everything below it in place. Raises LianError `image-damaged`."""
        try:
            found = self._source.manifest(digest)
        except LianError as error:
            raise self._incomplete(error.problems[0].cause or error.problems[0].message) from error
        if found is None:
            raise self._incomplete(f"the manifest {digest} is not in it")
        if depth >= _MAX_DEPTH:
            raise self._incomplete("its indexes nest too deep")
        try:
            parts = below(found)
        except ValueError as error:
            raise self._incomplete(f"{digest}: {error}") from error
        for child in parts.manifests:
            self.manifest(child.digest, depth + 1)
        for blob in (*parts.blobs, *(b for b in parts.elsewhere if self._source.holds(b.digest, b.size))):
            self._blob(blob)
        _put(self._target, digest, found.data)
        return found

    def _blob(self, blob: Descriptor) -> None:
        if self._target.holds_verified(blob.digest, blob.size):
            return
        if not self._source.holds_verified(blob.digest, blob.size):
            raise self._incomplete(f"the blob {blob.digest} ({blob.size} bytes) is missing or damaged")
        target = Path(self._target.blob_path(blob.digest))
        durable.make_folder(target.parent)
        durable.adopt(Path(self._source.blob_path(blob.digest)), target, self._target.path)

    def _incomplete(self, cause: str) -> LianError:
        return LianError(problems.incomplete(self._source.path, cause))


def _put(folder: LayoutFolder, digest: Digest, data: bytes) -> None:
    """A small blob; one that is there and whole stays, a damaged one is replaced."""
    if folder.holds_verified(digest, len(data)):
        return
    target = Path(folder.blob_path(digest))
    durable.make_folder(target.parent)
    durable.write(target, data, folder.path)


def _with_referrer(folder: LayoutFolder, index: LayoutIndex, subject: Digest, new: Descriptor) -> LayoutIndex:
    """The index with the referrer in the fallback list too, which tools other than lian look at; entries that fall
    out of that list leave the index with it."""
    tag = referrers.fallback_tag(subject)
    listed = index.tagged({tag}).get(tag)
    fallback = folder.manifest(listed.digest) if listed else None
    before = referrers.entries_of(fallback) if fallback else []
    after = referrers.merged(before, new)
    dropped = {str(e.get("digest")) for e in before} - {str(e.get("digest")) for e in after}
    manifest = referrers.index_of(after)
    _put(folder, manifest.digest, manifest.data)
    superseded = {str(listed.digest)} if listed and listed.digest != manifest.digest else set()
    moved = index.pointing((tag,), Descriptor.of(manifest.media_type, manifest.data))
    return moved.without(dropped | superseded)
