"""Large blobs as files: every adapter against every kind of registry, and where they are broken off."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.providers.registry.blob_files_router import RoutedBlobFiles
from reconciler.providers.registry.connections import Connections
from reconciler.providers.registry.distribution.blob_files import DistributionBlobFiles
from reconciler.providers.registry.distribution.publisher import DistributionPublisher
from reconciler.providers.registry.distribution.registry import DistributionRegistry
from reconciler.providers.registry.layout.blob_files import LayoutBlobFiles
from reconciler.providers.registry.layout.publisher import LayoutPublisher
from reconciler.providers.registry.layout.registry import LayoutRegistry
from tests.ports.blob_files_suite import LAYER, BlobFilesSuite, FilesPlace, code
from tests.providers.registry.places import config, transport
from tests.servers.faulty_registry import FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from tests.servers.registry import RegistryServer


def on_disk(root: Path) -> FilesPlace:
    @contextlib.asynccontextmanager
    async def all_three() -> AsyncIterator[Any]:
        yield LayoutRegistry(root), LayoutPublisher(root), LayoutBlobFiles(root)

    return FilesPlace(f"oci-layout:{root}", all_three)


def over_http(host: str) -> FilesPlace:
    @contextlib.asynccontextmanager
    async def all_three() -> AsyncIterator[Any]:
        async with transport(host) as made:
            yield DistributionRegistry(made), DistributionPublisher(made), DistributionBlobFiles(made)

    return FilesPlace(host, all_three)


class TestLayoutOnDisk(BlobFilesSuite):
    @pytest.fixture
    def files_place(self, tmp_path: Path) -> FilesPlace:
        return on_disk(tmp_path / "registry")


class TestDockerRegistry(BlobFilesSuite):
    @pytest.fixture
    def files_place(self, registry_server: RegistryServer) -> FilesPlace:
        return over_http(registry_server.host)


class TestDistributionV3(BlobFilesSuite):
    @pytest.fixture
    def files_place(self, distribution_v3_server: RegistryServer) -> FilesPlace:
        return over_http(distribution_v3_server.host)


class TestGoContainerregistry(BlobFilesSuite):
    @pytest.fixture
    def files_place(self, ggcr_server: RegistryServer) -> FilesPlace:
        return over_http(ggcr_server.host)


class TestZot(BlobFilesSuite):
    @pytest.fixture
    def files_place(self, zot_server: RegistryServer) -> FilesPlace:
        return over_http(zot_server.host)


class TestInMemory(BlobFilesSuite):
    @pytest.fixture
    def files_place(self) -> Iterator[FilesPlace]:
        with FaultyRegistry().running() as server:
            yield over_http(server.host)


def test_only_the_fleets_own_registries_are_written(tmp_path: Path) -> None:
    async def use() -> None:
        source, repository = tmp_path / "in", Repository(f"oci-layout:{tmp_path / 'registry'}", "cache/ci/shop/api")
        source.write_bytes(b"content")
        async with Connections(config=config) as connections:
            files = RoutedBlobFiles(connections)
            with pytest.raises(LianError) as error:
                await files.store(repository, source, LAYER)
            assert code(error) == "registry-foreign" and not (tmp_path / "registry").exists()
            await connections.learn((), writable={repository.host})
            blob = await files.store(repository, source, LAYER)
            await connections.learn(())
            await files.fetch(repository, blob, tmp_path / "out")
            assert (tmp_path / "out").read_bytes() == b"content"

    asyncio.run(use())


def test_what_is_damaged_on_disk_is_not_brought(tmp_path: Path) -> None:
    async def use() -> None:
        files, source = LayoutBlobFiles(tmp_path / "registry"), tmp_path / "in"
        repository = Repository(f"oci-layout:{tmp_path / 'registry'}", "cache/ci/shop/api")
        source.write_bytes(os.urandom(3 << 20))
        blob = await files.store(repository, source, LAYER)
        source.unlink()
        kept = tmp_path / "registry/cache/ci/shop/api/blobs/sha256" / blob.digest.hex
        kept.write_bytes(os.urandom(blob.size))
        with pytest.raises(LianError) as error:
            await files.fetch(repository, blob, tmp_path / "out")
        assert code(error) == "registry-damaged" and not (tmp_path / "out").exists()

    asyncio.run(use())


def test_what_is_stored_again_is_young_again(tmp_path: Path) -> None:
    async def use() -> None:
        files, source = LayoutBlobFiles(tmp_path / "registry"), tmp_path / "in"
        repository = Repository(f"oci-layout:{tmp_path / 'registry'}", "cache/ci/shop/api")
        source.write_bytes(b"content")
        blob = await files.store(repository, source, LAYER)
        kept = tmp_path / "registry/cache/ci/shop/api/blobs/sha256" / blob.digest.hex
        os.utime(kept, (1, 1))
        await files.store(repository, source, LAYER)
        assert kept.stat().st_mtime > 1

    asyncio.run(use())
