"""Sends questions about whole registries to the registry they are about."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.reference import Repository

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.digest import Digest
    from reconciler.providers.registry.connections import Connections
    from reconciler.providers.registry.distribution.inventory import DistributionInventory
    from reconciler.providers.registry.layout.inventory import LayoutInventory


class RoutedInventory:
    """The port Inventory over many registries."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def repositories(self, host: str) -> tuple[str, ...]:
        """See the port."""
        return await self._of(host).repositories(host)

    async def tags_of(self, repository: Repository) -> Mapping[str, Digest]:
        """See the port."""
        return await self._of(repository.host).tags_of(repository)

    async def all_names(self, repositories: Collection[Repository]) -> Mapping[Repository, tuple[str, ...]]:
        """See the port."""
        found: dict[Repository, tuple[str, ...]] = {}
        for host in dict.fromkeys(repository.host for repository in repositories):
            found |= await self._of(host).all_names([r for r in repositories if r.host == host])
        return found

    async def all_tags(self, repositories: Collection[Repository]) -> Mapping[Repository, Mapping[str, Digest]]:
        """`tags` of many repositories, each registry asked in bulk. Raises LianError as it does."""
        found: dict[Repository, Mapping[str, Digest]] = {}
        for host in dict.fromkeys(repository.host for repository in repositories):
            found |= await self._of(host).all_tags([r for r in repositories if r.host == host])
        return found

    def _of(self, host: str) -> LayoutInventory | DistributionInventory:
        root = self._connections.layout_root(Repository(host, ""))
        if root:
            from reconciler.providers.registry.layout.inventory import LayoutInventory

            return LayoutInventory(root)
        from reconciler.providers.registry.distribution.inventory import DistributionInventory

        return DistributionInventory(self._connections.transport(host))
