"""Sends each question to the registry that its repository is on.

What speaks to a kind of registry is loaded with the first registry of that kind: few fleets have both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.model.observed import Found, Unknown
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.connections import Connections

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor, Manifest
    from reconciler.model.observed import Sighting
    from reconciler.ports.publisher import Destination, Origin
    from reconciler.providers.registry.connections import Mirror
    from reconciler.providers.registry.distribution.publisher import DistributionPublisher
    from reconciler.providers.registry.distribution.registry import DistributionRegistry
    from reconciler.providers.registry.http.transport import Transport
    from reconciler.providers.registry.layout.publisher import LayoutPublisher
    from reconciler.providers.registry.layout.registry import LayoutRegistry

__all__ = ["Connections", "RoutedPublisher", "RoutedRegistry"]


class RoutedRegistry:
    """The port Registry over many registries."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def heads(self, references: Collection[Reference]) -> Mapping[Reference, Sighting]:
        """See the port. All hosts at once; one that cannot even be set up is Unknown, and no other suffers."""
        by_host: dict[str, list[Reference]] = {}
        for reference in references:
            by_host.setdefault(reference.repository.host, []).append(reference)
        answers: dict[Reference, Sighting] = {}
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._heads(wanted)) for wanted in by_host.values()]
        for task in tasks:
            answers |= task.result()
        return answers

    async def manifest(self, repository: Repository, digest: Digest) -> Manifest:
        """See the port."""
        return await self._of(repository).manifest(repository, digest)

    async def blob(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        """See the port."""
        return await self._of(repository).blob(repository, digest, limit)

    async def referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> Sequence[Descriptor]:
        """See the port."""
        return await self._of(repository).referrers(repository, subject, artifact_type)

    async def missing(self, repository: Repository, digest: Digest) -> tuple[Digest, ...]:
        """See the port."""
        return await self._of(repository).missing(repository, digest)

    async def verified(self, repository: Repository, blob: Descriptor) -> bool:
        """See the port."""
        return await self._of(repository).verified(repository, blob)

    async def _heads(self, wanted: Sequence[Reference]) -> Mapping[Reference, Sighting]:
        seen = await self._mirrored(wanted)
        left = [reference for reference in wanted if reference not in seen]
        try:
            seen |= await self._of(left[0].repository).heads(left) if left else {}
        except LianError as error:
            seen |= dict.fromkeys(left, Unknown(error.problems[0]))
        return {reference: seen[reference] for reference in wanted}

    async def _mirrored(self, wanted: Sequence[Reference]) -> dict[Reference, Sighting]:
        """What mirrors hold of these. A mirror is believed when it says what is there, never that something is not,
        and nothing at all of the fleet's own repositories."""
        found: dict[Reference, Sighting] = {}
        for mirror in self._connections.mirrors(wanted[0].repository.host):
            asked = {
                _at(mirror, reference): reference
                for reference in wanted
                if reference not in found and not self._connections.is_own(reference.repository)
            }
            if not asked:
                break
            try:
                seen = await _over_http(self._connections.transport(mirror.host)).heads(asked)
            except LianError:
                continue  # it cannot even be set up: there is the origin
            found |= {asked[there]: sighting for there, sighting in seen.items() if isinstance(sighting, Found)}
        return found

    def _of(self, repository: Repository) -> LayoutRegistry | DistributionRegistry:
        root = self._connections.layout_root(repository)
        return _on_disk(root) if root else _over_http(self._connections.transport(repository.host))


def _on_disk(root: Path) -> LayoutRegistry:
    from reconciler.providers.registry.layout.registry import LayoutRegistry

    return LayoutRegistry(root)


def _over_http(transport: Transport) -> DistributionRegistry:
    from reconciler.providers.registry.distribution.registry import DistributionRegistry

    return DistributionRegistry(transport)


def _at(mirror: Mirror, reference: Reference) -> Reference:
    """The same image on a mirror."""
    path = f"{mirror.path}/{reference.repository.path}" if mirror.path else reference.repository.path
    return Reference(Repository(mirror.host, path), reference.tag, reference.digest)


class RoutedPublisher:
    """The port Publisher over the fleet's registries, and no other: a base image's registry is never written."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    def destination(self, repository: Repository, scratch: Path) -> Destination:
        """See the port."""
        return self._of(repository).destination(repository, scratch)

    def origin(self, repository: Repository) -> Origin:
        """See the port; of every host, since nothing is written there."""
        return self._adapter(repository).origin(repository)

    async def take_in(self, repository: Repository, destination: Destination, digest: Digest) -> Manifest:
        """See the port."""
        return await self._of(repository).take_in(repository, destination, digest)

    async def copy(self, source: Repository, target: Repository, digest: Digest) -> Manifest:
        """See the port."""
        return await self._of(target).copy(source, target, digest)

    async def publish(
        self,
        repository: Repository,
        manifest: Manifest,
        *,
        tags: Sequence[str] = (),
        blobs: Mapping[Digest, bytes] | None = None,
    ) -> Descriptor:
        """See the port."""
        return await self._of(repository).publish(repository, manifest, tags=tags, blobs=blobs)

    def _of(self, repository: Repository) -> LayoutPublisher | DistributionPublisher:
        self._connections.check_writable(repository, "nothing is published to")
        return self._adapter(repository)

    def _adapter(self, repository: Repository) -> LayoutPublisher | DistributionPublisher:
        """The same one for all that a pass writes: a publisher orders its own writes to one fallback tag."""
        return self._connections.adapter(repository, _publishing_on_disk, _publishing_over_http)


def _publishing_on_disk(root: Path) -> LayoutPublisher:
    from reconciler.providers.registry.layout.publisher import LayoutPublisher

    return LayoutPublisher(root)


def _publishing_over_http(transport: Transport) -> DistributionPublisher:
    from reconciler.providers.registry.distribution.publisher import DistributionPublisher

    return DistributionPublisher(transport)
