"""Signatures attached to images on real registries are found again, whatever else hangs there."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest

from reconciler.attest.find import MAX_BUNDLE, MAX_BUNDLES, Signatures
from reconciler.attest.sign import attach, referrer, signed
from reconciler.attest.verify import NO_BUNDLE, Verdict
from reconciler.model.attestation import (
    BUNDLE,
    Bundle,
    Statement,
    sbom_statement,
    signature_statement,
)
from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, Descriptor, artifact
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.record import TIME_ANNOTATION
from tests.attest.keys import Pair
from tests.ports.registry_suite import Image, Place, record
from tests.providers.registry.places import disk_place, http_place
from tests.servers import faulty_registry as faults
from tests.servers.faulty_registry import FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.ports.publisher import Publisher
    from reconciler.ports.registry import Registry

PAIR = Pair()
CREATED = "2026-01-01T00:00:00Z"


@pytest.fixture(params=["on disk", "docker-registry", "referrers API"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Place]:
    if request.param == "on disk":
        yield disk_place(tmp_path / "registry")
    elif request.param == "docker-registry":
        yield http_place(request.getfixturevalue("registry_server").host)
    else:
        with FaultyRegistry(referrers=True).running() as server:
            yield http_place(server.host)


def test_what_is_attached_is_found_and_holds(place: Place) -> None:
    async def use(registry: Registry, publisher: Publisher) -> None:
        image, repository = Image(), place.repository()
        subject = await publisher.publish(repository, image.manifest, tags=["latest"], blobs=image.blobs)
        statements = [signature_statement(subject.digest), sbom_statement(subject.digest, {"spdxVersion": "SPDX-2.3"})]
        for statement in statements:
            await attach(publisher, repository, subject, statement, PAIR.signer, CREATED)
        manifest, blobs = record(image.descriptor, "a build record")
        await publisher.publish(repository, manifest, blobs=blobs)
        result = await Signatures(registry).verdict(repository, subject.digest, [PAIR.verifier])
        assert sorted(v.statement.predicate_type for v in result.vouched) == sorted(
            s.predicate_type for s in statements
        )
        assert result.problem is None
        assert (result.failures, result.unread) == ((), ())
        other = Digest.of(b"another")
        assert await Signatures(registry).verdict(repository, other, [PAIR.verifier]) == Verdict(other)
        with pytest.raises(ValueError, match="no key"):
            await Signatures(registry).verdict(repository, subject.digest, [])

    place.run(use)


def test_signing_again_changes_nothing(place: Place) -> None:
    async def use(registry: Registry, publisher: Publisher) -> None:
        image, repository = Image(), place.repository()
        subject = await publisher.publish(repository, image.manifest, blobs=image.blobs)
        statement = signature_statement(subject.digest)
        first = await attach(publisher, repository, subject, statement, PAIR.signer)
        assert await attach(publisher, repository, subject, statement, PAIR.signer) == first
        found = await Signatures(registry).verdict(repository, subject.digest, [PAIR.verifier])
        assert len(found.vouched) == 1

    place.run(use)


def test_the_manifest_is_as_cosign_specifies_it() -> None:
    image = Image()
    subject = Descriptor(
        image.manifest.media_type, image.manifest.digest, 7, annotations={"a": "b"}, platform={"os": "linux"}
    )
    bundle = asyncio.run(signed(signature_statement(subject.digest), PAIR.signer))
    manifest, blobs = referrer(bundle, "https://example.org/x", subject, CREATED)
    data = bundle.to_bytes()
    assert manifest.document == {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "config": Descriptor.of("application/vnd.oci.empty.v1+json", b"{}").to_json(),
        "layers": [{"mediaType": BUNDLE, "digest": str(Digest.of(data)), "size": len(data)}],
        "subject": {"mediaType": subject.media_type, "digest": str(subject.digest), "size": 7},
        "annotations": {
            "dev.sigstore.bundle.content": "dsse-envelope",
            "dev.sigstore.bundle.predicateType": "https://example.org/x",
            TIME_ANNOTATION: CREATED,
        },
    }
    assert blobs == {Digest.of(EMPTY_BLOB): EMPTY_BLOB, Digest.of(data): data}
    undated, _ = referrer(bundle, "https://example.org/x", subject)
    assert TIME_ANNOTATION not in undated.document["annotations"]


@pytest.fixture
def server() -> Iterator[FaultyRegistry]:
    with FaultyRegistry(referrers=True).running() as running:
        yield running


def found_on(server: FaultyRegistry, attached: Any, *, limit: int = MAX_BUNDLE, at_most: int = MAX_BUNDLES) -> Verdict:
    """What is found on an image after `attached(publisher, repository, subject)`."""
    answer: list[Verdict] = []
    there = http_place(server.host)

    async def use(registry: Registry, publisher: Publisher) -> None:
        image, repository = Image(), there.repository()
        subject = await publisher.publish(repository, image.manifest, blobs=image.blobs)
        await attached(publisher, repository, subject)
        signatures = Signatures(registry, limit, at_most)
        answer.append(await signatures.verdict(repository, subject.digest, [PAIR.verifier]))

    there.run(use)
    return answer[0]


async def sign_it(publisher: Publisher, repository: Any, subject: Descriptor) -> None:
    await attach(publisher, repository, subject, signature_statement(subject.digest), PAIR.signer)


def unknown(found: Verdict) -> Problem:
    """Why what is attached is not known."""
    (problem,) = found.unread
    assert (found.vouched, found.failures) == ((), ())
    return problem


def no_bundle(found: Verdict) -> Problem:
    """Why what is attached is certainly none."""
    (problem,) = found.failures
    assert (found.vouched, found.unread) == ((), ())
    return problem


def test_one_that_is_too_large_is_not_read(server: FaultyRegistry) -> None:
    found = found_on(server, sign_it, limit=100)
    assert unknown(found).code == "bundle-oversized"
    assert not [seen for seen in server.requests if seen.method == "GET" and "/blobs/sha256" in seen.path]


def test_one_that_says_it_is_small_is_read_no_further(server: FaultyRegistry) -> None:
    async def understated(publisher: Publisher, repository: Any, subject: Descriptor) -> None:
        data = b"x" * 5000
        layer = Descriptor(BUNDLE, Digest.of(data), 10)
        manifest = artifact(BUNDLE, subject, (layer,), {})
        await publisher.publish(repository, manifest, blobs={layer.digest: data, Digest.of(EMPTY_BLOB): EMPTY_BLOB})

    found = found_on(server, understated, limit=1000)
    assert unknown(found).code == "content-too-large"


@pytest.mark.parametrize("what", ["/blobs/", "/manifests/"])
def test_one_that_cannot_be_read_is_unknown(server: FaultyRegistry, what: str) -> None:
    async def then_fail(publisher: Publisher, repository: Any, subject: Descriptor) -> None:
        await sign_it(publisher, repository, subject)
        server.fault("GET", what, faults.status(503))

    found = found_on(server, then_fail)
    assert (unknown(found).code, unknown(found).next) == ("registry-failing", Next.RETRY)


def test_one_whose_bytes_are_others_is_unknown(server: FaultyRegistry) -> None:
    async def then_swap(publisher: Publisher, repository: Any, subject: Descriptor) -> None:
        await sign_it(publisher, repository, subject)
        server.fault("GET", "/blobs/", faults.body(b"something else"))

    assert unknown(found_on(server, then_swap)).code == "registry-wrong-digest"


def test_a_list_that_cannot_be_read_is_no_empty_list(server: FaultyRegistry) -> None:
    async def then_fail(publisher: Publisher, repository: Any, subject: Descriptor) -> None:
        await sign_it(publisher, repository, subject)
        server.fault("GET", "/referrers/", faults.status(503))

    with pytest.raises(LianError):
        found_on(server, then_fail)


def _two_layers(bundle: Bundle, subject: Descriptor) -> Any:
    layer = Descriptor.of(BUNDLE, bundle.to_bytes())
    return artifact(BUNDLE, subject, (layer, layer), {}), bundle.to_bytes()


def _other_layer(bundle: Bundle, subject: Descriptor) -> Any:
    return artifact(BUNDLE, subject, (Descriptor.of("text/plain", bundle.to_bytes()),), {}), bundle.to_bytes()


@pytest.mark.parametrize("made", [_two_layers, _other_layer])
def test_what_is_attached_in_another_way_is_no_bundle(server: FaultyRegistry, made: Any) -> None:
    async def attached(publisher: Publisher, repository: Any, subject: Descriptor) -> None:
        manifest, data = made(await signed(Statement((subject.digest,), "x"), PAIR.signer), subject)
        blobs = {Digest.of(EMPTY_BLOB): EMPTY_BLOB, Digest.of(data): data}
        await publisher.publish(repository, manifest, blobs=blobs)

    assert no_bundle(found_on(server, attached)).code == NO_BUNDLE


def test_a_list_that_names_the_signature_of_another_image_is_seen_through(server: FaultyRegistry) -> None:
    async def attached(publisher: Publisher, repository: Any, subject: Descriptor) -> None:
        other = Image()
        stranger = await publisher.publish(repository, other.manifest, blobs=other.blobs)
        moved = await attach(publisher, repository, stranger, signature_statement(subject.digest), PAIR.signer)
        listed = {"schemaVersion": 2, "manifests": [{**moved.to_json(), "artifactType": BUNDLE}]}
        server.fault("GET", "/referrers/", faults.body(json.dumps(listed).encode()))

    assert no_bundle(found_on(server, attached)).code == NO_BUNDLE


def test_of_a_flood_a_bounded_number_is_read(server: FaultyRegistry) -> None:
    async def flood(publisher: Publisher, repository: Any, subject: Descriptor) -> None:
        for n in range(5):
            statement = Statement((subject.digest,), f"https://example.org/{n}")
            await attach(publisher, repository, subject, statement, PAIR.signer)

    found = found_on(server, flood, at_most=3)
    assert (len(found.vouched), found.failures) == (3, ())
    assert [problem.code for problem in found.unread] == ["bundles-too-many"]
