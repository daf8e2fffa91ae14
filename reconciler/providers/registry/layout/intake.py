"""Bringing an image from one image layout into another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.parts import below
from reconciler.model.problem import LianError
from reconciler.providers.registry.layout import durable
from reconciler.providers.registry.layout.writing import put
from reconciler.providers.registry.whole import MAX_DEPTH

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor, Manifest
    from reconciler.model.problem import Problem
    from reconciler.providers.registry.layout.folder import LayoutFolder


class Intake:
    """Children come before their parents, every blob is hashed, and hard links are made where that can be.

    `unfit` says, of the source's folder and a cause, that the image there is not what it should be.
    """

    def __init__(self, source: LayoutFolder, target: LayoutFolder, unfit: Callable[[Path, str], Problem]) -> None:
        self._source, self._target, self._unfit = source, target, unfit

    def manifest(self, digest: Digest, depth: int = 0) -> Manifest:
        """The manifest, with everything below it in place. Raises LianError with the problem `unfit`."""
        try:
            found = self._source.manifest(digest)
        except LianError as error:
            raise self._incomplete(error.problems[0].cause or error.problems[0].message) from error
        if found is None:
            raise self._incomplete(f"the manifest {digest} is not in it")
        if depth > MAX_DEPTH:
            raise self._incomplete("its indexes nest too deep")
        try:
            parts = below(found)
        except ValueError as error:
            raise self._incomplete(f"{digest}: {error}") from error
        for child in parts.manifests:
            self.manifest(child.digest, depth + 1)
        for blob in (*parts.blobs, *(b for b in parts.elsewhere if self._source.holds(b.digest, b.size))):
            self._blob(blob)
        put(self._target, digest, found.data)
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
        return LianError(self._unfit(self._source.path, cause))
