"""Taking away over HTTP: what a registry refuses, and what is left behind when it is cut off."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from reconciler.model.manifest import IMAGE_MANIFEST, index
from reconciler.model.observed import ABSENT, Found
from reconciler.model.problem import LianError
from reconciler.model.reference import Repository
from reconciler.providers.builder.binaries import locate
from reconciler.providers.registry import referrers
from tests.ports.registry_suite import AMD64, KIND, Image, codes, head, record
from tests.providers.registry.places import config, opened, removing
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import PASSWORD, USER, FaultyRegistry
from tests.servers.registry import PROGRAM, distribution
from tests.servers.running import RegistryServer, running, usable

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator, Sequence
    from pathlib import Path

    from reconciler.ports.remover import Remover


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with FaultyRegistry().running() as running:
        yield running


@pytest.fixture
def image(server: FaultyRegistry) -> Image:
    """Stands in `app`, under the tags a and b."""
    held = Image()
    server.blobs |= {("app", str(digest)): data for digest, data in held.blobs.items()}
    server.manifests["app", str(held.manifest.digest)] = (IMAGE_MANIFEST, held.manifest.data)
    server.tags |= {("app", tag): str(held.manifest.digest) for tag in "ab"}
    return held


def remove(server: FaultyRegistry, use: Callable[[Remover, Repository], Coroutine[Any, Any, None]], **how: Any) -> None:
    async def whole() -> None:
        async with removing(server.host, **how) as remover:
            await use(remover, Repository(server.host, "app"))

    asyncio.run(whole())


def untag(server: FaultyRegistry, *tags: str, **how: Any) -> None:
    """One after the other, by the same remover."""

    async def use(remover: Remover, repository: Repository) -> None:
        for tag in tags:
            await remover.untag(repository, tag)

    remove(server, use, **how)


@contextmanager
def run_without_deletes(folder: Path) -> Iterator[RegistryServer]:
    """docker-registry as its packages configure it."""

    def command(host: str) -> Sequence[str | Path]:
        words = distribution(usable(locate(PROGRAM)), folder, False, host)
        settings = json.loads((folder / "config.yml").read_text())
        settings["storage"]["delete"]["enabled"] = False
        (folder / "config.yml").write_text(json.dumps(settings))
        return words

    with running(folder, command) as server:
        yield server


def test_where_deletion_is_off_nothing_changes_and_it_is_said_how_to_allow_it(tmp_path: Path) -> None:
    image = Image()
    manifest, blobs = record(image.descriptor, "one")

    async def use(server: RegistryServer) -> None:
        repository = Repository(server.host, "app")
        async with opened(server.host) as (registry, publisher), removing(server.host) as remover:
            await publisher.publish(repository, image.manifest, tags=["a"], blobs=image.blobs)
            await publisher.publish(repository, manifest, blobs=blobs)
            for refused in (
                partial(remover.untag, repository, "a"),
                partial(remover.delete, repository, image.manifest.digest),
                partial(remover.delete, repository, manifest.digest),
            ):
                with pytest.raises(LianError) as error:
                    await refused()
                (problem,) = error.value.problems
                assert problem.code == "registry-refused"
                assert "does not let anything be deleted" in problem.message
                assert "storage.delete.enabled" in str(problem.hint)
                seen = await head(registry, repository, "a")
                assert isinstance(seen, Found) and seen.digest == image.manifest.digest
                found = await registry.referrers(repository, image.manifest.digest, KIND)
                assert [d.digest for d in found] == [manifest.digest]

    with run_without_deletes(tmp_path / "server") as server:
        asyncio.run(use(server))


@pytest.mark.parametrize("deletes", [set(), {"tag"}])
def test_a_tag_is_not_overwritten_where_no_digest_can_be_deleted(
    server: FaultyRegistry, image: Image, deletes: set[str]
) -> None:
    server.deletes = deletes
    if deletes:
        untag(server, "a")
        assert ("app", "a") not in server.tags
    else:
        with pytest.raises(LianError) as error:
            untag(server, "a")
        assert codes(error) == {"registry-refused"}
        assert server.tags["app", "a"] == str(image.manifest.digest)
    assert server.asked("PUT") == []


def test_what_the_registry_can_do_is_learnt_once(server: FaultyRegistry, image: Image) -> None:
    server.tags |= {("app", f"t{n}"): str(image.manifest.digest) for n in range(3)}
    untag(server, "a", "t0", "t1", "t2")
    assert len(server.asked("DELETE")) == 4
    assert len(server.asked("GET", "/manifests/")) == 2
    server.requests.clear()
    server.deletes = {"digest"}
    server.tags |= {("app", f"t{n}"): str(image.manifest.digest) for n in range(3)}
    untag(server, "t0", "t1", "t2")
    assert len(server.asked("DELETE", "/manifests/t")) == 1
    assert len(server.asked("DELETE", "/manifests/sha256:")) == 1 + 3
    assert server.tags == {("app", "b"): str(image.manifest.digest)}
    assert [digest for name, digest in server.manifests if name == "app"] == [str(image.manifest.digest)]


def test_a_registry_that_changes_its_mind_is_followed(server: FaultyRegistry, image: Image) -> None:
    """It was replaced by another release while lian was watching."""

    async def use(remover: Remover, repository: Repository) -> None:
        await remover.untag(repository, "a")
        server.deletes = {"digest"}
        await remover.untag(repository, "b")

    remove(server, use)
    assert server.tags == {}
    assert ("app", str(image.manifest.digest)) in server.manifests


def test_a_manifest_that_went_with_its_tag_is_put_back(server: FaultyRegistry, image: Image) -> None:
    """And from then on tags are removed in the other way."""

    def takes_all(right: faults.Answer) -> faults.Answer:
        del server.manifests["app", str(image.manifest.digest)]
        return right

    server.fault("DELETE", "/manifests/a", takes_all)
    untag(server, "a", "b")
    assert ("app", str(image.manifest.digest)) in server.manifests
    assert server.tags == {}
    assert server.asked("DELETE", "/manifests/b") == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (faults.status(405, b'{"errors":[{"code":"UNSUPPORTED"}]}'), "registry-refused"),
        (faults.status(412, b'{"errors":[{"code":"PRECONDITION"}]}'), "registry-refused"),
        (faults.status(403), "registry-denied"),
        (faults.status(500), "registry-failing"),
        (faults.reset, "registry-unreachable"),
        (faults.html(404), "registry-refused"),
    ],
)
def test_a_tag_is_put_back_when_the_deletion_fails_after_all(
    server: FaultyRegistry, image: Image, fault: Any, code: str
) -> None:
    """The first deletion by digest only asks whether there are any."""
    server.deletes = {"digest"}

    def switched_off(right: faults.Answer) -> faults.Answer:
        server.deletes = set()
        return right

    server.fault("DELETE", "/manifests/sha256:", switched_off, times=1)
    server.fault("DELETE", "/manifests/sha256:", fault)
    with pytest.raises(LianError) as error:
        untag(server, "a")
    assert codes(error) == {code}
    assert server.tags["app", "a"] == str(image.manifest.digest)
    assert len(server.asked("PUT", "/manifests/a")) == 2


def test_a_tag_that_someone_else_moved_meanwhile_is_not_put_back(server: FaultyRegistry, image: Image) -> None:
    server.deletes = {"digest"}
    other = Image().manifest
    theirs = str(other.digest)
    server.manifests["app", theirs] = (IMAGE_MANIFEST, other.data)
    count = iter(range(1000))

    def moved(right: faults.Answer) -> faults.Answer:
        if next(count) == 0:
            return right
        server.tags["app", "a"] = theirs
        return faults.status(500)(right)

    server.fault("DELETE", "/manifests/sha256:", moved)
    with pytest.raises(LianError) as error:
        untag(server, "a")
    assert codes(error) == {"registry-failing"}
    assert server.tags["app", "a"] == theirs
    assert len(server.asked("PUT", "/manifests/a")) == 1


@pytest.mark.parametrize("at", range(1, 8))
def test_whoever_is_cut_off_is_healed_by_the_same_call(server: FaultyRegistry, image: Image, at: int) -> None:
    server.deletes = {"digest"}

    class Cut(BaseException):
        """As a kill would: nothing is done after it."""

    async def use(remover: Any, repository: Repository) -> None:
        real, count = remover._transport.send, 0

        async def send(call: Any) -> Any:
            nonlocal count
            count += 1
            if count >= at:
                raise Cut
            return await real(call)

        remover._transport.send = send
        await remover.untag(repository, "a")

    try:
        remove(server, use)
    except Cut:
        pass
    else:
        assert at > 6
    left = server.tags.get(("app", "a")) not in {None, str(image.manifest.digest)}
    server.requests.clear()
    untag(server, "a")
    assert server.tags == {("app", "b"): str(image.manifest.digest)}
    assert [digest for _, digest in server.manifests] == [str(image.manifest.digest)]
    assert not (left and server.asked("PUT")), "the tag was away already"


def test_what_an_index_needs_is_refused_and_told(zot_server: RegistryServer) -> None:
    """zot keeps what an index names; that is no switch that could be turned."""
    image = Image()
    top = index({AMD64: image.descriptor})

    async def use() -> None:
        repository = Repository(zot_server.host, "app")
        async with opened(zot_server.host) as (registry, publisher), removing(zot_server.host) as remover:
            await publisher.publish(repository, image.manifest, blobs=image.blobs)
            await publisher.publish(repository, top, tags=["latest"])
            with pytest.raises(LianError) as error:
                await remover.delete(repository, image.manifest.digest)
            assert codes(error) == {"registry-refused"}
            assert "DENIED" in str(error.value.problems[0].cause)
            assert await registry.missing(repository, top.digest) == ()

    asyncio.run(use())


@pytest.mark.parametrize("kind", ["registry_server", "distribution_v3_server"])
def test_a_list_that_names_what_someone_deleted_by_hand_is_mended(kind: str, request: pytest.FixtureRequest) -> None:
    """docker-registry takes no list that names what is not there: no referrer could be entered any more."""
    server: RegistryServer = request.getfixturevalue(kind)
    image = Image()
    records = [record(image.descriptor, str(n)) for n in range(4)]

    def by_hand(n: int) -> None:
        deleted = httpx.delete(f"{server.url}/v2/app/manifests/{records[n][0].digest}")
        assert deleted.status_code == 202

    async def use() -> None:
        repository = Repository(server.host, "app")
        async with opened(server.host) as (registry, publisher), removing(server.host) as remover:
            await publisher.publish(repository, image.manifest, blobs=image.blobs)
            for manifest, blobs in records[:3]:
                await publisher.publish(repository, manifest, blobs=blobs)
            by_hand(0)
            await publisher.publish(repository, records[3][0], blobs=records[3][1])
            await remover.delete(repository, records[1][0].digest)
            found = await registry.referrers(repository, image.manifest.digest, KIND)
            there = [d.digest for d in found if await head(registry, repository, d.digest) != ABSENT]
            assert there == [records[2][0].digest, records[3][0].digest]
            by_hand(2)
            await remover.delete(repository, records[3][0].digest)

    asyncio.run(use())


def test_a_list_that_another_process_put_back_is_corrected(server: FaultyRegistry, image: Image) -> None:
    """It had read the list before the entry left it, and wrote after."""
    (old, old_blobs), (new, new_blobs) = (record(image.descriptor, text) for text in ("old", "new"))
    tag = referrers.fallback_tag(image.manifest.digest)

    async def use() -> None:
        repository = Repository(server.host, "app")
        async with opened(server.host) as (registry, publisher):
            for manifest, blobs in ((old, old_blobs), (new, new_blobs)):
                await publisher.publish(repository, manifest, blobs=blobs)
            before = server.tags["app", tag]

            def back(right: faults.Answer) -> faults.Answer:
                server.tags["app", tag] = before
                return right

            server.fault("DELETE", str(old.digest), back)
            async with removing(server.host) as remover:
                await remover.delete(repository, old.digest)
            found = await registry.referrers(repository, image.manifest.digest, KIND)
            assert [d.digest for d in found] == [new.digest]

    asyncio.run(use())


def test_a_damaged_manifest_can_be_deleted(server: FaultyRegistry, image: Image) -> None:
    server.fault("GET", f"/manifests/{image.manifest.digest}", faults.body(b"{}"))
    remove(server, lambda remover, repository: remover.delete(repository, image.manifest.digest))
    assert server.manifests == {}


def test_deleting_asks_for_the_right_to_delete() -> None:
    image = Image()
    with FaultyRegistry(auth="bearer").running() as server:

        async def use() -> None:
            docker = config(server.host, username=USER, password=PASSWORD)
            repository = Repository(server.host, "app")
            async with opened(server.host, docker=docker) as (_, publisher):
                await publisher.publish(repository, image.manifest, tags=["a"], blobs=image.blobs)
            server.requests.clear()
            async with removing(server.host, docker=docker) as remover:
                await remover.untag(repository, "a")
                await remover.delete(repository, image.manifest.digest)

        asyncio.run(use())
        assert (server.tags, server.manifests) == ({}, {})
        assert any("pull%2Cpush%2Cdelete" in seen.path for seen in server.asked("GET", "/token"))


def test_a_refused_deletion_is_told_as_that(server: FaultyRegistry, image: Image) -> None:
    server.deletes = set()
    server.fault("DELETE", "", faults.status(403))
    with pytest.raises(LianError) as error:
        untag(server, "a")
    (problem,) = error.value.problems
    assert problem.code == "registry-denied"
    assert "(delete)" in problem.message
    assert server.tags["app", "a"] == str(image.manifest.digest)
