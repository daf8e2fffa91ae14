"""Every adapter against every kind of registry passes the one suite."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.ports.registry_suite import Place, RegistrySuite
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
