"""Every adapter against every kind of registry passes the one suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ports.registry_suite import Differences, Place, RegistrySuite
from tests.providers.registry.places import disk_place, http_place
from tests.servers.faulty_registry import FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.registry import RegistryServer


class TestLayoutOnDisk(RegistrySuite):
    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return disk_place(tmp_path / "registry")


class TestDockerRegistry(RegistrySuite):
    @pytest.fixture
    def place(self, registry_server: RegistryServer) -> Place:
        return http_place(registry_server.host)


class TestDistributionV3(RegistrySuite):
    @pytest.fixture
    def place(self, distribution_v3_server: RegistryServer) -> Place:
        return http_place(distribution_v3_server.host)


class TestGoContainerregistry(RegistrySuite):
    @pytest.fixture
    def place(self, ggcr_server: RegistryServer) -> Place:
        return http_place(ggcr_server.host, differs=Differences(refuses_incomplete=False, deletes_tags=False))


class TestZot(RegistrySuite):
    @pytest.fixture
    def place(self, zot_server: RegistryServer) -> Place:
        differs = Differences(keeps_untagged=False, impossible_names=frozenset({"a/oci-layout"}))
        return http_place(zot_server.host, differs=differs)


class TestInMemory(RegistrySuite):
    @pytest.fixture
    def place(self) -> Iterator[Place]:
        with FaultyRegistry().running() as server:
            yield http_place(server.host)


class TestInMemoryWithReferrersApi(RegistrySuite):
    @pytest.fixture
    def place(self) -> Iterator[Place]:
        with FaultyRegistry(referrers=True).running() as server:
            yield http_place(server.host)
