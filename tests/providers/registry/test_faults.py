"""What a registry's faults become: an answer in the end, or Unknown with a problem; never Absent, never a hang."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.digest import Digest
from reconciler.model.manifest import IMAGE_MANIFEST
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.problem import LianError, Next
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.http.lane import Lane
from reconciler.providers.registry.http.reply import Broken
from reconciler.providers.registry.http.retry import RetryPolicy
from tests.ports.registry_suite import KIND, Image, codes, record
from tests.providers.registry.places import Clock, config, opened
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import PASSWORD, USER, FaultyRegistry
from tests.servers.raw import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from reconciler.model.observed import Sighting

MANIFEST = r"/manifests/"


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with FaultyRegistry().running() as running:
        yield running


@pytest.fixture
def image(server: FaultyRegistry) -> Image:
    """Stands in `app:latest`."""
    held = Image()
    server.blobs |= {("app", str(digest)): data for digest, data in held.blobs.items()}
    server.manifests["app", str(held.manifest.digest)] = (IMAGE_MANIFEST, held.manifest.data)
    server.tags["app", "latest"] = str(held.manifest.digest)
    return held


def head(server: FaultyRegistry, tag: str = "latest", digest: Digest | None = None, **how: Any) -> Sighting:
    """What one reference of `app` is seen as."""
    reference = Reference(Repository(server.host, "app"), tag, digest)

    async def use() -> Sighting:
        async with opened(server.host, **how) as (registry, _):
            return (await registry.heads([reference]))[reference]

    return asyncio.run(use())


def code(seen: Sighting) -> str:
    assert isinstance(seen, Unknown), seen
    return seen.problem.code


@pytest.mark.parametrize("fault", [faults.status(s) for s in (408, 429, 500, 502, 503, 504)] + [faults.reset])
@pytest.mark.parametrize("times", [1, 4])
def test_a_fault_that_passes_is_outlived(server: FaultyRegistry, image: Image, fault: Any, times: int) -> None:
    server.fault("HEAD", MANIFEST, fault, times)
    assert head(server) == Found(image.manifest.digest, IMAGE_MANIFEST, image.descriptor.size)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (faults.status(429), "registry-busy"),
        (faults.status(500), "registry-failing"),
        (faults.status(503, b"<html>no</html>"), "registry-failing"),
        (faults.reset, "registry-unreachable"),
        (faults.status(401), "registry-denied"),
        (faults.status(403), "registry-denied"),
        (faults.html(200), "registry-not-oci"),
        (faults.html(404), "registry-not-oci"),
        (faults.status(404), "registry-not-oci"),
        (faults.status(404, b'{"errors": "no"}'), "registry-not-oci"),
        (faults.status(404, b'{"errors": [{"code": "SOMETHING_ELSE"}]}'), "registry-not-oci"),
        (faults.status(404, b"[" * 60000), "registry-not-oci"),
        (faults.status(418), "registry-not-oci"),
        (faults.status(302, Location="ftp://127.0.0.1/x"), "registry-not-oci"),
        (faults.status(302, Location="http://[::1/x"), "registry-not-oci"),
        (faults.status(302, Location="http://127.0.0.1:99999/x"), "registry-not-oci"),
        (faults.status(302, Location="/v2/app/manifests/latest"), "registry-not-oci"),
        (faults.status(304), "registry-not-oci"),
    ],
)
def test_a_fault_that_stays_is_unknown(server: FaultyRegistry, image: Image, fault: Any, expected: str) -> None:
    for method in ("HEAD", "GET"):
        server.fault(method, MANIFEST, fault)
    seen = head(server)
    assert code(seen) == expected
    assert isinstance(seen, Unknown)
    assert server.host in seen.problem.message
    assert seen.problem.cause
    assert seen.problem.hint


@pytest.mark.parametrize("how", [faults.truncated, faults.body(b"{}"), faults.body(b"")])
def test_a_head_without_digest_is_answered_by_the_verified_bytes(
    server: FaultyRegistry, image: Image, how: Any
) -> None:
    server.fault("HEAD", MANIFEST, faults.headers(Docker_Content_Digest=None))
    assert head(server) == Found(image.manifest.digest, IMAGE_MANIFEST, image.descriptor.size)
    server.fault("GET", MANIFEST, how)
    assert isinstance(head(server), Unknown)


def test_absent_needs_an_error_code_which_head_cannot_carry(server: FaultyRegistry, image: Image) -> None:
    assert head(server, "other") == ABSENT
    asked = [seen for seen in server.requests if seen.path != "/v2/"]  # whether it wants to know who asks
    assert [seen.method for seen in asked] == ["HEAD", "GET"]
    assert len(server.requests) == 3
    server.fault("GET", MANIFEST, faults.status(404, b'{"errors": [{"code": "NAME_UNKNOWN"}]}'))
    assert head(server, "other") == ABSENT
    server.fault("HEAD", MANIFEST, faults.status(404))
    server.faults.reverse()
    server.faults.pop()
    assert head(server) == Found(image.manifest.digest, IMAGE_MANIFEST, image.descriptor.size)


def test_a_digest_that_is_not_the_one_asked_for_is_told(server: FaultyRegistry, image: Image) -> None:
    other = str(Digest.of(b"other"))
    server.fault("HEAD", MANIFEST, faults.headers(Docker_Content_Digest=other))
    assert code(head(server, digest=image.manifest.digest)) == "registry-wrong-digest"


def test_content_under_a_wrong_digest_is_never_returned(server: FaultyRegistry, image: Image) -> None:
    layer, data = next(iter(image.blobs.items()))

    async def use() -> None:
        async with opened(server.host) as (registry, _):
            repository = Repository(server.host, "app")
            for path, change in (
                (r"/blobs/", faults.body(b"x" * len(data))),
                (MANIFEST, faults.body(Image().manifest.data)),
            ):
                server.fault("GET", path, change)
            for asked in (registry.blob(repository, layer, 1000), registry.manifest(repository, image.manifest.digest)):
                with pytest.raises(LianError) as error:
                    await asked
                assert codes(error) == {"registry-wrong-digest"}
            server.faults.clear()
            server.fault("GET", MANIFEST, faults.headers(Docker_Content_Digest=str(Digest.of(b""))))
            with pytest.raises(LianError) as error:
                await registry.manifest(repository, image.manifest.digest)
            assert codes(error) == {"registry-wrong-digest"}

    asyncio.run(use())


def test_a_manifest_beyond_four_mebibytes_is_not_read(server: FaultyRegistry, image: Image) -> None:
    server.fault("GET", MANIFEST, faults.body(b" " * (4 << 20) + b"{}"))

    async def use() -> None:
        async with opened(server.host) as (registry, _):
            with pytest.raises(LianError) as error:
                await registry.manifest(Repository(server.host, "app"), image.manifest.digest)
            assert codes(error) == {"content-too-large"}

    asyncio.run(use())


def test_retry_after_is_obeyed_up_to_its_limit(server: FaultyRegistry, image: Image) -> None:
    clock = Clock()
    server.fault("HEAD", MANIFEST, faults.status(429, Retry_After="7"), times=2)
    assert isinstance(head(server, clock=clock), Found)
    assert max(clock.pauses) == 7.0
    server.fault("HEAD", MANIFEST, faults.status(429, Retry_After="121"))
    late = Clock()
    assert code(head(server, clock=late)) == "registry-busy"
    assert late.pauses == []


def test_https_to_a_port_of_plain_http_says_so(server: FaultyRegistry) -> None:
    seen = head(server, url=f"https://{server.host}")
    assert code(seen) == "registry-unreachable"
    assert isinstance(seen, Unknown)
    assert "plain HTTP" in str(seen.problem.cause) and "SSL" not in str(seen.problem.cause)
    assert "http://" in str(seen.problem.hint)
    assert seen.problem.next is Next.PERSON


def test_a_registry_that_is_down_fails_all_references_soon() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{probe.getsockname()[1]}"

        async def use() -> None:
            clock = Clock()
            async with opened(host, clock=clock) as (registry, _):
                wanted = [Reference(Repository(host, f"r/{n}"), "latest") for n in range(2000)]
                seen = await registry.heads(wanted)
                assert len(seen) == 2000
                assert {code(s) for s in seen.values()} == {"registry-unreachable"}
                assert len({id(s.problem) for s in seen.values() if isinstance(s, Unknown)}) < 20
                assert len(clock.pauses) < 20
                assert sum(clock.pauses) < 60

        started = time.monotonic()
        asyncio.run(use())
        assert time.monotonic() - started < 20


def test_a_registry_that_fails_everywhere_is_not_asked_thousands_of_times(server: FaultyRegistry) -> None:
    server.fault("HEAD", MANIFEST, faults.status(500))

    async def use() -> None:
        async with opened(server.host) as (registry, _):
            wanted = [Reference(Repository(server.host, f"r/{n}"), "latest") for n in range(500)]
            assert {code(s) for s in (await registry.heads(wanted)).values()} == {"registry-failing"}

    asyncio.run(use())
    assert len(server.requests) < 50


def test_one_broken_repository_does_not_touch_the_others(server: FaultyRegistry, image: Image) -> None:
    server.fault("HEAD", "/broken/", faults.status(500))

    async def use() -> None:
        async with opened(server.host) as (registry, _):
            names = ["broken", *(f"r/{n}" for n in range(100)), "app"]
            wanted = [Reference(Repository(server.host, name), "latest") for name in names]
            seen = list((await registry.heads(wanted)).values())
            assert code(seen[0]) == "registry-failing"
            assert seen[1:101] == [ABSENT] * 100
            assert isinstance(seen[101], Found)

    asyncio.run(use())


def test_a_dripping_answer_ends_in_time(server: FaultyRegistry, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("reconciler.providers.registry.http.lanes.CALL_SECONDS", 0.3)
    server.fault("GET", MANIFEST, faults.dripping(0.05))

    async def use() -> None:
        async with opened(server.host, policy=RetryPolicy(tries=2)) as (registry, _):
            with pytest.raises(LianError) as error:
                await registry.manifest(Repository(server.host, "app"), image.manifest.digest)
            assert codes(error) == {"registry-unreachable"}
            assert error.value.problems[0].next is Next.RETRY

    asyncio.run(use())


def test_a_connection_the_server_ended_while_idle_is_no_failure(server: FaultyRegistry, image: Image) -> None:
    server.fault("HEAD", MANIFEST, faults.headers(Connection="close"))

    async def use() -> None:
        clock = Clock()
        async with opened(server.host, clock=clock) as (registry, _):
            wanted = [Reference(Repository(server.host, "app"), "latest", None)]
            wanted += [Reference(Repository(server.host, "app"), f"no-{n}") for n in range(20)]
            seen = list((await registry.heads(wanted)).values())
            assert isinstance(seen[0], Found)
            assert set(seen[1:]) == {ABSENT}
            assert clock.pauses == []

    asyncio.run(use())


def test_no_proxy_stands_before_loopback(server: FaultyRegistry, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert isinstance(head(server), Found)
    server.fault("HEAD", MANIFEST, faults.headers(Docker_Content_Digest=None))
    assert isinstance(head(server), Found)


def test_a_proxy_is_used_elsewhere(server: FaultyRegistry, image: Image, monkeypatch: pytest.MonkeyPatch) -> None:
    """The server in memory plays the proxy: it is asked with the whole URL."""
    monkeypatch.setenv("http_proxy", server.url)
    monkeypatch.delenv("no_proxy", raising=False)
    reference = Reference(Repository("registry.invalid", "app"), "latest")

    async def use() -> None:
        async with opened("registry.invalid", "http://registry.invalid") as (registry, _):
            assert isinstance((await registry.heads([reference]))[reference], Found)

    asyncio.run(use())
    assert {seen.path for seen in server.requests} == {"http://registry.invalid/v2/app/manifests/latest"}


def publish(server: FaultyRegistry, image: Image, **how: Any) -> None:
    async def use() -> None:
        async with opened(server.host, **how) as (_, publisher):
            await publisher.publish(Repository(server.host, "new"), image.manifest, tags=["a", "b"], blobs=image.blobs)

    asyncio.run(use())


@pytest.mark.parametrize("fault", [faults.status(500), faults.status(429), faults.reset])
@pytest.mark.parametrize("request_index", range(11))
def test_a_push_outlives_a_fault_at_any_request(server: FaultyRegistry, request_index: int, fault: Any) -> None:
    """The n-th request fails once. HEAD, POST, PUT for each blob, then the manifest, then two tags with read-back."""
    image, count = Image(), 0

    def nth(right: faults.Answer) -> faults.Answer:
        nonlocal count
        count += 1
        return fault(right) if count == request_index + 1 else right

    for method in ("HEAD", "POST", "PUT", "GET"):
        server.fault(method, "", nth)
    publish(server, image)
    assert 12 <= count <= 14  # an upload that may have ended is looked at, not made again
    assert server.tags == {("new", tag): str(image.manifest.digest) for tag in ("a", "b")}


def test_what_gets_a_tag_is_not_put_by_digest_before(server: FaultyRegistry, image: Image) -> None:
    """To put it under the tag does that, too. A referrer is still entered in its list."""
    manifest, blobs = record(image.descriptor, "one")

    async def use() -> None:
        async with opened(server.host) as (_, publisher):
            repository = Repository(server.host, "app")
            await publisher.publish(repository, image.manifest, tags=["a", "b"])
            assert [seen.path for seen in server.asked("PUT")] == [f"/v2/app/manifests/{tag}" for tag in "ab"]
            server.requests.clear()
            await publisher.publish(repository, manifest, blobs=blobs)
            del server.manifests["app", str(manifest.digest)]
            await publisher.publish(repository, manifest, tags=["c"])
            assert len(server.asked("PUT", f"/manifests/{manifest.digest}")) == 2
            assert len(server.asked("PUT", "/manifests/sha256-")) == 1

    asyncio.run(use())


@pytest.mark.parametrize(
    ("method", "path", "fault", "expected"),
    [
        ("PUT", "/manifests/", faults.status(400, b'{"errors":[{"code":"MANIFEST_INVALID"}]}'), "registry-refused"),
        ("PUT", "/manifests/b", faults.status(409), "registry-refused"),
        ("PUT", "/manifests/", faults.status(413), "registry-refused"),
        ("PUT", "/manifests/", faults.status(403), "registry-denied"),
        ("PUT", "/manifests/", faults.status(507), "registry-refused"),
        ("PUT", "/manifests/a", faults.headers(Docker_Content_Digest="sha256:" + "0" * 64), "registry-wrong-digest"),
        ("HEAD", "/manifests/a", faults.headers(Docker_Content_Digest="sha256:" + "0" * 64), "tag-not-moved"),
        ("HEAD", "/manifests/a", faults.status(404), "tag-not-moved"),
        ("POST", "/uploads/", faults.status(404), "registry-refused"),
        ("POST", "/uploads/", faults.headers(Location=None), "registry-refused"),
        ("PUT", "/uploads/", faults.status(400), "registry-refused"),
        ("HEAD", "/blobs/", faults.status(418), "registry-not-oci"),
    ],
)
def test_a_push_that_cannot_succeed_says_why(
    server: FaultyRegistry, method: str, path: str, fault: Callable[[faults.Answer], faults.Answer], expected: str
) -> None:
    server.fault(method, path, fault)
    with pytest.raises(LianError) as error:
        publish(server, Image())
    assert codes(error) == {expected}


def losing(server: FaultyRegistry) -> Callable[[faults.Answer], faults.Answer]:
    """The registry forgets the upload, with all that was in it."""

    def lost(right: faults.Answer) -> faults.Answer:
        server.uploads.clear()
        server.blobs.clear()
        return faults.status(404, b'{"errors":[{"code":"BLOB_UPLOAD_UNKNOWN"}]}')(right)

    return lost


def test_a_lost_upload_starts_over(server: FaultyRegistry) -> None:
    server.fault("PUT", "/uploads/", losing(server), times=2)
    publish(server, Image())
    assert len(server.asked("POST")) == 4


def test_an_upload_that_is_always_lost_is_told(server: FaultyRegistry) -> None:
    server.fault("PUT", "/uploads/", losing(server))
    with pytest.raises(LianError) as error:
        publish(server, Image())
    assert codes(error) == {"registry-refused"}
    assert len(server.asked("POST")) == 3


def test_the_query_of_an_upload_location_is_kept(server: FaultyRegistry) -> None:
    publish(server, Image())
    assert all("state=kept&digest=sha256%3A" in seen.path for seen in server.asked("PUT", "/uploads/"))


def test_take_in_notices_a_missing_blob(server: FaultyRegistry, image: Image) -> None:
    gone = list(image.blobs)[1]
    del server.blobs["app", str(gone)]

    async def use() -> None:
        async with opened(server.host) as (_, publisher):
            repository = Repository(server.host, "app")
            destination = publisher.destination(repository, None)  # type: ignore[arg-type]
            with pytest.raises(LianError) as error:
                await publisher.take_in(repository, destination, image.manifest.digest)
            assert codes(error) == {"blob-unknown"}
            assert str(gone) in str(error.value)

    asyncio.run(use())


@pytest.mark.parametrize(
    "fault",
    [faults.html(200), faults.html(404), faults.status(303, Location="https://127.0.0.1:1/login"), faults.status(400)],
)
def test_without_a_referrers_api_the_fallback_tag_is_read(server: FaultyRegistry, image: Image, fault: Any) -> None:
    manifest, blobs = record(image.descriptor, "one")

    async def use() -> None:
        async with opened(server.host) as (registry, publisher):
            repository = Repository(server.host, "app")
            await publisher.publish(repository, manifest, blobs=blobs)
            server.fault("GET", "/referrers/", fault)
            found = await registry.referrers(repository, image.manifest.digest, KIND)
            assert [d.digest for d in found] == [manifest.digest]

    asyncio.run(use())


@pytest.mark.parametrize("path", ["/referrers/", "/manifests/sha256-"])
def test_referrers_that_cannot_be_read_are_an_error(server: FaultyRegistry, image: Image, path: str) -> None:
    server.fault("GET", path, faults.status(500))

    async def use() -> None:
        async with opened(server.host) as (registry, _):
            with pytest.raises(LianError) as error:
                await registry.referrers(Repository(server.host, "app"), image.manifest.digest, KIND)
            assert codes(error) == {"registry-failing"}

    asyncio.run(use())


def test_pages_of_referrers_are_followed() -> None:
    image, pages = Image(), iter(range(10))
    records = [record(image.descriptor, str(n))[0] for n in range(3)]

    def page(right: faults.Answer) -> faults.Answer:
        n = next(pages)
        document = json.loads(right.body) | {"manifests": [json.loads(right.body)["manifests"][n]]}
        link = {"Link": f'</v2/app/referrers/{image.manifest.digest}?page={n}>; rel="next"'} if n < 2 else {}
        return faults.Answer(200, right.headers | link, json.dumps(document).encode())

    async def use(server: FaultyRegistry) -> None:
        async with opened(server.host) as (registry, publisher):
            repository = Repository(server.host, "app")
            for n, manifest in enumerate(records):
                await publisher.publish(repository, manifest, blobs=record(image.descriptor, str(n))[1])
            assert not server.tags
            server.fault("GET", "/referrers/", page)
            found = await registry.referrers(repository, image.manifest.digest, KIND)
            assert {d.digest for d in found} == {m.digest for m in records}

    with FaultyRegistry(referrers=True).running() as server:
        asyncio.run(use(server))


def test_of_a_manifest_of_100_megabytes_little_is_read() -> None:
    """What does not fit is not even fetched, and the connection is given up."""
    sent, whole = 0, 100 << 20

    async def pour(_: bytes, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(f"HTTP/1.1 200 OK\r\nContent-Type: {IMAGE_MANIFEST}\r\nContent-Length: {whole}\r\n\r\n".encode())
        while sent < whole:
            writer.write(b" " * (1 << 16))
            await writer.drain()
            sent += 1 << 16

    async def use() -> None:
        async with serving(pour) as host, opened(host) as (registry, _):
            with pytest.raises(LianError) as error:
                await registry.manifest(Repository(host, "app"), Digest.of(b""))
            assert codes(error) == {"content-too-large"}

    asyncio.run(use())
    assert sent < 32 << 20  # what the kernel's buffers take beside the 4 MiB


def test_headers_that_drip_end_in_time() -> None:
    async def drip(_asked: bytes, writer: asyncio.StreamWriter) -> None:
        for _ in range(1000):
            writer.write(b"X")
            await writer.drain()
            await asyncio.sleep(0.02)

    async def use() -> None:
        async with serving(drip) as host:
            name, port = host.split(":")
            async with Lane(name, int(port), None, read=0.1) as lane:
                started = time.monotonic()
                with pytest.raises(Broken) as error:
                    await lane.exchange("HEAD", "/", [("host", host)])
                assert error.value.silent
                assert time.monotonic() - started < 5

    asyncio.run(use())


GARBAGE = {
    "nothing": b"",
    "no HTTP": b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
    "bytes": b"\xff\xfe\x00" * 50 + b"\r\n\r\n",
    "negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nxx",
    "long header": b"HTTP/1.1 200 OK\r\nX: " + b"x" * 300_000 + b"\r\n\r\n",
    "odd digest": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDocker-Content-Digest: sha256:\xff\xfe\r\n\r\n",
    "status": b"HTTP/1.1 999 ?\r\nContent-Length: 0\r\n\r\n",
    "half a chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
}


@pytest.mark.parametrize("answer", GARBAGE.values(), ids=GARBAGE.keys())
def test_what_is_no_answer_is_unknown(answer: bytes) -> None:
    async def send(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()
        writer.close()

    async def use() -> None:
        async with serving(send) as host, opened(host) as (registry, _):
            wanted = [Reference(Repository(host, f"r/{n}"), "latest") for n in range(30)]
            seen = await registry.heads(wanted)
            assert {code(s) for s in seen.values()} <= {"registry-unreachable", "registry-not-oci"}
            assert len(seen) == 30

    asyncio.run(use())


def test_tokens_that_end_in_the_middle_are_renewed() -> None:
    image = Image()
    with FaultyRegistry(auth="bearer").running() as server:
        for n in range(100):
            server.manifests[f"r/{n}", str(image.manifest.digest)] = (IMAGE_MANIFEST, image.manifest.data)
            server.tags[f"r/{n}", "latest"] = str(image.manifest.digest)
        count = 0

        def revoked(right: faults.Answer) -> faults.Answer:
            nonlocal count
            count += 1
            if count % 25 == 0:
                server.tokens.clear()
            return right

        server.fault("HEAD", MANIFEST, revoked)

        async def use() -> None:
            async with opened(server.host, docker=config(server.host, username=USER, password=PASSWORD)) as (it, _):
                seen = await it.heads([Reference(Repository(server.host, f"r/{n}"), "latest") for n in range(100)])
                assert {s.digest for s in seen.values() if isinstance(s, Found)} == {image.manifest.digest}
                assert len(seen) == 100

        asyncio.run(use())
        assert count > 100


@pytest.mark.parametrize(("lost", "expected"), [("/manifests/", "tag-not-moved"), ("/uploads/", "registry-refused")])
def test_a_push_that_is_taken_and_lost_is_noticed(server: FaultyRegistry, lost: str, expected: str) -> None:
    server.lost = re.compile(lost)
    with pytest.raises(LianError) as error:
        publish(server, Image())
    assert codes(error) == {expected}
    assert not server.tags


def test_an_image_is_not_missing_by_an_answer_that_another_contradicts(server: FaultyRegistry, image: Image) -> None:
    """HEAD finds the manifest and GET does not: one of them is wrong, and nothing is built upon that."""
    digest, repository = image.manifest.digest, Repository(server.host, "app")
    server.fault("GET", MANIFEST, faults.status(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}'))

    async def use() -> None:
        async with opened(server.host) as (registry, _):
            with pytest.raises(LianError) as error:
                await registry.missing(repository, digest)
            assert codes(error) == {"registry-wrong-digest"}
            assert await registry.missing(repository, Digest.of(b"none")) == (Digest.of(b"none"),)

    asyncio.run(use())


def test_an_index_that_contains_itself_is_not_followed(server: FaultyRegistry, image: Image) -> None:
    """No content names its own digest: whoever sends such an index sends something else than it was asked for."""
    entry = {"mediaType": faults.INDEX, "digest": str(image.manifest.digest), "size": 3}
    document = {"schemaVersion": 2, "mediaType": faults.INDEX, "manifests": [entry]}
    answer = faults.status(200, json.dumps(document).encode(), Content_Type=faults.INDEX)
    server.fault("GET", MANIFEST, answer)

    async def use() -> None:
        async with opened(server.host) as (registry, publisher):
            repository = Repository(server.host, "app")
            destination = publisher.destination(repository, None)  # type: ignore[arg-type]
            for asked in (
                registry.manifest(repository, image.manifest.digest),
                registry.missing(repository, image.manifest.digest),
                publisher.take_in(repository, destination, image.manifest.digest),
            ):
                with pytest.raises(LianError) as error:
                    await asked
                assert codes(error) == {"registry-wrong-digest"}

    asyncio.run(use())
    assert len(server.requests) < 10
