"""Writing to a registry that is a folder on disk. Safe beside other processes, and whenever it is cut off.

The order is that of a registry: blobs, then the manifest, then the index that names it. Each file is complete and on
disk before its name appears, so a reader never meets a part; what a dead writer left is removed by the next one.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.model.manifest import Descriptor, Manifest
from reconciler.model.parts import below
from reconciler.model.problem import LianError
from reconciler.ports.publisher import ReadLayout, WriteLayout
from reconciler.providers.registry import problems, referrers
from reconciler.providers.registry.layout.folder import LayoutFolder
from reconciler.providers.registry.layout.index import LayoutIndex
from reconciler.providers.registry.layout.intake import Intake
from reconciler.providers.registry.layout.registry import LayoutRegistry, told
from reconciler.providers.registry.layout.sweep import Sweeper
from reconciler.providers.registry.layout.writing import (
    changing,
    listing,
    prepared,
    put,
    putting,
    retiring,
    save,
    tidy,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository
    from reconciler.ports.publisher import Destination, Origin


class LayoutPublisher:
    """The port Publisher on disk."""

    def __init__(self, root: Path) -> None:
        self._registry = LayoutRegistry(root)
        self._root, self._sweeper = root, Sweeper()

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

    async def copy(self, source: Repository, target: Repository, digest: Digest) -> Manifest:
        """See the port. Every blob is hashed; hard links where the file system has them. Raises LianError
        `manifest-unknown`, `blob-unknown`, `registry-damaged`, …"""
        if source.host != target.host:
            raise ValueError(f"{source} and {target} are not on one registry")
        found = await self._registry.look(source, digest)
        if found.missing:
            raise LianError(problems.lacking(str(self._root), source.path, found.manifests, found.blobs))
        return await asyncio.to_thread(self._copy, source, target, digest)

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
            folder = prepared(self._root, repository)
            with putting(folder):
                manifest = Intake(LayoutFolder(source), folder, problems.incomplete).manifest(digest)
                self._enter(folder, Descriptor.of(manifest.media_type, manifest.data), ())
        return self._registry.read_manifest(repository, digest)

    def _copy(self, source: Repository, target: Repository, digest: Digest) -> Manifest:
        with told(self._root):
            origin, folder = self._registry.folder(source), prepared(self._root, target)
            with putting(origin), putting(folder):
                manifest = Intake(origin, folder, problems.damaged).manifest(digest)
                subject = referrers.subject_of(manifest)
                plain = Descriptor.of(manifest.media_type, manifest.data)
                self._enter(folder, plain if subject is None else referrers.descriptor_of(manifest), (), subject)
        return self._registry.read_manifest(target, digest)

    def _publish(
        self, repository: Repository, manifest: Manifest, tags: tuple[str, ...], blobs: Mapping[Digest, bytes]
    ) -> Descriptor:
        plain = Descriptor.of(manifest.media_type, manifest.data)
        with told(self._root):
            folder = prepared(self._root, repository)
            with putting(folder):
                for digest, data in blobs.items():
                    if not digest.matches(data):
                        raise ValueError(f"the bytes do not have the digest {digest}")
                    put(folder, digest, data)
                subject = self._checked(folder, repository, manifest)
                put(folder, manifest.digest, manifest.data)
                entry = plain if subject is None else referrers.descriptor_of(manifest)
                left = self._enter(folder, entry, tags, subject)
            if left is not None:
                tidy(folder, left, self._sweeper)
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

    def _enter(
        self, folder: LayoutFolder, descriptor: Descriptor, tags: Sequence[str], subject: Digest | None = None
    ) -> LayoutIndex | None:
        """Into the index, in one step. The index before it, if a document of lian's own retired: then the layout is to
        be tidied."""
        with changing(folder):
            old = folder.index() or LayoutIndex.empty()
            moved = old.pointing(tags, descriptor) if tags else old.holding(descriptor)
            if subject is not None:
                moved = listing(folder, moved, subject, descriptor)
            new = moved
            for tag in tags:
                new = retiring(folder, old, new, tag)
            save(folder, old, new)
            return None if new is moved else old
