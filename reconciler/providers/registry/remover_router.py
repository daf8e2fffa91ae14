"""Takes away from the registry that the repository is on, if it is the fleet's."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.connections import Connections
    from reconciler.providers.registry.distribution.remover import DistributionRemover
    from reconciler.providers.registry.http.transport import Transport
    from reconciler.providers.registry.layout.remover import LayoutRemover


class RoutedRemover:
    """The port Remover over the fleet's registries, and no other."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def untag(self, repository: Repository, tag: str) -> None:
        """See the port. Raises LianError also as `registry-foreign`."""
        await self._of(repository).untag(repository, tag)

    async def delete(self, repository: Repository, digest: Digest) -> None:
        """See the port. Raises LianError also as `registry-foreign`."""
        await self._of(repository).delete(repository, digest)

    def _of(self, repository: Repository) -> LayoutRemover | DistributionRemover:
        """The same one for all that a pass takes away: a remover learns what its registry can do."""
        self._connections.check_writable(repository, "nothing is removed from")
        return self._connections.adapter(repository, _on_disk, _over_http)


def _on_disk(root: Path) -> LayoutRemover:
    from reconciler.providers.registry.layout.remover import LayoutRemover

    return LayoutRemover(root)


def _over_http(transport: Transport) -> DistributionRemover:
    from reconciler.providers.registry.distribution.remover import DistributionRemover

    return DistributionRemover(transport)
