"""Sends each question to the registry that its repository is on."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.observed import Unknown
from reconciler.model.problem import LianError, Problem
from reconciler.providers.registry.distribution import DistributionRegistry
from reconciler.providers.registry.distribution_publisher import DistributionPublisher
from reconciler.providers.registry.docker_config import DockerConfig
from reconciler.providers.registry.layout import LayoutRegistry
from reconciler.providers.registry.layout_publisher import LayoutPublisher
from reconciler.providers.registry.transport import Endpoint, Transport

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from reconciler.model.digest import Digest
    from reconciler.model.fleet import RegistrySettings
    from reconciler.model.manifest import Descriptor, Manifest
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Reference, Repository
    from reconciler.ports.registry import Destination, Origin


class Connections:
    """One transport per registry host, made when it is first needed and shared by reading and publishing.

    `settings` say how hosts are reached; any other host (a base image's) is reached as Docker would. `root` is the
    folder that relative paths in settings start from. Used from one event loop.
    """

    def __init__(
        self,
        settings: Iterable[RegistrySettings] = (),
        *,
        root: Path | None = None,
        config: Callable[[], DockerConfig] = DockerConfig.load,
    ) -> None:
        self._settings = {s.host: s for s in settings}
        self._root = root or Path.cwd()
        self._config = config
        self._transports: dict[str, Transport] = {}

    async def learn(self, settings: Iterable[RegistrySettings]) -> None:
        """From now on these settings hold; a transport whose settings changed is ended."""
        new = {s.host: s for s in settings}
        changed = [host for host in self._transports if new.get(host) != self._settings.get(host)]
        self._settings = new
        for host in changed:
            await self._transports.pop(host).aclose()

    def layout_root(self, repository: Repository) -> Path | None:
        """The folder of the registry on disk that the repository is on, None for one over HTTP."""
        return None if repository.layout is None else self._root / repository.layout

    def transport(self, host: str) -> Transport:
        """Raises LianError `docker-config-invalid` or `ca-unreadable`."""
        if host not in self._transports:
            self._transports[host] = Transport(self._endpoint(host), self._config())
        return self._transports[host]

    async def aclose(self) -> None:
        """End all connections."""
        transports, self._transports = list(self._transports.values()), {}
        for transport in transports:
            await transport.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def _endpoint(self, host: str) -> Endpoint:
        known = self._settings.get(host)
        if known is None:
            return Endpoint.of(host)
        ca = str(self._root / known.ca) if known.ca else None
        return Endpoint.of(host, known.url, ca=ca, insecure=known.insecure)


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

    async def referrers(self, repository: Repository, subject: Digest, artifact_type: str) -> Sequence[Descriptor]:
        """See the port."""
        return await self._of(repository).referrers(repository, subject, artifact_type)

    async def missing(self, repository: Repository, digest: Digest) -> tuple[Digest, ...]:
        """See the port."""
        return await self._of(repository).missing(repository, digest)

    async def _heads(self, wanted: Sequence[Reference]) -> Mapping[Reference, Sighting]:
        try:
            adapter = self._of(wanted[0].repository)
        except LianError as error:
            return dict.fromkeys(wanted, Unknown(error.problems[0]))
        return await adapter.heads(wanted)

    def _of(self, repository: Repository) -> LayoutRegistry | DistributionRegistry:
        root = self._connections.layout_root(repository)
        return LayoutRegistry(root) if root else DistributionRegistry(self._connections.transport(repository.host))


class RoutedPublisher:
    """The port Publisher over the registries of `hosts`, and no other: a base image's registry is never written."""

    def __init__(self, connections: Connections, hosts: Collection[str] = ()) -> None:
        self._connections = connections
        self._hosts = frozenset(hosts)
        self._adapters: dict[Path | Transport, LayoutPublisher | DistributionPublisher] = {}

    def allow(self, hosts: Collection[str]) -> None:
        """From now on these hosts, and no others, may be written."""
        self._hosts = frozenset(hosts)

    def destination(self, repository: Repository, scratch: Path) -> Destination:
        """See the port."""
        return self._of(repository).destination(repository, scratch)

    def origin(self, repository: Repository) -> Origin:
        """See the port; of every host, since nothing is written there."""
        return self._adapter(repository).origin(repository)

    async def take_in(self, repository: Repository, destination: Destination, digest: Digest) -> Manifest:
        """See the port."""
        return await self._of(repository).take_in(repository, destination, digest)

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
        if repository.host not in self._hosts:
            raise LianError(
                Problem(
                    "registry-foreign",
                    f"nothing is published to {repository.host}: it is not one of the fleet's registries",
                    hint="name it as the `registry` of lian.ncl or of the directive",
                )
            )
        return self._adapter(repository)

    def _adapter(self, repository: Repository) -> LayoutPublisher | DistributionPublisher:
        """Kept as long as its transport: a publisher orders its own writes to one fallback tag."""
        where = self._connections.layout_root(repository) or self._connections.transport(repository.host)
        if where not in self._adapters:
            made = LayoutPublisher(where) if isinstance(where, Path) else DistributionPublisher(where)
            self._adapters[where] = made
        return self._adapters[where]
