"""Each question goes to the registry its repository is on, and nothing is written anywhere else."""

from __future__ import annotations

import asyncio
import gc
from pathlib import Path
from typing import Any

import pytest

from reconciler.model.credential import SourceKind, SourceRef
from reconciler.model.fleet import RegistryProvider, RegistrySettings
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.ports.publisher import PullFrom, ReadLayout
from reconciler.providers.registry.distribution.publisher import DistributionPublisher
from reconciler.providers.registry.distribution.remover import DistributionRemover
from reconciler.providers.registry.http.docker_config import DockerConfig
from reconciler.providers.registry.http.transport import Endpoint, Transport
from reconciler.providers.registry.layout.publisher import LayoutPublisher
from reconciler.providers.registry.layout.remover import LayoutRemover
from reconciler.providers.registry.remover_router import RoutedRemover
from reconciler.providers.registry.router import Connections, RoutedPublisher, RoutedRegistry
from tests.ports.registry_suite import Image, codes
from tests.providers.registry.places import config
from tests.servers.faulty_registry import FaultyRegistry

LAYOUT = RegistrySettings(RegistryProvider.OCI_LAYOUT, path=".lian/registry")


def test_hosts_of_all_kinds_side_by_side(tmp_path: Path) -> None:
    async def use(server: FaultyRegistry) -> None:
        http = RegistrySettings(RegistryProvider.DISTRIBUTION, url=server.url)
        hosts = {LAYOUT.host, http.host}
        async with Connections([LAYOUT, http], root=tmp_path, config=config, writable=hosts) as connections:
            registry, publisher = RoutedRegistry(connections), RoutedPublisher(connections)
            images = {Repository(host, "shop/api"): Image() for host in (LAYOUT.host, http.host)}
            for repository, image in images.items():
                await publisher.publish(repository, image.manifest, tags=["latest"], blobs=image.blobs)
                assert await registry.manifest(repository, image.manifest.digest) == image.manifest
                digest, data = next(iter(image.blobs.items()))
                assert await registry.blob(repository, digest, 1000) == data
                assert list(await registry.referrers(repository, image.manifest.digest, "application/x")) == []
            wanted = [Reference(r, tag) for r in images for tag in ("latest", "other")]
            seen = await registry.heads(wanted)
            assert [type(seen[r]) for r in wanted] == [Found, type(ABSENT)] * 2
            assert (tmp_path / ".lian/registry/shop/api/index.json").is_file()
            origins = [publisher.origin(r) for r in images]
            assert origins == [ReadLayout(tmp_path / ".lian/registry/shop/api"), PullFrom(list(images)[1], plain=True)]

    with FaultyRegistry().running() as server:
        asyncio.run(use(server))


def test_nothing_is_published_to_a_registry_that_is_not_the_fleets() -> None:
    async def use(server: FaultyRegistry) -> None:
        async with Connections(config=config, writable={LAYOUT.host}) as connections:
            publisher, image = RoutedPublisher(connections), Image()
            foreign = Repository(server.host, "base")
            with pytest.raises(LianError) as error:
                await publisher.publish(foreign, image.manifest, tags=["latest"], blobs=image.blobs)
            assert codes(error) == {"registry-foreign"}
            assert publisher.origin(foreign) == PullFrom(foreign, plain=True)
            reference = Reference(foreign, "latest")
            assert await RoutedRegistry(connections).heads([reference]) == {reference: ABSENT}

    with FaultyRegistry().running() as server:
        asyncio.run(use(server))
        assert {seen.method for seen in server.requests} == {"HEAD", "GET"}


def test_copies_and_removals_go_to_the_fleets_registries_alone(tmp_path: Path) -> None:
    async def use(server: FaultyRegistry) -> None:
        http = RegistrySettings(RegistryProvider.DISTRIBUTION, url=server.url)
        hosts = {LAYOUT.host, http.host}
        async with Connections([LAYOUT, http], root=tmp_path, config=config, writable=hosts) as connections:
            registry, publisher = RoutedRegistry(connections), RoutedPublisher(connections)
            remover = RoutedRemover(connections)
            for host in (LAYOUT.host, http.host):
                image, source, target = Image(), Repository(host, "a"), Repository(host, "b")
                digest = image.manifest.digest
                await publisher.publish(source, image.manifest, tags=["latest", "1"], blobs=image.blobs)
                assert await publisher.copy(source, target, digest) == image.manifest
                assert await registry.missing(target, digest) == ()
                await remover.untag(source, "1")
                assert (await registry.heads([tag := Reference(source, "1")]))[tag] == ABSENT
                await remover.delete(source, digest)
                assert await registry.missing(source, digest) == (digest,)
                assert await registry.missing(target, digest) == ()
            await connections.learn([LAYOUT, http], writable={LAYOUT.host})
            asked = len(server.requests)
            for refused in (remover.untag(target, "latest"), remover.delete(target, digest)):
                with pytest.raises(LianError) as error:
                    await refused
                assert codes(error) == {"registry-foreign"}
            with pytest.raises(LianError) as error:
                await publisher.copy(target, source, digest)
            assert codes(error) == {"registry-foreign"}
            assert len(server.requests) == asked

    with FaultyRegistry().running() as server:
        asyncio.run(use(server))


def test_a_host_that_cannot_be_set_up_costs_only_itself(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")

    def broken() -> DockerConfig:
        return DockerConfig.load({"DOCKER_CONFIG": str(tmp_path)})

    async def use() -> None:
        async with Connections([LAYOUT], root=tmp_path, config=broken) as connections:
            wanted = [Reference(Repository(host, "a"), "latest") for host in (LAYOUT.host, "127.0.0.1:1")]
            seen = list((await RoutedRegistry(connections).heads(wanted)).values())
            assert seen[0] == ABSENT
            assert isinstance(seen[1], Unknown)
            assert seen[1].problem.code == "docker-config-invalid"

    asyncio.run(use())


@pytest.mark.parametrize(
    ("host", "url", "expected"),
    [
        ("docker.io", None, "https://registry-1.docker.io"),
        ("localhost:5000", None, "http://localhost:5000"),
        ("127.0.0.1", None, "http://127.0.0.1"),
        ("[::1]:5000", None, "http://[::1]:5000"),
        ("ghcr.io", None, "https://ghcr.io"),
        ("zot.example:5000", "http://zot.example:5000", "http://zot.example:5000"),
        ("127.0.0.1:5000", "https://127.0.0.1:5000/", "https://127.0.0.1:5000"),
    ],
)
def test_how_a_host_is_reached(host: str, url: str | None, expected: str) -> None:
    endpoint = Endpoint.of(host, url)
    assert endpoint.url == expected
    assert endpoint.plain == expected.startswith("http://")


def living(kind: type, host: str) -> int:
    """How many adapters or transports of this kind there are for a host that nobody has let go of."""
    gc.collect()
    held: list[Any] = [one for one in gc.get_objects() if type(one) is kind]
    return sum(getattr(one, "_transport", one).endpoint.host == host for one in held)


def connected(host: str) -> int:
    """Connections to this port that are open, seen from those who ask (proc(5), net/tcp: remote address, state)."""
    port = f":{int(host.rpartition(':')[2]):04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text("ascii").splitlines()[1:]]
    return sum(fields[2].endswith(port) and fields[3] == "01" for fields in lines)


def test_a_watch_keeps_nothing_of_what_passes_left_behind(tmp_path: Path) -> None:
    """Each pass has another login, so another transport; what wrote and removed over the old one goes with it."""

    async def use(server: FaultyRegistry, base: FaultyRegistry) -> None:
        host, most = server.host, 0
        async with Connections([], root=tmp_path, config=config) as connections:
            registry = RoutedRegistry(connections)
            publisher, remover = RoutedPublisher(connections), RoutedRemover(connections)
            for n in range(6):
                login = SourceRef(SourceKind.ENV, f"CANARY_{n}", user="tester")
                http = RegistrySettings(RegistryProvider.DISTRIBUTION, url=server.url, credentials=login)
                await connections.learn([LAYOUT, http], writable={host})
                image, repository = Image(), Repository(host, "a")
                await publisher.publish(repository, image.manifest, tags=["1", "2"], blobs=image.blobs)
                await remover.untag(repository, "1")
                await registry.manifest(repository, image.manifest.digest)
                kinds = (Transport, DistributionPublisher, DistributionRemover)
                assert [living(kind, host) for kind in kinds] == [1, 1, 1]
                most = max(most, connected(host))
                if n == 0:  # a base image that later passes no longer have
                    seen = await registry.heads([reference := Reference(Repository(base.host, "b"), "latest")])
                    assert seen == {reference: ABSENT}
                    assert living(Transport, base.host) == 1
            assert most <= 4
            assert (living(Transport, base.host), connected(base.host)) == (0, 0)
        assert (living(Transport, host), connected(host)) == (0, 0)

    with FaultyRegistry().running() as server, FaultyRegistry().running() as base:
        asyncio.run(use(server, base))


def test_who_writes_is_the_same_as_long_as_nothing_changes(tmp_path: Path) -> None:
    """A publisher orders its own writes to one fallback tag, a remover has learnt what its registry can do."""

    async def use(server: FaultyRegistry) -> None:
        http = RegistrySettings(RegistryProvider.DISTRIBUTION, url=server.url)
        async with Connections([], root=tmp_path, config=config) as connections:
            made = set[object]()
            for _ in range(3):
                await connections.learn([LAYOUT, http])
                for host in (LAYOUT.host, http.host):
                    repository = Repository(host, "a")
                    made.add(connections.adapter(repository, LayoutPublisher, DistributionPublisher))
                    made.add(connections.adapter(repository, LayoutRemover, DistributionRemover))
            assert len(made) == 4

    with FaultyRegistry().running() as server:
        asyncio.run(use(server))
