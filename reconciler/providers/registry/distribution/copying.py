"""Bringing an image from one repository of a registry into another, over HTTP: children before their parents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.parts import below
from reconciler.model.problem import LianError
from reconciler.providers.registry import problems
from reconciler.providers.registry.bounded import each
from reconciler.providers.registry.whole import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor, Manifest
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.distribution.registry import DistributionRegistry
    from reconciler.providers.registry.distribution.uploads import Uploads


class Copying:
    """One image on its way. `put` puts a manifest into the target by its digest."""

    def __init__(
        self,
        source: Repository,
        target: Repository,
        registry: DistributionRegistry,
        uploads: Uploads,
        put: Callable[[Repository, Manifest], Awaitable[None]],
        at_once: int,
    ) -> None:
        self._source, self._target = source, target
        self._registry, self._uploads, self._put = registry, uploads, put
        self._at_once = at_once
        self._there: set[Digest] = set()

    async def bring(self, digest: Digest, depth: int = 0) -> None:
        """The manifest, with all that is below it. Layers that are not distributed with it stay where they are.

        Raises LianError `manifest-unknown`, `blob-unknown`, `registry-refused`, …
        """
        found = await self._registry.manifest(self._source, digest)
        try:
            parts = below(found)
            if depth > MAX_DEPTH:
                raise ValueError("its indexes nest too deep")
        except ValueError as error:
            what = f"{self._source.path}@{digest}"
            raise LianError(problems.not_oci(self._source.host, what, str(error))) from error
        for child in parts.manifests:
            if child.digest not in self._there:
                await self.bring(child.digest, depth + 1)
        await each(list({blob.digest: blob for blob in parts.blobs}.values()), self._blob, self._at_once)
        await self._put(self._target, found)
        self._there.add(digest)

    async def _blob(self, blob: Descriptor) -> None:
        if blob.digest not in self._there:
            await self._uploads.bring(self._source, self._target, blob)
            self._there.add(blob.digest)
