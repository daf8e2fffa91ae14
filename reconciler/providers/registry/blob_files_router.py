"""Brings large blobs from and to the registry that the repository is on; into the fleet's alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.manifest import Descriptor
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.connections import Connections
    from reconciler.providers.registry.distribution.blob_files import DistributionBlobFiles
    from reconciler.providers.registry.http.transport import Transport
    from reconciler.providers.registry.layout.blob_files import LayoutBlobFiles


class RoutedBlobFiles:
    """The port BlobFiles over many registries; only the fleet's are written."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def fetch(self, repository: Repository, blob: Descriptor, into: Path) -> None:
        """See the port."""
        await self._of(repository).fetch(repository, blob, into)

    async def store(self, repository: Repository, file: Path, media_type: str) -> Descriptor:
        """See the port. Raises LianError also as `registry-foreign`."""
        self._connections.check_writable(repository, "nothing is published to")
        return await self._of(repository).store(repository, file, media_type)

    def _of(self, repository: Repository) -> LayoutBlobFiles | DistributionBlobFiles:
        return self._connections.adapter(repository, _on_disk, _over_http)


def _on_disk(root: Path) -> LayoutBlobFiles:
    from reconciler.providers.registry.layout.blob_files import LayoutBlobFiles

    return LayoutBlobFiles(root)


def _over_http(transport: Transport) -> DistributionBlobFiles:
    from reconciler.providers.registry.distribution.blob_files import DistributionBlobFiles

    return DistributionBlobFiles(transport)
