"""What each registry says that it can do, found out without writing anything."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.ports.abilities import Able
from reconciler.providers.registry.abilities import ON_DISK, RoutedAbilities
from reconciler.providers.registry.connections import Connections
from tests.ports.registry_suite import Image, codes
from tests.providers.registry.places import config, http_place
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import FaultyRegistry

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.ports.publisher import Publisher
    from reconciler.ports.registry import Registry


def able(host: str) -> Able:
    async def use() -> Able:
        async with Connections(config=config) as connections:
            return await RoutedAbilities(connections).of(Repository(host, "shop/api"))

    return asyncio.run(use())


@pytest.mark.parametrize(
    ("kind", "referrers", "of_nothing", "search"),
    [
        ("registry_server", False, False, False),
        ("distribution_v3_server", False, False, False),
        ("ggcr_server", True, None, False),
        ("zot_server", True, True, True),
    ],
)
def test_each_registry(
    kind: str, referrers: bool, of_nothing: bool | None, search: bool, request: pytest.FixtureRequest
) -> None:
    place, image = http_place(request.getfixturevalue(kind).host), Image()
    assert able(place.host) == Able(of_nothing, search, None)

    async def use(_: Registry, publisher: Publisher) -> None:
        await publisher.publish(place.repository("shop/api"), image.manifest, tags=["1"], blobs=image.blobs)

    place.run(use)
    assert able(place.host) == Able(referrers, search, None)


def test_on_disk(tmp_path: Path) -> None:
    assert able(f"oci-layout:{tmp_path}") == ON_DISK


@pytest.mark.parametrize("referrers", [False, True])
@pytest.mark.parametrize("auth", [None, "bearer"])
def test_no_more_than_pull_is_asked_for(referrers: bool, auth: str | None) -> None:
    with FaultyRegistry(referrers=referrers, auth=auth).running() as server:
        docker = config(server.host, username=faults.USER, password=faults.PASSWORD)

        async def use() -> Able:
            async with Connections(config=lambda: docker) as connections:
                return await RoutedAbilities(connections).of(Repository(server.host, "shop/api"))

        assert asyncio.run(use()) == Able(referrers, False, None)
        assert {seen.method for seen in server.requests} <= {"GET", "HEAD"}
        asked = [seen.path for seen in server.requests if seen.path.startswith("/token")]
        assert not [path for path in asked if "push" in path or "delete" in path]


def test_a_page_in_its_place_is_no_list() -> None:
    with FaultyRegistry(referrers=True).running() as server:
        for fault in (faults.html(200), faults.status(302, Location="https://example.org/login")):
            server.fault("GET", "/referrers/", fault, 1)
            assert able(server.host).referrers is False


def test_one_that_cannot_be_asked_is_told() -> None:
    with FaultyRegistry().running() as server:
        server.fault("GET", "/referrers/", faults.status(403))
        with pytest.raises(LianError) as error:
            able(server.host)
        assert codes(error) == {"registry-denied"}
