"""Bringing images from one repository to another: mounted, or sent in chunks that may be lost on the way."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.digest import Digest
from reconciler.model.manifest import IMAGE_MANIFEST, Descriptor, Manifest, index
from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.providers.registry.distribution import reading, uploads
from reconciler.providers.registry.distribution.uploads import Session, Uploads
from reconciler.providers.registry.layout.publisher import LayoutPublisher
from reconciler.providers.registry.layout.registry import LayoutRegistry
from tests.ports.registry_suite import AMD64, ARM64, KIND, Image, codes, record
from tests.providers.registry.places import config, disk_place, opened, transport
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import PASSWORD, USER, FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.servers.running import RegistryServer

LAYER = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with FaultyRegistry().running() as running:
        yield running


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three bytes at a time."""
    monkeypatch.setattr(uploads, "CHUNK", 3)


def hold(server: FaultyRegistry, data: bytes = b"0123456789") -> Manifest:
    """An image with this layer, in the repository `from/here`."""
    image = Image()
    document = image.manifest.document
    document["layers"] = [Descriptor.of(LAYER, data).to_json()]
    manifest = Manifest(IMAGE_MANIFEST, json.dumps(document).encode())
    blobs = {next(iter(image.blobs)): next(iter(image.blobs.values())), Digest.of(data): data}
    server.blobs |= {("from/here", str(digest)): content for digest, content in blobs.items()}
    server.manifests["from/here", str(manifest.digest)] = (IMAGE_MANIFEST, manifest.data)
    return manifest


def copy(server: FaultyRegistry, manifest: Manifest, **how: Any) -> None:
    async def use() -> None:
        async with opened(server.host, **how) as (_, publisher):
            source, target = (Repository(server.host, path) for path in ("from/here", "to/there"))
            assert await publisher.copy(source, target, manifest.digest) == manifest

    asyncio.run(use())


def arrived(server: FaultyRegistry, data: bytes = b"0123456789") -> bool:
    return server.blobs.get(("to/there", str(Digest.of(data)))) == data


def test_what_can_be_mounted_is_not_sent(server: FaultyRegistry) -> None:
    copy(server, hold(server))
    assert arrived(server)
    assert server.asked("PATCH") == server.asked("PUT", "/blobs/") == server.asked("GET", "/blobs/") == []
    assert len(server.asked("POST")) == 2


def test_what_is_whole_already_is_only_looked_at(server: FaultyRegistry) -> None:
    manifest = hold(server)
    copy(server, manifest)
    server.requests.clear()
    copy(server, manifest)
    assert {seen.method for seen in server.requests} == {"HEAD", "GET"}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("data", [b"", b"1", b"123", b"1234", b"0123456789", b"012345678901"])
def test_what_cannot_be_mounted_is_sent_in_chunks(server: FaultyRegistry, data: bytes) -> None:
    server.mounts = False
    copy(server, hold(server, data))
    assert arrived(server, data)
    assert server.uploads == {}
    ranges = [seen.headers["content-range"] for seen in server.asked("PATCH")]
    assert ranges.count("0-2") == (1 if len(data) <= 3 else 2)  # the config takes more than one, too


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    "answer", [faults.status(404), faults.status(405), faults.status(400, b'{"errors":[{"code":"NAME_INVALID"}]}')]
)
def test_whoever_may_not_mount_still_sends(server: FaultyRegistry, answer: Any) -> None:
    server.mounts = False
    server.fault("POST", "mount=", answer)
    copy(server, hold(server))
    assert arrived(server)


@pytest.mark.usefixtures("small_chunks")
def test_chunks_are_as_large_as_the_registry_wants(server: FaultyRegistry) -> None:
    server.mounts, server.least = False, 7
    copy(server, hold(server))
    assert arrived(server)
    assert "0-6" in {seen.headers["content-range"] for seen in server.asked("PATCH")}
    server.least = uploads.MOST_CHUNK + 1
    server.blobs = {key: data for key, data in server.blobs.items() if key[0] == "from/here"}
    with pytest.raises(LianError) as error:
        copy(server, hold(server))
    assert codes(error) == {"registry-refused"}


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("fault", [faults.status(500), faults.status(429), faults.reset])
@pytest.mark.parametrize("at", range(24))
def test_a_copy_outlives_a_fault_at_any_request(server: FaultyRegistry, at: int, fault: Any, strict: bool) -> None:
    """The answer is lost, the effect is not: a chunk may be there that nobody told of, and arrives twice."""
    server.mounts, server.strict, count = False, strict, 0

    def nth(right: faults.Answer) -> faults.Answer:
        nonlocal count
        count += 1
        return fault(right) if count == at + 1 else right

    for method in ("HEAD", "POST", "PUT", "GET", "PATCH"):
        server.fault(method, "", nth)
    copy(server, hold(server))
    assert arrived(server)
    assert count > 24


@pytest.mark.usefixtures("small_chunks")
def test_an_upload_goes_on_where_the_registry_stands(server: FaultyRegistry) -> None:
    """It took half of the chunk."""
    server.mounts = False
    manifest = hold(server)

    def half(right: faults.Answer) -> faults.Answer:
        session = right.headers["Location"].partition("?")[0].rpartition("/")[2]
        server.uploads[session] = server.uploads[session][:-1]
        return faults.Answer(202, right.headers | {"Range": f"0-{len(server.uploads[session]) - 1}"})

    server.fault("PATCH", "", half, times=2)
    copy(server, manifest)
    assert arrived(server)


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("times", [1, 2, 99])
def test_a_lost_session_starts_over_a_few_times(server: FaultyRegistry, times: int) -> None:
    server.mounts = False
    manifest = hold(server)

    def lost(right: faults.Answer) -> faults.Answer:
        server.uploads.clear()
        return faults.status(404, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')(right)

    server.fault("PATCH", "", lost, times)
    if times < 99:
        copy(server, manifest)
        assert arrived(server)
        return
    with pytest.raises(LianError) as error:
        copy(server, manifest)
    assert codes(error) == {"registry-refused"}
    assert ("to/there", str(manifest.digest)) not in server.manifests


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize("told", ["0-0", "0-999", "0-2"])
def test_an_upload_that_does_not_get_on_ends(server: FaultyRegistry, told: str) -> None:
    """Whatever is sent, the registry claims to stand there."""
    server.mounts = server.strict = False
    manifest = hold(server)
    server.fault("PATCH", "", faults.headers(Range=told))
    with pytest.raises(LianError) as error:
        copy(server, manifest)
    assert codes(error) == {"registry-refused"}
    assert len(server.requests) < 300


@pytest.mark.usefixtures("small_chunks")
def test_damaged_content_does_not_arrive(server: FaultyRegistry) -> None:
    server.mounts = False
    manifest = hold(server)
    server.blobs["from/here", str(Digest.of(b"0123456789"))] = b"012345678X"
    with pytest.raises(LianError) as error:
        copy(server, manifest)
    assert codes(error) == {"registry-wrong-digest"}
    assert not any(key == ("to/there", str(Digest.of(b"0123456789"))) for key in server.blobs)
    assert ("to/there", str(manifest.digest)) not in server.manifests
    assert not [sent for sent in server.uploads.values() if sent.startswith(b"01")]


@pytest.mark.usefixtures("small_chunks")
@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (faults.status(404, b'{"errors":[{"code":"BLOB_UNKNOWN"}]}'), "blob-unknown"),
        (faults.html(404), "registry-not-oci"),
        (faults.html(200), "registry-wrong-digest"),
        (faults.status(206, b"012"), "registry-not-oci"),
        (faults.status(206, b"012", Content_Range="bytes 3-5/10"), "registry-not-oci"),
        (faults.status(206, b"", Content_Range="bytes 0-2/10"), "registry-not-oci"),
        (faults.status(206, b"0123", Content_Range="bytes 0-3/10"), "registry-not-oci"),
        (faults.status(206, b"012", Content_Range="bytes 0-2/11"), "registry-wrong-digest"),
        (faults.status(403), "registry-denied"),
    ],
)
def test_a_source_that_does_not_give_its_blob_is_told(server: FaultyRegistry, fault: Any, code: str) -> None:
    server.mounts = False
    manifest = hold(server)
    server.fault("GET", f"from/here/blobs/{Digest.of(b'0123456789')}", fault)
    with pytest.raises(LianError) as error:
        copy(server, manifest)
    assert codes(error) == {code}


@pytest.mark.usefixtures("small_chunks")
def test_a_registry_without_ranges_is_read_as_a_whole_up_to_a_limit(
    server: FaultyRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.mounts = server.ranges = False
    manifest = hold(server)
    copy(server, manifest)
    assert arrived(server)
    assert len(server.asked("GET", str(Digest.of(b"0123456789")))) == 1
    server.blobs = {key: data for key, data in server.blobs.items() if key[0] == "from/here"}
    monkeypatch.setattr(reading, "MAX_UNDIVIDED", 9)
    with pytest.raises(LianError) as error:
        copy(server, manifest)
    assert codes(error) == {"content-too-large"}


def test_a_mount_asks_for_both_repositories_in_one_token() -> None:
    with FaultyRegistry(auth="bearer").running() as server:
        manifest = hold(server)
        copy(server, manifest, docker=config(server.host, username=USER, password=PASSWORD))
        assert arrived(server)
        assert server.asked("PATCH") == server.asked("PUT", "/blobs/") == []
        both = [seen.path for seen in server.asked("GET", "/token") if seen.path.count("scope=") == 2]
        assert len(both) == 1
        assert "repository%3Ato%2Fthere%3Apull%2Cpush" in both[0]
        assert "repository%3Afrom%2Fhere%3Apull" in both[0]


def test_a_referrer_that_is_copied_is_listed_where_it_comes_to(server: FaultyRegistry) -> None:
    image = Image()
    manifest, blobs = record(image.descriptor, "one")

    async def use() -> None:
        async with opened(server.host) as (registry, publisher):
            source, target = (Repository(server.host, path) for path in ("from/here", "to/there"))
            await publisher.publish(source, manifest, blobs=blobs)
            await publisher.copy(source, target, manifest.digest)
            found = await registry.referrers(target, image.manifest.digest, KIND)
            assert [d.digest for d in found] == [manifest.digest]

    asyncio.run(use())


def test_only_within_one_registry(server: FaultyRegistry, tmp_path: Path) -> None:
    async def use() -> None:
        async with opened(server.host) as (_, publisher):
            for each in (publisher, LayoutPublisher(tmp_path)):
                with pytest.raises(ValueError, match="not on one registry"):
                    await each.copy(Repository(server.host, "a"), Repository("other", "a"), Digest.of(b""))

    asyncio.run(use())


def as_if_it_mounted_nothing(monkeypatch: pytest.MonkeyPatch, first: Session | None = None) -> None:
    """All registries that run here mount; zot even what it is only asked for by HEAD. `first` is the first session."""
    sessions = [first] if first else []

    async def no_mount(self: Uploads, source: Repository, target: Repository, digest: Digest) -> Session | None:
        return sessions.pop() if sessions else await self._session(target)

    async def has_not(self: Uploads, repository: Repository, digest: Digest) -> bool:
        return False

    monkeypatch.setattr(Uploads, "_mount", no_mount)
    monkeypatch.setattr(Uploads, "has", has_not)


@pytest.mark.parametrize("kind", ["registry_server", "distribution_v3_server", "zot_server", "ggcr_server"])
def test_a_large_blob_is_sent_in_little_memory(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    running: RegistryServer = request.getfixturevalue(kind)
    monkeypatch.setattr(uploads, "CHUNK", 1 << 18)
    data = random.Random(7).randbytes((16 << 20) + 5)
    image = Image()
    document = image.manifest.document
    document["layers"] = [Descriptor.of(LAYER, data).to_json()]
    manifest = Manifest(IMAGE_MANIFEST, json.dumps(document).encode())
    blobs = {next(iter(image.blobs)): next(iter(image.blobs.values())), Digest.of(data): data}
    source, target = (Repository(running.host, path) for path in ("from/here", "to/there"))

    async def use() -> None:
        async with opened(running.host) as (registry, publisher):
            await publisher.publish(source, manifest, blobs=blobs)
            gc.collect()
            tracemalloc.start()
            tracemalloc.reset_peak()
            assert await publisher.copy(source, target, manifest.digest) == manifest
            _, most = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert most < len(data) / 2
            assert await registry.blob(target, Digest.of(data), len(data)) == data

    as_if_it_mounted_nothing(monkeypatch)
    asyncio.run(use())


@pytest.mark.parametrize("kind", ["registry_server", "distribution_v3_server", "zot_server"])
@pytest.mark.parametrize("first", [None, Session("/v2/to/there/blobs/uploads/none")])
def test_a_chunk_that_arrives_twice_is_outlived(
    kind: str, first: Session | None, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer was lost on the way: the same request is made again, as the transport does."""
    running: RegistryServer = request.getfixturevalue(kind)
    monkeypatch.setattr(uploads, "CHUNK", 1000)
    data = random.Random(7).randbytes(3500)
    source, target = (Repository(running.host, path) for path in ("from/here", "to/there"))
    blob = Descriptor.of(LAYER, data)

    async def use() -> None:
        async with opened(running.host) as (registry, _), transport(running.host) as made:
            sender, real, sent = Uploads(made), made.send, 0
            await sender.put(source, blob.digest, data)

            async def twice(call: Any) -> Any:
                nonlocal sent
                sent += call.method == "PATCH"
                if call.method == "PATCH" and sent == 2:
                    await real(call)
                return await real(call)

            made.send = twice  # type: ignore[method-assign]
            await sender.bring(source, target, blob)
            assert sent >= 3
            assert await registry.blob(target, blob.digest, len(data)) == data

    as_if_it_mounted_nothing(monkeypatch, first)
    asyncio.run(use())


def test_on_disk_blobs_are_shared_between_repositories(tmp_path: Path) -> None:
    place, amd64, arm64 = disk_place(tmp_path), Image(), Image()
    source, target = place.repository("from/here"), place.repository("to/there")
    top = index({AMD64: amd64.descriptor, ARM64: arm64.descriptor})
    publisher = LayoutPublisher(tmp_path)

    async def use() -> None:
        for each in (amd64, arm64):
            await publisher.publish(source, each.manifest, blobs=each.blobs)
        await publisher.publish(source, top, tags=["latest"])
        await publisher.copy(source, target, top.digest)
        assert await LayoutRegistry(tmp_path).missing(target, top.digest) == ()

    asyncio.run(use())
    for digest in (*amd64.blobs, *arm64.blobs):
        there = (tmp_path / "to/there/blobs/sha256" / digest.hex).stat()
        assert (tmp_path / "from/here/blobs/sha256" / digest.hex).stat().st_ino == there.st_ino
    assert [e["digest"] for e in json.loads((tmp_path / "to/there/index.json").read_bytes())["manifests"]] == [
        str(top.digest)
    ]


@pytest.mark.parametrize(
    ("content", "code"), [(None, "blob-unknown"), (b"x", "blob-unknown"), ("same size", "registry-damaged")]
)
def test_on_disk_a_broken_image_is_not_copied(tmp_path: Path, content: Any, code: str) -> None:
    place, image = disk_place(tmp_path), Image()
    source, target = place.repository("from/here"), place.repository("to/there")
    publisher, layer = LayoutPublisher(tmp_path), list(image.blobs)[1]
    asyncio.run(publisher.publish(source, image.manifest, blobs=image.blobs))
    path = tmp_path / "from/here/blobs/sha256" / layer.hex
    path.unlink()
    if content is not None:
        path.write_bytes(b"x" * len(image.blobs[layer]) if content == "same size" else content)
    with pytest.raises(LianError) as error:
        asyncio.run(publisher.copy(source, target, image.manifest.digest))
    assert codes(error) == {code}
    missing = asyncio.run(LayoutRegistry(tmp_path).missing(target, image.manifest.digest))
    assert missing == (image.manifest.digest,)
