"""What is missing of an image: every part that is gone is named, and nothing is that only could not be seen."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.digest import Digest
from reconciler.model.manifest import IMAGE_INDEX, IMAGE_MANIFEST, Descriptor, Manifest, index
from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.providers.registry import whole
from reconciler.providers.registry.layout.publisher import LayoutPublisher
from reconciler.providers.registry.layout.registry import LayoutRegistry
from tests.ports.registry_suite import AMD64, ARM64, Image, codes
from tests.providers.registry.places import disk_place, opened
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.servers.running import RegistryServer

FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with FaultyRegistry().running() as running:
        yield running


def hold(server: FaultyRegistry, *manifests: Manifest, blobs: dict[Digest, bytes] | None = None) -> None:
    """In the repository `app`."""
    server.blobs |= {("app", str(digest)): data for digest, data in (blobs or {}).items()}
    server.manifests |= {("app", str(m.digest)): (m.media_type, m.data) for m in manifests}


def missing(server: FaultyRegistry, digest: Digest) -> tuple[Digest, ...]:
    async def use() -> tuple[Digest, ...]:
        async with opened(server.host) as (registry, _):
            return await registry.missing(Repository(server.host, "app"), digest)

    return asyncio.run(use())


def forget_link(storage: Path, digest: Digest) -> None:
    """The repository does not name the blob any more."""
    (storage / f"docker/registry/v2/repositories/app/_layers/sha256/{digest.hex}/link").unlink()


def forget_data(storage: Path, digest: Digest) -> None:
    """The repository names it, and its content is gone."""
    (storage / f"docker/registry/v2/blobs/sha256/{digest.hex[:2]}/{digest.hex}/data").unlink()


def truncate_data(storage: Path, digest: Digest) -> None:
    """Half of it is left."""
    path = storage / f"docker/registry/v2/blobs/sha256/{digest.hex[:2]}/{digest.hex}/data"
    path.write_bytes(path.read_bytes()[:3])


@pytest.mark.parametrize("lose", [forget_link, forget_data, truncate_data])
@pytest.mark.parametrize("kind", ["registry_server", "distribution_v3_server"])
def test_a_lost_layer_is_named_on_distribution(
    kind: str, lose: Callable[[Path, Digest], None], request: pytest.FixtureRequest
) -> None:
    running: RegistryServer = request.getfixturevalue(kind)
    lost(running, lambda digest: lose(running.storage, digest))


@pytest.mark.parametrize("content", [None, b"123"])
def test_a_lost_layer_is_named_on_zot(zot_server: RegistryServer, content: bytes | None) -> None:
    def lose(digest: Digest) -> None:
        path = zot_server.storage / f"app/blobs/sha256/{digest.hex}"
        path.unlink()
        if content is not None:
            path.write_bytes(content)

    lost(zot_server, lose)


def lost(running: RegistryServer, lose: Callable[[Digest], None]) -> None:
    image, other, repository = Image(), Image(), Repository(running.host, "app")
    top = index({AMD64: image.descriptor, ARM64: other.descriptor})
    layer = list(image.blobs)[1]

    async def use() -> None:
        async with opened(running.host) as (registry, publisher):
            for each in (image, other):
                await publisher.publish(repository, each.manifest, blobs=each.blobs)
            await publisher.publish(repository, top, tags=["latest"])
            assert await registry.missing(repository, top.digest) == ()
            lose(layer)
            assert await registry.missing(repository, top.digest) == (layer,)
            assert await registry.missing(repository, other.manifest.digest) == ()

    asyncio.run(use())


@pytest.mark.parametrize("content", [None, b"", b"longer than it was before, whatever that was"])
def test_on_disk_the_size_decides_and_content_is_not_read(tmp_path: Path, content: bytes | None) -> None:
    place, image = disk_place(tmp_path), Image()
    repository = place.repository()
    asyncio.run(LayoutPublisher(tmp_path).publish(repository, image.manifest, blobs=image.blobs))
    config, layer = image.blobs
    path, unread = (tmp_path / "shop/api/blobs/sha256" / digest.hex for digest in (layer, config))
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    unread.write_bytes(b"x" * unread.stat().st_size)
    assert asyncio.run(LayoutRegistry(tmp_path).missing(repository, image.manifest.digest)) == (layer,)


def test_on_disk_a_damaged_manifest_is_not_taken_for_a_missing_one(tmp_path: Path) -> None:
    place, image = disk_place(tmp_path), Image()
    asyncio.run(LayoutPublisher(tmp_path).publish(place.repository(), image.manifest, blobs=image.blobs))
    (tmp_path / "shop/api/blobs/sha256" / image.manifest.digest.hex).write_bytes(b"{}")
    with pytest.raises(LianError) as error:
        asyncio.run(LayoutRegistry(tmp_path).missing(place.repository(), image.manifest.digest))
    assert codes(error) == {"registry-damaged"}


def test_every_part_of_an_index_is_looked_for_once(server: FaultyRegistry) -> None:
    image, other, absent = Image(), Image(), Image()
    inner = index({AMD64: image.descriptor, ARM64: absent.descriptor})
    entries = [Descriptor.of(IMAGE_INDEX, inner.data), image.descriptor, other.descriptor, image.descriptor]
    document = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": [e.to_json() for e in entries]}
    top = Manifest(IMAGE_INDEX, json.dumps(document).encode())
    config, layer = other.blobs
    hold(server, image.manifest, other.manifest, inner, top, blobs=image.blobs)
    assert missing(server, top.digest) == (absent.manifest.digest, config, layer)
    heads = [seen.path for seen in server.asked("HEAD")]
    assert len(heads) == len(set(heads)) == 4
    assert len(server.asked("GET", str(image.manifest.digest))) == 1


def test_layers_that_are_kept_elsewhere_are_not_missing(server: FaultyRegistry) -> None:
    image = Image()
    document = image.manifest.document
    document["layers"] += [
        Descriptor.of(FOREIGN, b"far away").to_json(),
        {**Descriptor.of("application/vnd.oci.image.layer.v1.tar", b"far").to_json(), "urls": ["https://a.example/b"]},
    ]
    manifest = Manifest(IMAGE_MANIFEST, json.dumps(document).encode())
    hold(server, manifest, blobs=image.blobs)
    assert missing(server, manifest.digest) == ()


@pytest.mark.parametrize(
    ("head", "get", "expected"),
    [
        (faults.status(404), None, ()),
        (faults.status(404), faults.status(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}'), "gone"),
        (faults.status(404), faults.status(404, b'{"errors":[{"code":"NAME_UNKNOWN"}]}'), "gone"),
        (faults.status(404), faults.status(404), "registry-not-oci"),
        (faults.status(404), faults.html(404), "registry-not-oci"),
        (faults.html(404), faults.html(200), "registry-not-oci"),
        (faults.html(200), faults.html(200), "registry-not-oci"),
        (faults.headers(Content_Length="0"), faults.status(200, b"abc"), "registry-not-oci"),
        (faults.status(404), faults.status(404, b'{"errors":[{"code":"OTHER"}]}'), "registry-not-oci"),
        (faults.status(403), None, "registry-denied"),
        (faults.status(418), None, "registry-not-oci"),
        (faults.status(503), None, "registry-failing"),
        (faults.reset, None, "registry-unreachable"),
        (faults.headers(Content_Length="0"), None, ()),
        (faults.headers(Content_Length="0"), faults.status(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}'), "gone"),
        (faults.headers(Content_Length="0"), faults.status(500), "registry-failing"),
        (faults.headers(Content_Length="0"), faults.status(206, b"x", Content_Range="bytes 0-0/3"), "gone"),
        (faults.headers(Content_Length="0"), faults.status(416, Content_Range="bytes */0"), "gone"),
        (faults.headers(Content_Length="0"), faults.status(206, b"x"), "registry-not-oci"),
    ],
)
def test_only_a_certain_answer_makes_a_blob_missing(
    server: FaultyRegistry, head: Any, get: Any, expected: str | tuple[()]
) -> None:
    image = Image()
    layer = list(image.blobs)[1]
    hold(server, image.manifest, blobs=image.blobs)
    server.fault("HEAD", f"/blobs/{layer}", head)
    if get:
        server.fault("GET", f"/blobs/{layer}", get)
    if expected in {(), "gone"}:
        assert missing(server, image.manifest.digest) == ((layer,) if expected else ())
        return
    with pytest.raises(LianError) as error:
        missing(server, image.manifest.digest)
    assert codes(error) == {expected}


def test_a_registry_without_ranges_is_asked_for_little(server: FaultyRegistry) -> None:
    image, big = Image(), b"x" * 300_000
    document = image.manifest.document
    document["layers"] = [Descriptor.of("application/vnd.oci.image.layer.v1.tar", big).to_json()]
    manifest = Manifest(IMAGE_MANIFEST, json.dumps(document).encode())
    hold(server, manifest, blobs=image.blobs | {Digest.of(big): big})
    server.ranges = False
    server.fault("HEAD", str(Digest.of(big)), faults.status(404))
    assert missing(server, manifest.digest) == ()


def nested(depth: int) -> list[Manifest]:
    """Indexes inside indexes around one image; the outermost is the last."""
    made = [Image("nested").manifest]
    for _ in range(depth):
        inner = made[-1]
        made.append(index({AMD64: Descriptor.of(inner.media_type, inner.data)}))
    return made


def test_indexes_nest_only_so_deep(server: FaultyRegistry) -> None:
    deepest = nested(whole.MAX_DEPTH + 1)
    hold(server, *deepest, blobs=Image("nested").blobs)
    assert missing(server, deepest[-2].digest) == ()
    with pytest.raises(LianError) as error:
        missing(server, deepest[-1].digest)
    assert codes(error) == {"registry-not-oci"}
    assert "too deep" in str(error.value.problems[0].cause)


def test_an_index_that_names_too_much_is_not_followed(server: FaultyRegistry) -> None:
    entries = [Descriptor.of(IMAGE_MANIFEST, str(n).encode()).to_json() for n in range(whole.MAX_MANIFESTS)]
    document = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": entries}
    top = Manifest(IMAGE_INDEX, json.dumps(document).encode())
    hold(server, top)
    with pytest.raises(LianError) as error:
        missing(server, top.digest)
    assert codes(error) == {"registry-not-oci"}
    assert len(server.requests) < 10


def test_an_index_that_contains_itself_does_not_loop() -> None:
    """No registry can hold one that is verified; the walk ends all the same."""
    asked: list[Digest] = []
    own, other = Digest.of(b"own"), Digest.of(b"other")

    class Shelf:
        async def manifests(self, digests: Any) -> list[Manifest]:
            asked.extend(digests)
            entries = [{"mediaType": IMAGE_INDEX, "digest": str(d), "size": 1} for d in (own, other)]
            return [Manifest(IMAGE_INDEX, json.dumps({"manifests": entries}).encode()) for _ in digests]

        async def holds(self, blobs: Any) -> list[bool]:
            return [True for _ in blobs]

    found = asyncio.run(whole.look(Shelf(), own))
    assert asked == [own, other]
    assert found.missing == ()


def test_the_first_error_ends_the_asking(server: FaultyRegistry) -> None:
    """The others' requests are not waited for one by one."""
    layers = [f"layer {n}".encode() for n in range(40)]
    image = Image()
    document = image.manifest.document
    document["layers"] = [Descriptor.of("application/vnd.oci.image.layer.v1.tar", data).to_json() for data in layers]
    manifest = Manifest(IMAGE_MANIFEST, json.dumps(document).encode())
    hold(server, manifest, blobs=image.blobs)
    server.fault("HEAD", "/blobs/", faults.status(403))
    with pytest.raises(LianError) as error:
        missing(server, manifest.digest)
    assert codes(error) == {"registry-denied"}
    assert len(server.asked("HEAD")) < 10
