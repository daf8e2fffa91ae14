"""cosign takes what lian signs, and lian takes what cosign signs, on registries with and without the referrers API."""

from __future__ import annotations

import asyncio
import base64
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from reconciler.attest.sign import attach
from reconciler.model.attestation import sbom_statement, signature_statement
from reconciler.model.manifest import IMAGE_INDEX, IMAGE_MANIFEST, Descriptor, index
from reconciler.model.provenance import PROVENANCE_PREDICATE, Provenance, provenance_of, provenance_statement
from reconciler.providers.signer.by_key import KeySigner, KeyVerifier
from tests.attest.attached import verdict_on
from tests.attest.cosign import Cosign, done, find_cosign
from tests.attest.keys import Pair, signer_of
from tests.model.test_provenance import RECORD
from tests.ports.registry_suite import AMD64, ARM64, Image, Place
from tests.providers.registry.places import http_place

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.attest.verify import Verdict
    from reconciler.model.attestation import Statement
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.registry import Registry
    from tests.servers.running import RegistryServer

CREATED = "2026-01-01T00:00:00Z"
SPDX = {"spdxVersion": "SPDX-2.3", "SPDXID": "SPDXRef-DOCUMENT", "name": "shop/api", "dataLicense": "CC0-1.0"}


class Shop:
    """A repository on a registry, and cosign beside it."""

    def __init__(self, place: Place, cosign: Cosign) -> None:
        self.place, self.cosign, self.repository = place, cosign, place.repository()

    def push(self) -> Descriptor:
        """An image of one platform."""
        image = Image()

        async def use(_: Registry, publisher: Publisher) -> None:
            await publisher.publish(self.repository, image.manifest, blobs=image.blobs)

        self.place.run(use)
        return Descriptor.of(IMAGE_MANIFEST, image.manifest.data)

    def push_index(self) -> Descriptor:
        """An image of two platforms."""
        top = index({AMD64: self.push(), ARM64: self.push()})

        async def use(_: Registry, publisher: Publisher) -> None:
            await publisher.publish(self.repository, top)

        self.place.run(use)
        return Descriptor.of(IMAGE_INDEX, top.data)

    def name(self, subject: Descriptor) -> str:
        """As cosign is told of it."""
        return f"{self.repository}@{subject.digest}"

    def attach(self, subject: Descriptor, signer: KeySigner, *statements: Statement) -> None:
        """By lian."""

        async def use(_: Registry, publisher: Publisher) -> None:
            for statement in statements:
                await attach(publisher, self.repository, subject, statement, signer, CREATED)

        self.place.run(use)

    def verdict(self, subject: Descriptor, *public_keys: bytes) -> Verdict:
        """By lian."""
        answer: list[Verdict] = []

        async def use(registry: Registry, _: Publisher) -> None:
            keys = [KeyVerifier(key, "trusted.pub") for key in public_keys]
            answer.append(await verdict_on(registry, self.repository, subject.digest, keys))

        self.place.run(use)
        return answer[0]


@pytest.fixture(params=["registry_server", "zot_server", "ggcr_server"])
def shop(request: pytest.FixtureRequest, tmp_path: Path) -> Shop:
    """docker-registry 2.8 has no referrers API, zot and go-containerregistry's registry have one."""
    cosign = find_cosign(tmp_path / "cosign")
    server: RegistryServer = request.getfixturevalue(request.param)
    return Shop(http_place(server.host), cosign)


def payloads(output: str) -> list[dict[str, Any]]:
    """The statements that `cosign verify-attestation` prints."""
    return [json.loads(base64.b64decode(json.loads(line)["payload"])) for line in output.splitlines()]


def test_cosign_takes_all_that_lian_attaches_with_a_key_of_cosign(shop: Shop) -> None:
    private, public = shop.cosign.key_pair()
    subject = shop.push()
    record = replace(RECORD, digest=subject.digest)
    shop.attach(
        subject,
        signer_of(private, b""),
        signature_statement(subject.digest),
        provenance_statement(record, "acme", "https://git.example.org/acme/desired.git"),
        sbom_statement(subject.digest, SPDX),
    )
    told = json.loads(done(shop.cosign.verify(shop.name(subject), public)))
    assert {claim["critical"]["image"]["docker-manifest-digest"] for claim in told} == {str(subject.digest)}
    (statement,) = payloads(done(shop.cosign.verify(shop.name(subject), public, "slsaprovenance1")))
    assert statement["predicateType"] == PROVENANCE_PREDICATE
    read = Provenance.from_json(statement["predicate"])
    assert read == provenance_of(record, "acme", "https://git.example.org/acme/desired.git")
    (statement,) = payloads(done(shop.cosign.verify(shop.name(subject), public, "spdxjson")))
    assert statement["predicate"] == SPDX


def test_an_index_is_signed_as_a_whole(shop: Shop) -> None:
    pair = Pair()
    subject = shop.push_index()
    shop.attach(subject, pair.signer, signature_statement(subject.digest))
    done(shop.cosign.verify(shop.name(subject), pair.public_pem))


def test_an_ed25519_key_is_taken_too(shop: Shop) -> None:
    pair = Pair(ed25519.Ed25519PrivateKey.generate())
    subject = shop.push()
    shop.attach(subject, pair.signer, signature_statement(subject.digest))
    done(shop.cosign.verify(shop.name(subject), pair.public_pem))


def test_cosign_refuses_what_lian_refuses(shop: Shop) -> None:
    trusted, stranger = Pair(), Pair()
    signed, unsigned, other = shop.push(), shop.push(), shop.push()
    shop.attach(signed, stranger.signer, signature_statement(signed.digest))
    shop.attach(other, trusted.signer, signature_statement(signed.digest))
    refusals = [
        (signed, "could not verify envelope"),
        (unsigned, "no signatures found"),
        (other, "provided artifact digest"),
    ]
    for subject, refusal in refusals:
        refused = shop.cosign.verify(shop.name(subject), trusted.public_pem)
        assert refused.returncode != 0
        assert refusal in refused.stderr
        assert shop.verdict(subject, trusted.public_pem).problem is not None


def test_lian_takes_what_cosign_signs_and_both_stand_side_by_side(shop: Shop) -> None:
    _, public = shop.cosign.key_pair()
    pair = Pair()
    for subject in (shop.push(), shop.push_index()):
        shop.attach(subject, pair.signer, signature_statement(subject.digest))
        shop.cosign.sign(shop.name(subject))
        shop.cosign.attest(shop.name(subject), json.dumps(SPDX), "spdxjson")
        shop.attach(subject, pair.signer, sbom_statement(subject.digest, SPDX))
        for key in (public, pair.public_pem):
            result = shop.verdict(subject, key)
            assert result.problem is None
            assert result.lacks("https://spdx.dev/Document", "SBOM") is None
            assert [failure.code for failure in result.failures] == ["signature-wrong-key"] * 2
            assert len(result.vouched) == 2
            done(shop.cosign.verify(shop.name(subject), key))
            done(shop.cosign.verify(shop.name(subject), key, "spdxjson"))


def test_a_key_that_cosign_makes_is_opened(tmp_path: Path) -> None:
    private, public = find_cosign(tmp_path / "cosign").key_pair()
    signature = asyncio.run(signer_of(private, b"").sign(b"message"))
    assert KeyVerifier(public, "cosign.pub").holds(b"message", signature.value)
