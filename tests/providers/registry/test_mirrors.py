"""Mirrors say what is there, never that something is not, and nothing of the fleet's own repositories."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.fleet import RegistryProvider, RegistrySettings
from reconciler.model.manifest import IMAGE_MANIFEST
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.http.docker_config import DockerConfig
from reconciler.providers.registry.router import Connections, RoutedRegistry
from tests.ports.registry_suite import Image
from tests.providers.registry.places import config, opened
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import PASSWORD, USER, FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.model.observed import Sighting


@pytest.fixture
def origin() -> Iterator[FaultyRegistry]:
    """Where base images come from."""
    with FaultyRegistry().running() as server:
        yield server


@pytest.fixture
def mirror() -> Iterator[FaultyRegistry]:
    """A copy of some of them."""
    with FaultyRegistry().running() as server:
        yield server


def put(server: FaultyRegistry, path: str, image: Image) -> None:
    """Without asking for anything, as a mirror is filled."""
    auth, server.auth = server.auth, None

    async def use() -> None:
        async with opened(server.host) as (_, publisher):
            await publisher.publish(Repository(server.host, path), image.manifest, tags=["latest"], blobs=image.blobs)

    asyncio.run(use())
    server.auth = auth
    server.requests.clear()


def seen(
    origin: FaultyRegistry,
    mirrors: tuple[str, ...],
    *paths: str,
    own: tuple[str, ...] = (),
    docker: Callable[[], DockerConfig] = config,
) -> list[Sighting]:
    fleet = RegistrySettings(RegistryProvider.OCI_LAYOUT, path="/none", mirrors=((origin.host, mirrors),))

    async def use() -> list[Sighting]:
        async with Connections(config=docker, certificates=()) as connections:
            await connections.learn(
                [fleet],
                fleet=fleet,
                own=[Repository(origin.host, path) for path in own],
                is_cache=lambda repository: repository.path.startswith("cache/ci/"),
            )
            wanted = [Reference(Repository(origin.host, path), "latest") for path in paths]
            return list((await RoutedRegistry(connections).heads(wanted)).values())

    return asyncio.run(use())


def found(image: Image) -> Found:
    return Found(image.manifest.digest, IMAGE_MANIFEST, image.descriptor.size)


def test_what_a_mirror_has_is_not_asked_of_the_origin(origin: FaultyRegistry, mirror: FaultyRegistry) -> None:
    there, also, nowhere = Image(), Image(), "library/none"
    put(mirror, "library/a", there)
    put(origin, "library/b", also)
    assert seen(origin, (mirror.url,), "library/a", "library/b", nowhere) == [found(there), found(also), ABSENT]
    assert not [one for one in origin.requests if "library/a" in one.path]


def test_a_mirror_may_have_the_origin_below_a_path(origin: FaultyRegistry, mirror: FaultyRegistry) -> None:
    image = Image()
    put(mirror, "hub/library/a", image)
    assert seen(origin, (f"{mirror.url}/hub",), "library/a") == [found(image)]


def test_mirrors_are_asked_in_their_order(origin: FaultyRegistry, mirror: FaultyRegistry) -> None:
    first, second = Image(), Image()
    put(mirror, "one/a", first)
    put(mirror, "two/a", second)
    put(mirror, "two/b", second)
    mirrors = (f"{mirror.url}/one", f"{mirror.url}/two")
    assert seen(origin, mirrors, "a", "b") == [found(first), found(second)]


@pytest.mark.parametrize(
    "fault",
    [faults.status(500), faults.status(429), faults.status(403), faults.html(200), faults.reset, faults.html(404)],
)
def test_a_mirror_that_fails_is_passed_by(origin: FaultyRegistry, mirror: FaultyRegistry, fault: Any) -> None:
    image = Image()
    put(origin, "a", image)
    put(mirror, "a", Image())
    for method in ("HEAD", "GET"):
        mirror.fault(method, "", fault)
    assert seen(origin, (mirror.url,), "a", "b") == [found(image), ABSENT]


def test_a_mirror_that_is_down_is_passed_by(origin: FaultyRegistry) -> None:
    image = Image()
    put(origin, "a", image)
    assert seen(origin, ("http://127.0.0.1:1", "https://127.0.0.1:1"), "a") == [found(image)]


def test_an_origin_that_is_down_is_unknown_though_a_mirror_lacks_the_image(mirror: FaultyRegistry) -> None:
    image = Image()
    put(mirror, "a", image)
    with FaultyRegistry().running() as origin:
        pass
    sightings = seen(origin, (mirror.url,), "a", "b")
    assert sightings[0] == found(image)
    assert isinstance(sightings[1], Unknown)


def test_a_mirror_is_asked_nothing_of_the_fleets_own_repositories(
    origin: FaultyRegistry, mirror: FaultyRegistry
) -> None:
    """It may be hours behind: a pass would undo what the one before it did."""
    put(mirror, "shop/api", Image())
    put(mirror, "library/a", Image())
    put(mirror, "cache/ci/shop/api", Image())
    sightings = seen(origin, (mirror.url,), "shop/api", "library/a", "cache/ci/shop/api", own=("shop/api",))
    assert sightings[0] == sightings[2] == ABSENT
    assert isinstance(sightings[1], Found)
    assert not [one for one in mirror.requests if "shop/api" in one.path]


def test_a_mirror_gets_its_own_credential_and_the_origin_its_own() -> None:
    image = Image()
    with FaultyRegistry(auth="basic").running() as mirror, FaultyRegistry(auth="basic").running() as origin:
        put(mirror, "a", image)
        put(origin, "b", image)
        right, wrong = {"username": USER, "password": PASSWORD}, {"username": USER, "password": "canary"}
        for mine, theirs, expected in ((right, wrong, [Found, Unknown]), (wrong, right, [type(ABSENT), Found])):
            document = {"auths": {mirror.host: mine, origin.host: theirs}}
            known = DockerConfig(None, document, {})
            sightings = seen(origin, (mirror.url,), "a", "b", docker=lambda known=known: known)  # type: ignore[misc]
            assert [type(sighting) for sighting in sightings] == expected
