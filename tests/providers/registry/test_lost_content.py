"""A registry that has lost what a tag names: told in one way by every kind of it, and healed by putting it again."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from reconciler.model.manifest import IMAGE_MANIFEST
from reconciler.model.observed import Found, Unknown
from reconciler.model.problem import LianError, Next
from reconciler.ports.registry import GONE, MANIFEST_UNKNOWN
from reconciler.providers.registry.distribution.writes import delete_digest
from tests.ports.registry_suite import Image, Place, codes, head
from tests.providers.registry.places import disk_place, http_place, transport
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.model.digest import Digest
    from reconciler.model.observed import Sighting
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.registry import Registry
    from tests.servers.running import RegistryServer

IMAGE = Image("lost")
DIGEST = IMAGE.manifest.digest


def files_of(root: Path, digest: Digest) -> list[Path]:
    """Where a registry keeps this content, and not the links to it."""
    found = [path for path in root.rglob(f"*{digest.hex}*") if "_manifests" not in path.parts]
    return [file for path in found for file in ([path] if path.is_file() else path.iterdir())]


def loses(root: Path) -> Callable[[], None]:
    def lose() -> None:
        lost = files_of(root, DIGEST)
        assert lost
        for path in lost:
            path.unlink()

    return lose


def told(sighting: Sighting) -> str:
    return sighting.problem.code if isinstance(sighting, Unknown) else type(sighting).__name__.lower()


class LostSuite:
    """`lose` makes the registry lose the manifest, `still` is what its tag is seen as then."""

    still = "absent"

    def test_a_manifest_that_is_lost_is_unknown_to_the_registry_and_put_again(
        self, place: Place, lose: Callable[[], None]
    ) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            repository = place.repository()
            await publisher.publish(repository, IMAGE.manifest, tags=["1"], blobs=IMAGE.blobs)
            await asyncio.to_thread(lose)
            assert told(await head(registry, repository, "1")) == self.still
            with pytest.raises(LianError) as error:
                await registry.manifest(repository, DIGEST)
            assert codes(error) == {MANIFEST_UNKNOWN} <= GONE
            problem = error.value.problems[0]
            assert f"does not hold shop/api@{DIGEST}" in problem.message
            assert problem.next is Next.RETRY
            assert await registry.missing(repository, DIGEST) == (DIGEST,)
            await publisher.publish(repository, IMAGE.manifest, tags=["1"], blobs=IMAGE.blobs)
            assert await registry.manifest(repository, DIGEST) == IMAGE.manifest
            assert isinstance(await head(registry, repository, "1"), Found)

        place.run(use)


class TestLayoutOnDisk(LostSuite):
    """A folder whose index names what is not there contradicts itself: its tag is not just absent."""

    still = "registry-damaged"

    @pytest.fixture
    def place(self, tmp_path: Path) -> Place:
        return disk_place(tmp_path / "registry")

    @pytest.fixture
    def lose(self, tmp_path: Path) -> Callable[[], None]:
        return loses(tmp_path / "registry")


class TestDockerRegistry(LostSuite):
    @pytest.fixture
    def place(self, registry_server: RegistryServer) -> Place:
        return http_place(registry_server.host)

    @pytest.fixture
    def lose(self, registry_server: RegistryServer) -> Callable[[], None]:
        return loses(registry_server.storage)


class TestDistributionV3(LostSuite):
    @pytest.fixture
    def place(self, distribution_v3_server: RegistryServer) -> Place:
        return http_place(distribution_v3_server.host)

    @pytest.fixture
    def lose(self, distribution_v3_server: RegistryServer) -> Callable[[], None]:
        return loses(distribution_v3_server.storage)


class TestZot(LostSuite):
    @pytest.fixture
    def place(self, zot_server: RegistryServer) -> Place:
        return http_place(zot_server.host)

    @pytest.fixture
    def lose(self, zot_server: RegistryServer) -> Callable[[], None]:
        return loses(zot_server.storage)


class TestGoContainerregistry(LostSuite):
    """Its tags outlive what they name (docs/registries.md, "Taking away")."""

    still = "found"

    @pytest.fixture
    def place(self, ggcr_server: RegistryServer) -> Place:
        return http_place(ggcr_server.host)

    @pytest.fixture
    def lose(self, place: Place) -> Callable[[], None]:
        async def delete() -> None:
            async with transport(place.host) as made:
                await delete_digest(made, place.repository(), DIGEST)

        return lambda: asyncio.run(delete())


class TestInMemory(LostSuite):
    """Whose HEAD of a tag goes on naming what its GET of the digest does not find."""

    still = "found"

    @pytest.fixture
    def server(self) -> Iterator[FaultyRegistry]:
        with FaultyRegistry().running() as server:
            yield server

    @pytest.fixture
    def place(self, server: FaultyRegistry) -> Place:
        return http_place(server.host)

    @pytest.fixture
    def lose(self, server: FaultyRegistry) -> Callable[[], None]:
        def lose() -> None:
            del server.manifests["shop/api", str(DIGEST)]
            length = str(len(IMAGE.manifest.data))
            told = faults.status(
                200, Content_Type=IMAGE_MANIFEST, Docker_Content_Digest=str(DIGEST), Content_Length=length
            )
            server.fault("HEAD", "/manifests/1$", told)

        return lose


@pytest.mark.parametrize("answer", [faults.status(404), faults.html(404)])
def test_a_404_that_gives_no_reason_is_no_loss(answer: Callable[[faults.Answer], faults.Answer]) -> None:
    """A proxy's page, say: whether the content is lost is not known."""
    with FaultyRegistry().running() as server:
        place = http_place(server.host)

        async def use(registry: Registry, publisher: Publisher) -> None:
            repository = place.repository()
            await publisher.publish(repository, IMAGE.manifest, tags=["1"], blobs=IMAGE.blobs)
            server.fault("GET", f"/manifests/{DIGEST}$", answer)
            assert isinstance(await head(registry, repository, "1"), Found)
            for ask in (registry.manifest, registry.missing):
                with pytest.raises(LianError) as error:
                    await ask(repository, DIGEST)
                assert codes(error) == {"registry-not-oci"}

        place.run(use)
