"""Each question goes to the registry its repository is on, and nothing is written anywhere else."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.model.fleet import RegistryProvider, RegistrySettings
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference, Repository
from reconciler.ports.publisher import PullFrom, ReadLayout
from reconciler.providers.registry.http.docker_config import DockerConfig
from reconciler.providers.registry.http.transport import Endpoint
from reconciler.providers.registry.remover_router import RoutedRemover
from reconciler.providers.registry.router import Connections, RoutedPublisher, RoutedRegistry
from tests.ports.registry_suite import Image, codes
from tests.providers.registry.places import config
from tests.servers.faulty_registry import FaultyRegistry

if TYPE_CHECKING:
    from pathlib import Path

LAYOUT = RegistrySettings(RegistryProvider.OCI_LAYOUT, path=".lian/registry")


def test_hosts_of_all_kinds_side_by_side(tmp_path: Path) -> None:
    async def use(server: FaultyRegistry) -> None:
        http = RegistrySettings(RegistryProvider.DISTRIBUTION, url=server.url)
        async with Connections([LAYOUT, http], root=tmp_path, config=config) as connections:
            registry, publisher = RoutedRegistry(connections), RoutedPublisher(connections, {LAYOUT.host, http.host})
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
        async with Connections(config=config) as connections:
            publisher, image = RoutedPublisher(connections, {LAYOUT.host}), Image()
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
        async with Connections([LAYOUT, http], root=tmp_path, config=config) as connections:
            registry, publisher = RoutedRegistry(connections), RoutedPublisher(connections, {LAYOUT.host, http.host})
            remover = RoutedRemover(connections, {LAYOUT.host})
            remover.allow({LAYOUT.host, http.host})
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
            remover.allow({LAYOUT.host})
            publisher.allow({LAYOUT.host})
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
