"""Many references at once from a registry's own list: right with it, right without it, and never by it alone."""

from __future__ import annotations

import asyncio
import json
import logging
import tracemalloc
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.digest import Digest
from reconciler.model.fleet import RegistryProvider, RegistrySettings
from reconciler.model.manifest import IMAGE_INDEX, IMAGE_MANIFEST, Descriptor, index
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.reference import Reference, Repository
from reconciler.providers.registry.abilities import RoutedAbilities
from reconciler.providers.registry.distribution import bulk_heads, zot_search
from reconciler.providers.registry.http.reply import Reply
from reconciler.providers.registry.router import Connections, RoutedRegistry
from tests.ports.registry_suite import AMD64, ARM64, KIND, Image, record
from tests.providers.registry.places import config, opened
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import PASSWORD, SEARCH, USER, FaultyRegistry
from tests.servers.running import PASSWORD as ZOT_PASSWORD
from tests.servers.running import USER as ZOT_USER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.observed import Sighting
    from tests.servers.running import RegistryServer

MANY = 200
_BASIC = {"username": USER, "password": PASSWORD}


def stocked(**how: Any) -> FaultyRegistry:
    """MANY repositories with one image each, the same; zot's search is on."""
    server, image = FaultyRegistry(**how), Image("one")
    server.search = True
    for n in range(MANY):
        put(server, f"r/{n}", image)
    return server


def put(server: FaultyRegistry, name: str, image: Image, tag: str = "latest") -> None:
    digest = str(image.manifest.digest)
    server.manifests[name, digest] = (IMAGE_MANIFEST, image.manifest.data)
    server.tags[name, tag] = digest


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with stocked().running() as running:
        yield running


def refs(host: str, count: int = MANY, tag: str = "latest") -> list[Reference]:
    return [Reference(Repository(host, f"r/{n}"), tag) for n in range(count)]


def ask(host: str, references: list[Reference], **how: Any) -> Mapping[Reference, Sighting]:
    async def use() -> Mapping[Reference, Sighting]:
        async with opened(host, **how) as (registry, _):
            return await registry.heads(references)

    return asyncio.run(use())


def digests(seen: Mapping[Reference, Sighting]) -> set[Digest]:
    assert {type(s) for s in seen.values()} == {Found}
    return {s.digest for s in seen.values() if isinstance(s, Found)}


def test_many_references_are_answered_by_one_list_and_a_sample(server: FaultyRegistry) -> None:
    wanted = refs(server.host)
    seen = ask(server.host, [*wanted, *wanted])
    assert list(seen) == wanted
    assert digests(seen) == {Image("one").manifest.digest}
    assert len(server.asked("POST", SEARCH)) == 1
    assert len(server.asked("HEAD")) == bulk_heads.SAMPLE


def test_few_references_pay_nothing_for_it(server: FaultyRegistry) -> None:
    few = refs(server.host, bulk_heads.FEW)
    assert digests(ask(server.host, few)) == {Image("one").manifest.digest}
    assert {seen.method for seen in server.requests} == {"HEAD"}


def test_a_registry_without_it_is_asked_once_whether_it_has_it(server: FaultyRegistry) -> None:
    server.search = False
    assert digests(ask(server.host, refs(server.host))) == {Image("one").manifest.digest}
    assert len(server.asked("GET", "/ext/")) == 1
    assert (len(server.asked("POST")), len(server.asked("HEAD"))) == (0, MANY)


@pytest.mark.parametrize("search", [True, False])
def test_whether_it_is_there_is_asked_once_in_a_pass(server: FaultyRegistry, *, search: bool) -> None:
    server.search = search
    settings = [RegistrySettings(RegistryProvider.ZOT, url=server.url)]

    async def use() -> None:
        async with Connections(config=config) as connections:
            registry = RoutedRegistry(connections)
            for passes in range(1, 4):
                await connections.learn(settings)
                await asyncio.gather(*(registry.heads(refs(server.host)) for _ in range(3)))
                await registry.heads(refs(server.host))
                await RoutedAbilities(connections).of(Repository(server.host, "r/1"))
                assert len(server.asked("GET", faults.DISCOVER)) == passes

    asyncio.run(use())
    assert len(server.asked("POST", SEARCH)) == (12 if search else 0)


def test_an_offer_that_does_not_come_is_waited_for_once(
    server: FaultyRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bulk_heads, "LEAST_PATIENCE", 0.05)
    monkeypatch.setattr(bulk_heads, "MOST_PATIENCE", 0.1)
    server.fault("GET", faults.DISCOVER, faults.dripping(0.05))

    async def use() -> None:
        async with opened(server.host) as (registry, _):
            for _ in range(3):
                assert digests(await registry.heads(refs(server.host))) == {Image("one").manifest.digest}

    asyncio.run(use())
    assert len(server.asked("GET", faults.DISCOVER)) == 1


@pytest.mark.parametrize(
    "told",
    [
        faults.html(200),
        faults.body(b'{"extensions": null}'),
        faults.body(b'{"extensions": [{"name": "_zot"}]}'),
        faults.body(b'{"extensions": [{"endpoints": 3}]}'),
        faults.body(b'{"extensions": [{"endpoints": ["/v2/_zot/ext/mgmt"]}]}'),
        faults.body(b"[" * 60_000),
        faults.body(b"\xff\xfe"),
        faults.status(500),
        faults.status(302, Location="http://127.0.0.1:1/"),
        faults.reset,
    ],
)
def test_what_does_not_offer_it_is_taken_as_a_no(server: FaultyRegistry, told: Any) -> None:
    server.fault("GET", faults.DISCOVER, told)
    assert digests(ask(server.host, refs(server.host))) == {Image("one").manifest.digest}
    assert not server.asked("POST")


def test_what_is_not_listed_is_asked_for_and_never_absent_by_that(server: FaultyRegistry) -> None:
    server.unlisted = {(f"r/{n}", "latest") for n in range(0, MANY, 10)}
    wanted = [*refs(server.host), *refs(server.host, 30, "no-such-tag")]
    seen = ask(server.host, wanted)
    assert digests({r: s for r, s in seen.items() if r.tag == "latest"}) == {Image("one").manifest.digest}
    assert {s for r, s in seen.items() if r.tag != "latest"} == {ABSENT}
    assert len(server.asked("POST", SEARCH)) == 1
    assert len(server.asked("HEAD")) <= bulk_heads.SAMPLE + 20 + 30


def test_references_by_digest_are_not_looked_up_in_it(server: FaultyRegistry) -> None:
    image = Image("one").manifest.digest
    pinned = [Reference(Repository(server.host, f"r/{n}"), "latest", image) for n in range(60)]
    wrong = Reference(Repository(server.host, "r/1"), "latest", Digest.of(b"other"))
    seen = ask(server.host, [*refs(server.host), *pinned, wrong])
    assert seen[wrong] == ABSENT
    assert digests({r: s for r, s in seen.items() if r != wrong}) == {image}


def test_a_list_tells_digests_and_neither_type_nor_size(server: FaultyRegistry) -> None:
    """The sizes that zot lists are of whole images: in an index they would be wrong."""
    seen = ask(server.host, refs(server.host))
    told = [s.descriptor for s in seen.values() if isinstance(s, Found)]
    assert told.count(None) == MANY - bulk_heads.SAMPLE
    assert [d for d in told if d] == [Image("one").descriptor] * bulk_heads.SAMPLE


def page(**changed: Any) -> bytes:
    """An answer with one entry, changed."""
    entry = {"RepoName": "r/1", "Tag": "latest", "Digest": str(Image("one").manifest.digest)} | changed
    return answer([entry])


def answer(results: Any, total: Any = MANY) -> bytes:
    return json.dumps({"data": {"ImageList": {"Page": {"TotalCount": total}, "Results": results}}}).encode()


@pytest.mark.parametrize(
    "told",
    [
        faults.html(200),
        faults.status(500),
        faults.status(404),
        faults.status(401),
        faults.status(403),
        faults.status(307, Location="http://127.0.0.1:1/v2/_zot/ext/search"),
        faults.reset,
        faults.truncated,
        faults.body(b""),
        faults.body(b"null"),
        faults.body(b"[]"),
        faults.body(b'{"data": null, "errors": [{"message": "no"}]}'),
        faults.body(b'{"data": null}'),
        faults.body(answer([])[:-20]),
        faults.body(answer(None)),
        faults.body(answer({})),
        faults.body(answer(["r/1:latest"])),
        faults.body(answer([{"RepoName": "r/1"}])),
        faults.body(answer([], total="200")),
        faults.body(answer([], total=None)),
        faults.body(page(Digest=None)),
        faults.body(page(Tag=7)),
        faults.body(page(RepoName=["r/1"])),
        faults.body(page(Digest="sha256:zz")),
        faults.body(page(Digest="")),
        faults.body(b"[" * 100_000),
        faults.body(b'{"data": [' + b"[]," * 1_000_000 + b"1]}"),
        faults.body(b'{"data": [' + b"{}," * 1_000_000 + b"1]}"),
        faults.body(b'{"data": [' + b'"ab",' * 1_000_000 + b"1]}"),
        faults.body(b'{"data": "\xc3\x28"}'),
        faults.body(b" " * (zot_search.PAGE_BYTES + 1)),
        faults.body(page(Digest=str(Digest.of(b"another"))).replace(b"r/1", b"r/\xff")),
    ],
)
def test_an_odd_list_is_left_aside_without_a_word(server: FaultyRegistry, told: Any) -> None:
    server.fault("POST", SEARCH, told)
    assert digests(ask(server.host, refs(server.host))) == {Image("one").manifest.digest}
    assert len(server.asked("HEAD")) == MANY
    assert all(isinstance(s.descriptor, Descriptor) for s in ask(server.host, refs(server.host)).values())  # type: ignore[union-attr]


def test_a_limit_on_the_list_slows_the_rest_down_but_fails_nothing(server: FaultyRegistry) -> None:
    server.fault("POST", SEARCH, faults.status(429, Retry_After="3"))
    assert digests(ask(server.host, refs(server.host))) == {Image("one").manifest.digest}


@pytest.mark.parametrize("lie", [str(Digest.of(b"old")), "sha512:" + "0" * 128])
def test_a_list_that_a_head_contradicts_is_not_believed(
    server: FaultyRegistry, lie: str, caplog: pytest.LogCaptureFixture
) -> None:
    """As when what is stored and what is searched have parted."""
    truth = str(Image("one").manifest.digest)
    server.fault("POST", SEARCH, lambda right: faults.body(right.body.replace(truth.encode(), lie.encode()))(right))
    with caplog.at_level(logging.DEBUG, logger="reconciler"):
        assert digests(ask(server.host, refs(server.host))) == {Image("one").manifest.digest}
    notes = [r for r in caplog.records if r.name == bulk_heads.__name__]
    assert [note.levelno for note in notes] == [logging.DEBUG]
    assert server.host in notes[0].getMessage()


def test_a_list_of_images_that_are_gone_is_not_believed(server: FaultyRegistry) -> None:
    server.fault("HEAD", "/manifests/", faults.status(404))
    server.fault("GET", "/manifests/", faults.status(404, b'{"errors": [{"code": "MANIFEST_UNKNOWN"}]}'))
    assert set(ask(server.host, refs(server.host)).values()) == {ABSENT}


def test_a_list_of_what_may_not_be_read_is_not_believed(server: FaultyRegistry) -> None:
    server.fault("HEAD", "/manifests/", faults.status(403))
    seen = ask(server.host, refs(server.host))
    assert {s.problem.code for s in seen.values() if isinstance(s, Unknown)} == {"registry-denied"}
    assert len(seen) == MANY


def test_a_push_between_sample_and_list_does_not_spoil_it(
    server: FaultyRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every image moves after the sample was taken: what the list says is asked for again, and is so."""
    monkeypatch.setattr(bulk_heads, "LEAST_PATIENCE", 60.0)  # so many pushes take long on a busy machine
    new = Image("two")

    def moved(right: faults.Answer) -> faults.Answer:
        for n in range(MANY):
            put(server, f"r/{n}", new)
        return faults.body(
            right.body.replace(str(Image("one").manifest.digest).encode(), str(new.manifest.digest).encode())
        )(right)

    server.fault("POST", SEARCH, moved, times=1)
    assert digests(ask(server.host, refs(server.host))) == {new.manifest.digest}
    assert len(server.asked("HEAD")) == 2 * bulk_heads.SAMPLE


def test_pages_are_put_together_while_others_push(server: FaultyRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each page finds new images sorted in before it: what it holds comes twice."""
    monkeypatch.setattr(zot_search, "PAGE_ENTRIES", 30)
    monkeypatch.setattr(bulk_heads, "LEAST_PATIENCE", 60.0)
    new, pages = Image("two"), iter(range(100))

    def pushed(right: faults.Answer) -> faults.Answer:
        number = next(pages)
        put(server, f"a/{number}", new)
        return right

    server.fault("POST", SEARCH, pushed)
    seen = ask(server.host, refs(server.host))
    assert digests(seen) == {Image("one").manifest.digest}
    assert len(server.asked("POST", SEARCH)) >= MANY // 30
    assert len(server.asked("HEAD")) == bulk_heads.SAMPLE


def test_entries_that_slip_between_pages_are_asked_for(server: FaultyRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of what was listed already something is deleted: the next page begins too late by as much."""
    monkeypatch.setattr(zot_search, "PAGE_ENTRIES", 30)
    listed = iter(sorted(server.tags))

    def deleted(right: faults.Answer) -> faults.Answer:
        for _ in range(5):
            del server.tags[next(listed)]
        return right

    server.fault("POST", SEARCH, deleted, times=6)
    seen = ask(server.host, refs(server.host))
    assert digests({r: s for r, s in seen.items() if (r.repository.path, "latest") in server.tags}) == {
        Image("one").manifest.digest
    }
    assert len(server.asked("HEAD")) > bulk_heads.SAMPLE + 20


@pytest.mark.parametrize("total", [10**9, 10**30])
def test_a_list_without_end_is_left_aside(server: FaultyRegistry, monkeypatch: pytest.MonkeyPatch, total: int) -> None:
    monkeypatch.setattr(zot_search, "MAX_PAGES", 4)
    server.fault("POST", SEARCH, faults.body(page().replace(b'"TotalCount": 200', b'"TotalCount": %d' % total)))
    assert digests(ask(server.host, refs(server.host))) == {Image("one").manifest.digest}
    assert (len(server.asked("POST")), len(server.asked("HEAD"))) == (4, MANY)


def test_a_slow_list_is_not_waited_for(server: FaultyRegistry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bulk_heads, "LEAST_PATIENCE", 0.05)
    monkeypatch.setattr(bulk_heads, "MOST_PATIENCE", 0.05)
    server.fault("POST", SEARCH, faults.dripping(0.01))
    assert digests(ask(server.host, refs(server.host))) == {Image("one").manifest.digest}
    assert len(server.asked("HEAD")) == MANY


@pytest.mark.parametrize("auth", ["basic", "bearer"])
def test_the_list_is_asked_for_with_the_same_credential(auth: str) -> None:
    with stocked(auth=auth).running() as server:
        seen = ask(server.host, refs(server.host), docker=config(server.host, **_BASIC))
        assert digests(seen) == {Image("one").manifest.digest}
        assert len([s for s in server.asked("POST", SEARCH) if "authorization" in s.headers]) == 1
        assert len(server.asked("HEAD")) < 3 * bulk_heads.SAMPLE


class Canned:
    """A transport that has the answers already."""

    def __init__(self, bodies: list[bytes]) -> None:
        self.bodies = iter(bodies)

    async def quick(self, *_: Any, limit: int = 0) -> Reply:
        body = next(self.bodies)
        assert len(body) <= limit
        return Reply(200, {}, body)


def test_a_hundred_thousand_entries_take_little_memory() -> None:
    """The pages themselves apart, which are there before it is measured: one of them is decoded at a time."""
    size, total = zot_search.PAGE_ENTRIES, 100_000
    bodies = [
        answer(
            [
                {"RepoName": f"team-{n % 500}/image-{n}", "Tag": f"lian-{n:040x}", "Digest": f"sha256:{n:064x}"}
                for n in range(at, at + size)
            ],
            total,
        )
        for at in range(0, total, size)
    ]
    wanted = {(f"team-{n % 500}/image-{n}", f"lian-{n:040x}") for n in range(0, total, 10)}
    search = zot_search.ZotSearch(Canned(bodies), None, "r")  # type: ignore[arg-type]
    tracemalloc.start()
    try:
        listed = asyncio.run(search.digests(wanted))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(listed) == 10_000
    assert listed["team-70/image-70", f"lian-{70:040x}"] == Digest("sha256", f"{70:064x}")
    assert peak < 24 << 20


def fill(server: RegistryServer, **how: Any) -> dict[Reference, Digest]:
    """Tags on a real registry, more than a few, an index of two platforms and a document with a subject among them."""

    async def use() -> dict[Reference, Digest]:
        held: dict[Reference, Digest] = {}
        async with opened(server.host, **how) as (_, publisher):
            for n in range(3):
                repository, image = Repository(server.host, f"team-{n % 2}/r{n}"), Image(str(n))
                tags = ["latest", *(f"lian-{k:040x}" for k in range(7))]
                await publisher.publish(repository, image.manifest, tags=tags, blobs=image.blobs)
                held |= {Reference(repository, tag): image.manifest.digest for tag in tags}
            arm = Image("arm")
            await publisher.publish(repository, arm.manifest, blobs=arm.blobs)
            top = index({AMD64: image.descriptor, ARM64: arm.descriptor})
            await publisher.publish(repository, top, tags=["both"])
            held[Reference(repository, "both")] = top.digest
            note, blobs = record(image.descriptor, "text", KIND)
            await publisher.publish(repository, note, tags=["note"], blobs=blobs)
            held[Reference(repository, "note")] = note.digest
        return held

    return asyncio.run(use())


def heads_asked(server: RegistryServer) -> int:
    """How many HEADs of manifests zot's log tells of."""
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if line.startswith("{")]
    return sum(line.get("method") == "HEAD" and "/manifests/" in line.get("path", "") for line in lines)


@pytest.mark.parametrize("password", [False, True])
def test_zot_answers_in_bulk(request: pytest.FixtureRequest, password: bool) -> None:
    server: RegistryServer = request.getfixturevalue("password_zot_server" if password else "zot_server")
    how = {"docker": config(server.host, username=ZOT_USER, password=ZOT_PASSWORD)} if password else {}
    held = fill(server, **how)
    before = heads_asked(server)
    absent = Reference(Repository(server.host, "team-0/r0"), "no-such-tag")
    seen = dict(ask(server.host, [*held, absent], **how))
    assert seen.pop(absent) == ABSENT
    assert {r: s.digest for r, s in seen.items() if isinstance(s, Found)} == held
    asked = bulk_heads.SAMPLE + 1
    assert 0 < heads_asked(server) - before <= (3 * asked if password else asked)  # some are refused before the login


def test_an_index_on_zot_is_listed_by_its_own_digest(zot_server: RegistryServer) -> None:
    """Listed, and not sampled: the same question often enough shows it."""
    held = fill(zot_server)
    top = next(r for r in held if r.tag == "both")
    answers = [ask(zot_server.host, list(held))[top] for _ in range(3)]
    assert Found(held[top]) in answers
    assert {s.digest for s in answers if isinstance(s, Found)} == {held[top]}
    assert isinstance(whole := ask(zot_server.host, [top])[top], Found)
    assert (whole.media_type, whole.digest) == (IMAGE_INDEX, held[top])


def test_zot_answers_in_bulk_while_others_push(zot_server: RegistryServer) -> None:
    """Every answer is a digest that the tag had while it was asked for."""
    held = fill(zot_server)
    moving = [r for r in held if r.tag == "latest"]
    had: dict[Reference, set[Digest]] = {r: {d} for r, d in held.items()}

    async def push(stop: asyncio.Event) -> None:
        async with opened(zot_server.host) as (_, publisher):
            n = 0
            while not stop.is_set():
                image, reference = Image(f"new {n}"), moving[n % len(moving)]
                had[reference].add(image.manifest.digest)
                await publisher.publish(reference.repository, image.manifest, tags=["latest"], blobs=image.blobs)
                n += 1

    async def use() -> None:
        stop = asyncio.Event()
        pushing = asyncio.create_task(push(stop))
        async with opened(zot_server.host) as (registry, _):
            for _ in range(5):
                seen = await registry.heads(list(held))
                assert all(isinstance(s, Found) and s.digest in had[r] for r, s in seen.items())
        stop.set()
        await pushing

    asyncio.run(use())
    assert any(len(digests) > 1 for digests in had.values())
