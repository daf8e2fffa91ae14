"""The source as everything behind the wiring sees it: registries are told what its commit says of them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from reconciler.cache.home import is_cache

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from reconciler.desired.source import GitSource
    from reconciler.model.artifact import Place
    from reconciler.model.desired import Desired, Materials, SentFolder
    from reconciler.model.plan import FileSince
    from reconciler.model.rule import Written
    from reconciler.model.tier import Sizes
    from reconciler.model.tree import Entry
    from reconciler.ports.revisions import Revisions
    from reconciler.providers.registry.connections import Connections


class Learning:
    """The source, with the registries told what the commit says of them: how each is reached, which may be written."""

    def __init__(self, source: GitSource, connections: Connections) -> None:
        self._source, self.connections = source, connections
        self.mirrored = True
        """Whether base images are looked for on mirrors first."""
        self.desired: Desired | None = None

    @property
    def revisions(self) -> Revisions:
        """The repo's other commits. What they say of registries is not learned: the commit of the pass decides that."""
        return self._source

    async def load(self) -> Desired:
        """See the port."""
        self.desired = desired = await self._source.load()
        own = {wanted.artifact.image for wanted in desired.wanted.values()}
        settings = desired.registries.values()
        fleet = desired.fleet.registry if self.mirrored else replace(desired.fleet.registry, mirrors=())
        caches = partial(is_cache, desired)
        writable = {image.host for image in own} | set(desired.registries)
        await self.connections.learn(
            settings, fleet=fleet, own=own, is_cache=caches, writable=writable, blob=self._source.blob
        )
        return desired

    async def places(self, written: Collection[Written]) -> Mapping[Written, Place]:
        """See the port."""
        return await self._source.places(written)

    async def descends(self, revision: str) -> bool | None:
        """See the port."""
        return await self._source.descends(revision)

    async def last_changed(self, files: Collection[FileSince]) -> Mapping[FileSince, str]:
        """See the port."""
        return await self._source.last_changed(files)

    async def listing(self, folder: SentFolder) -> tuple[Entry, ...]:
        """See the port."""
        return await self._source.listing(folder)

    async def sizes(self) -> Sizes:
        """See the port."""
        return await self._source.sizes()

    async def export(self, folder: SentFolder, into: Path) -> int:
        """See the port."""
        return await self._source.export(folder, into)

    async def export_dockerfile(self, materials: Materials, into: Path) -> None:
        """See the port."""
        await self._source.export_dockerfile(materials, into)

    async def blob(self, path: str) -> bytes:
        """See the port."""
        return await self._source.blob(path)
