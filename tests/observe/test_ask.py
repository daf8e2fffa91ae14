"""Asking registries: in bulk, newest records first, and nothing that a registry says breaks the pass."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.model.applied import Applied, History, applied_at
from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, Descriptor, artifact
from reconciler.model.observed import ABSENT, Found, Observed, Questions, Unknown
from reconciler.model.platform import Platform
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.record import (
    ARTIFACT_TYPE,
    KEY_ANNOTATION,
    RECORD_LAYER,
    TIME_ANNOTATION,
    BuildRecord,
    PlatformBuild,
)
from reconciler.model.reference import Reference, Repository
from reconciler.observe.ask import CONCURRENCY, LOOKS, RECORDS_READ, ask, read_listing, read_records
from tests.fakes import FakeRegistry, Points, image

if TYPE_CHECKING:
    from reconciler.model.manifest import Manifest

UNREADABLE = Problem("registry-down", "the registry does not answer", next=Next.RETRY)
REPOSITORY = Repository("registry.example:5000", "shop/api")


@pytest.fixture
def registry() -> FakeRegistry:
    return FakeRegistry(Points())


def put(registry: FakeRegistry, config: bytes = b"{}", repository: Repository = REPOSITORY) -> Descriptor:
    registry.blobs[repository, Digest.of(config)] = config
    manifest = image(config)
    registry.put(repository, manifest)
    return Descriptor.of(manifest.media_type, manifest.data)


def attach(
    registry: FakeRegistry,
    subject: Descriptor,
    data: bytes,
    time: Any = "",
    repository: Any = REPOSITORY,
    key: str | None = None,
) -> None:
    for blob in (data, EMPTY_BLOB):
        registry.blobs[repository, Digest.of(blob)] = blob
    layer = Descriptor.of(RECORD_LAYER, data)
    annotations = {TIME_ANNOTATION: time} | ({KEY_ANNOTATION: key} if key else {})
    registry.put(repository, artifact(ARTIFACT_TYPE, subject, (layer,), annotations))


def record(subject: Descriptor, number: int) -> BuildRecord:
    build = PlatformBuild("0" * 64, {"platform": "linux/amd64"}, subject.digest)
    platforms = {Platform.parse("linux/amd64"): build}
    return BuildRecord("shop/api", "0" * 40, f"{number:064x}", subject.digest, platforms, "", 1.0)


def records(registry: FakeRegistry, subject: Descriptor) -> tuple[BuildRecord, ...] | Unknown:
    image = (REPOSITORY, subject.digest)
    return asyncio.run(ask(Questions(records=frozenset({image})), registry)).records[image]


def test_all_heads_of_a_round_are_one_question(registry: FakeRegistry) -> None:
    subject = put(registry)
    registry.tags[REPOSITORY, "there"] = subject.digest
    registry.unreadable.add("down")
    references = {tag: Reference(REPOSITORY, tag) for tag in ("there", "gone", "down")}
    heads = asyncio.run(ask(Questions(frozenset(references.values())), registry)).heads
    assert isinstance(found := heads[references["there"]], Found)
    assert found.digest == subject.digest
    assert heads[references["gone"]] == ABSENT
    assert isinstance(heads[references["down"]], Unknown)
    assert registry.points.seen == ["heads"]


def test_nothing_asked_nothing_sent(registry: FakeRegistry) -> None:
    assert asyncio.run(ask(Questions(), registry)) == Observed()
    assert registry.points.seen == []


def test_the_newest_records_come_first_and_no_more_than_needed(registry: FakeRegistry) -> None:
    subject = put(registry)
    for number in (3, 1, 9, 5, 2, 7, 4, 8, 6):
        attach(registry, subject, canonical(record(subject, number).to_json()), f"2026-01-0{number}T00:00:00.0Z")
    found = records(registry, subject)
    assert isinstance(found, tuple)
    assert [int(r.key, 16) for r in found] == [9, 8, 7, 6, 5, 4, 3, 2]
    assert registry.points.seen.count("blob") == RECORDS_READ


def test_of_many_records_the_newest_of_each_key_are_read(registry: FakeRegistry) -> None:
    """An image that is built again and again from the same inputs does not hide what else it was built from."""
    subject = put(registry)
    for number in range(1, 30):
        key = 1 if number == 1 else 2
        data = canonical(replace(record(subject, key), revision=str(number)).to_json())
        attach(registry, subject, data, f"2026-01-{number:02}T00:00:00.0Z", key=f"{key:064x}")
    found = records(registry, subject)
    assert isinstance(found, tuple)
    assert [(int(r.key, 16), r.revision) for r in found] == [(2, "29"), (1, "1")]
    before = registry.points.seen.count("blob")
    (one,) = asyncio.run(read_records(registry, REPOSITORY, subject.digest, f"{1:064x}"))
    assert one.revision == "1"
    assert registry.points.seen.count("blob") == before + 1


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"null",
        b'{"kind": "build-record", "version": 2}',
        b"[" * 300_000,
        b'{"kind":"build-record","version":1,"seconds":1e999}',
        b"1" * 5000,
    ],
)
def test_what_is_no_record_is_passed_over(registry: FakeRegistry, data: bytes) -> None:
    subject = put(registry)
    attach(registry, subject, data, "2026-01-02")
    attach(registry, subject, canonical(record(subject, 1).to_json()), "2026-01-01")
    assert records(registry, subject) == (record(subject, 1),)


def test_a_foreign_referrer_of_the_same_type_is_passed_over(registry: FakeRegistry) -> None:
    subject = put(registry)
    registry.blobs[REPOSITORY, Digest.of(EMPTY_BLOB)] = EMPTY_BLOB
    registry.put(REPOSITORY, artifact(ARTIFACT_TYPE, subject, (), {}))
    assert records(registry, subject) == ()


def test_a_record_whose_content_is_gone_tells_nothing(registry: FakeRegistry) -> None:
    """No later look would find it, and nobody has to delete it: the others tell what there is to tell."""
    subject = put(registry)
    for number in (1, 2):
        attach(registry, subject, canonical(record(subject, number).to_json()), f"2026-01-0{number}")
    del registry.blobs[REPOSITORY, Digest.of(canonical(record(subject, 2).to_json()))]
    assert records(registry, subject) == (record(subject, 1),)
    del registry.blobs[REPOSITORY, Digest.of(canonical(record(subject, 1).to_json()))]
    assert records(registry, subject) == ()


@pytest.mark.parametrize("point", ["manifest", "blob"])
@pytest.mark.parametrize("code", ["registry-failing", "registry-denied", "registry-unreachable", "registry-not-oci"])
def test_a_record_that_may_be_there_is_unknown(registry: FakeRegistry, point: str, code: str) -> None:
    subject = put(registry)
    attach(registry, subject, canonical(record(subject, 1).to_json()))
    registry.points.faults[point] = LianError(Problem(code, "no answer"))
    assert isinstance(records(registry, subject), Unknown)


@pytest.mark.parametrize("point", ["referrers", "manifest", "blob"])
def test_what_cannot_be_read_is_unknown(registry: FakeRegistry, point: str) -> None:
    subject = put(registry)
    attach(registry, subject, canonical(record(subject, 1).to_json()))
    registry.points.faults[point] = LianError(UNREADABLE)
    answer = records(registry, subject)
    assert isinstance(answer, Unknown)
    assert answer.problem == UNREADABLE


def test_many_images_are_read_some_at_a_time(registry: FakeRegistry) -> None:
    subjects = [put(registry, f"{n}".encode()) for n in range(3 * CONCURRENCY)]
    busy = most = 0
    read = registry.referrers

    async def counted(*question: Any) -> Any:
        nonlocal busy, most
        busy += 1
        most = max(most, busy)
        try:
            return await read(*question)
        finally:
            busy -= 1

    registry.referrers = counted  # type: ignore[method-assign, assignment]
    asked = Questions(records=frozenset((REPOSITORY, subject.digest) for subject in subjects))
    answers = asyncio.run(ask(asked, registry)).records
    assert set(answers.values()) == {()}
    assert most == CONCURRENCY


@pytest.mark.parametrize("data", [b"", b"{}", b"[1]", b'[["a", "b"]]', b"[" * 300_000, b'[["a", "b", 1]]'])
def test_a_damaged_listing_is_a_problem(registry: FakeRegistry, data: bytes) -> None:
    registry.blobs[REPOSITORY, Digest.of(data)] = data
    with pytest.raises(LianError, match="record-damaged"):
        asyncio.run(read_listing(registry, REPOSITORY, Digest.of(data)))


def test_answers_are_kept_once_given() -> None:
    reference = Reference(REPOSITORY, "latest")
    observed = Observed({reference: ABSENT})
    observed.take(Observed({reference: Found(Digest.of(b"late"))}, {(REPOSITORY, Digest.of(b"x")): ()}))
    assert observed.heads == {reference: ABSENT}
    assert observed.records == {(REPOSITORY, Digest.of(b"x")): ()}


class Replacing(FakeRegistry):
    """A registry that drops what a tag named as soon as the tag moves, where others move it between two requests."""

    replaced = 0

    async def manifest(self, repository: Repository, digest: Digest) -> Manifest:
        if self.replaced:
            self.replaced -= 1
            old = self.tags[repository, applied_at(repository, "acme").name]
            write(self, str(self.replaced))
            del self.manifests[repository, old]
        return await super().manifest(repository, digest)


def write(registry: FakeRegistry, revision: str, tag: str = "lian-applied-acme", fleet: str = "acme") -> None:
    manifest, blobs = Applied(fleet, History(revision)).packed()
    registry.blobs |= {(REPOSITORY, digest): data for digest, data in blobs.items()}
    registry.put(REPOSITORY, manifest)
    registry.tags[REPOSITORY, tag] = manifest.digest


def applied(registry: FakeRegistry) -> Applied | Unknown | None:
    asked = Questions(applied=frozenset({applied_at(REPOSITORY, "acme")}))
    return asyncio.run(ask(asked, registry)).applied[REPOSITORY]


@pytest.mark.parametrize("times", [0, 1, LOOKS - 1])
def test_a_document_that_is_replaced_while_it_is_read_is_read_again(times: int) -> None:
    registry = Replacing(Points())
    write(registry, "first")
    registry.replaced = times
    read = applied(registry)
    assert isinstance(read, Applied)
    assert read.history.revision == ("0" if times else "first")


def test_a_document_that_is_replaced_on_and_on_is_unknown() -> None:
    registry = Replacing(Points())
    write(registry, "first")
    registry.replaced = LOOKS
    assert isinstance(applied(registry), Unknown)


def test_a_document_whose_content_is_gone_says_nothing(registry: FakeRegistry) -> None:
    write(registry, "first")
    registry.manifests.clear()
    assert applied(registry) is None


def test_a_document_whose_layer_is_gone_says_nothing(registry: FakeRegistry) -> None:
    write(registry, "first")
    registry.blobs.clear()
    assert applied(registry) is None


@pytest.mark.parametrize("code", ["registry-failing", "registry-denied", "registry-unreachable", "registry-not-oci"])
def test_a_document_whose_layer_may_be_there_is_unknown(registry: FakeRegistry, code: str) -> None:
    write(registry, "first")
    registry.points.faults["blob"] = LianError(Problem(code, "no answer"))
    assert isinstance(applied(registry), Unknown)


def test_each_fleet_has_a_document_of_its_own(registry: FakeRegistry) -> None:
    write(registry, "theirs", "lian-applied-umbrella", "umbrella")
    assert applied(registry) is None
    write(registry, "copied by hand", fleet="umbrella")
    assert applied(registry) is None
    write(registry, "ours")
    read = applied(registry)
    assert isinstance(read, Applied)
    assert read.history.revision == "ours"
