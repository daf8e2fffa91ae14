"""Every byte of a blob is read before it counts as good: a single wrong one is found, in any part, on any registry."""

from __future__ import annotations

import asyncio
import secrets
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from reconciler.model.digest import Digest
from reconciler.model.manifest import Descriptor
from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.providers.registry.distribution.calls import ContentRange, content_range
from reconciler.providers.registry.distribution.hashing import MAX_UNDIVIDED, PART
from reconciler.providers.registry.http.reply import Reply
from tests.ports.registry_suite import Image, codes
from tests.providers.registry.places import disk_place, http_place, opened
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from reconciler.ports.publisher import Publisher
    from reconciler.ports.registry import Registry
    from tests.servers.running import RegistryServer

LAYER = "application/vnd.oci.image.layer.v1.tar"


def verified(host: str, blob: Descriptor) -> bool:
    async def use() -> bool:
        async with opened(host) as (registry, _):
            return await registry.verified(Repository(host, "app"), blob)

    return asyncio.run(use())


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with FaultyRegistry().running() as running:
        yield running


def hold(server: FaultyRegistry, data: bytes) -> Descriptor:
    """In the repository `app`."""
    blob = Descriptor.of(LAYER, data)
    server.blobs["app", str(blob.digest)] = data
    return blob


@pytest.mark.parametrize("kind", ["registry_server", "distribution_v3_server", "zot_server", "ggcr_server", "disk"])
def test_good_bytes_are_good_and_what_is_absent_is_told(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    place = disk_place(tmp_path / "r") if kind == "disk" else http_place(request.getfixturevalue(kind).host)
    large = secrets.token_bytes(2 * PART + 1)

    async def use(registry: Registry, publisher: Publisher) -> None:
        image, repository = Image(), place.repository()
        blobs = {**image.blobs, Digest.of(large): large}
        await publisher.publish(repository, image.manifest, blobs=blobs)
        for data in blobs.values():
            blob = Descriptor.of(LAYER, data)
            assert await registry.verified(repository, blob)
            for size in (blob.size - 1, blob.size + 1):
                assert not await registry.verified(repository, Descriptor(LAYER, blob.digest, size))
        with pytest.raises(LianError) as error:
            await registry.verified(repository, Descriptor.of(LAYER, b"nothing"))
        assert codes(error) == {"blob-unknown"}

    place.run(use)


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


@pytest.mark.parametrize("change", [flipped, lambda data: data[:-1], lambda data: data + b"x", lambda _: b""])
@pytest.mark.parametrize("size", [10, PART + 10])
def test_on_a_real_registry_a_wrong_byte_is_found(
    registry_server: RegistryServer, change: Callable[[bytes], bytes], size: int
) -> None:
    place, data = http_place(registry_server.host), secrets.token_bytes(size)
    blob = Descriptor.of(LAYER, data)

    async def use(registry: Registry, publisher: Publisher) -> None:
        image, repository = Image(), place.repository("app")
        await publisher.publish(repository, image.manifest, blobs={**image.blobs, blob.digest: data})
        hexes = blob.digest.hex
        path = registry_server.storage / f"docker/registry/v2/blobs/sha256/{hexes[:2]}/{hexes}/data"
        path.write_bytes(change(data))
        assert not await registry.verified(repository, blob)

    place.run(use)


def test_on_disk_a_wrong_byte_is_found(tmp_path: Path) -> None:
    place, data = disk_place(tmp_path), secrets.token_bytes(100_000)
    blob = Descriptor.of(LAYER, data)

    async def use(registry: Registry, publisher: Publisher) -> None:
        image, repository = Image(), place.repository("app")
        await publisher.publish(repository, image.manifest, blobs={**image.blobs, blob.digest: data})
        assert await registry.missing(repository, image.manifest.digest) == ()
        (tmp_path / "app/blobs/sha256" / blob.digest.hex).write_bytes(flipped(data))
        assert not await registry.verified(repository, blob)

    place.run(use)


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("size", [0, 1, PART - 1, PART, PART + 1, 2 * PART])
def test_whatever_its_size_and_however_it_is_given(server: FaultyRegistry, ranges: bool, size: int) -> None:
    server.ranges = ranges
    assert verified(server.host, hold(server, secrets.token_bytes(size)))


def test_parts_are_asked_for_one_after_the_other(server: FaultyRegistry) -> None:
    blob = hold(server, secrets.token_bytes(2 * PART + 5))
    assert verified(server.host, blob)
    asked = [seen.headers["range"] for seen in server.asked("GET", "/blobs/")]
    assert asked == [f"bytes=0-{PART - 1}", f"bytes={PART}-{2 * PART - 1}", f"bytes={2 * PART}-{2 * PART + 4}"]


def test_memory_does_not_grow_with_the_blob(server: FaultyRegistry) -> None:
    """The server holds it too, in this process: only what is on top of that counts."""
    blob = hold(server, bytes(12 * PART))
    tracemalloc.start()
    try:
        assert verified(server.host, blob)
        assert tracemalloc.get_traced_memory()[1] < 6 * PART
    finally:
        tracemalloc.stop()


def test_a_registry_without_ranges_is_read_up_to_a_bound(
    server: FaultyRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("reconciler.providers.registry.distribution.hashing.MAX_UNDIVIDED", PART + 100)
    server.ranges = False
    assert MAX_UNDIVIDED > PART
    assert verified(server.host, hold(server, secrets.token_bytes(PART + 100)))
    with pytest.raises(LianError) as error:
        verified(server.host, hold(server, secrets.token_bytes(PART + 101)))
    assert codes(error) == {"content-too-large"}


@pytest.mark.parametrize("fault", [faults.reset, faults.truncated, faults.status(503), faults.status(429)])
def test_a_connection_that_breaks_costs_one_part(
    server: FaultyRegistry, fault: Callable[[faults.Answer], faults.Answer]
) -> None:
    blob = hold(server, secrets.token_bytes(2 * PART))
    server.fault("GET", "/blobs/", fault, 2)
    assert verified(server.host, blob)
    assert len(server.asked("GET", "/blobs/")) == 4


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (faults.status(503), "registry-failing"),
        (faults.status(403), "registry-denied"),
        (faults.html(404), "registry-not-oci"),
        (faults.html(200), "registry-not-oci"),
        (faults.headers(content_range="bytes 5-9/10"), "registry-not-oci"),
        (faults.headers(content_range=None), "registry-not-oci"),
        (faults.headers(content_range="nonsense"), "registry-not-oci"),
        (faults.body(b""), "registry-not-oci"),
    ],
)
def test_what_could_not_be_read_is_no_verdict(
    server: FaultyRegistry, fault: Callable[[faults.Answer], faults.Answer], code: str
) -> None:
    blob = hold(server, b"0123456789")
    server.fault("GET", "/blobs/", fault)
    with pytest.raises(LianError) as error:
        verified(server.host, blob)
    assert codes(error) == {code}


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("bytes 0-9/10", ContentRange(0, 10)),
        ("bytes 4-9/*", ContentRange(4, None)),
        ("bytes */10", ContentRange(None, 10)),
        ("bytes 4-9/", None),
        ("bytes 9/10", None),
        ("items 0-9/10", None),
        ("bytes 0-9/" + "9" * 19, None),
        ("bytes ٤-٩/١٠", None),
        ("", None),
    ],
)
def test_where_a_part_begins(header: str, expected: ContentRange | None) -> None:
    assert content_range(Reply(206, {"content-range": header})) == expected
