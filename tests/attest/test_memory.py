"""However much is attached to images, little of it is in memory at a time, and a flood hides no small signature."""

from __future__ import annotations

import asyncio
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from reconciler.attest.find import Signatures
from reconciler.attest.sign import referrer, signed
from reconciler.model.attestation import BUNDLE, Statement, sbom_statement, signature_statement
from reconciler.model.digest import Digest
from reconciler.model.manifest import IMAGE_MANIFEST, Descriptor
from reconciler.model.reference import Repository
from tests.attest.keys import Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.manifest import Manifest

MIB = 1 << 20
PAIR = Pair()
WHERE = Repository("registry.example.org", "shop/api")
IMAGE = Descriptor(IMAGE_MANIFEST, Digest.of(b"image"), 5)


class Attached:
    """A registry with signatures on one image. Every read makes its bytes anew, as the network does."""

    def __init__(self) -> None:
        self.manifests: dict[Digest, Manifest] = {}
        self.blobs: dict[Digest, bytes] = {}
        self.descriptors: list[Descriptor] = []
        self.read = 0

    def add(self, statement: Statement) -> None:
        bundle = asyncio.run(signed(statement, PAIR.signer))
        manifest, blobs = referrer(bundle, statement.predicate_type, IMAGE)
        self.manifests[manifest.digest] = manifest
        self.blobs |= blobs
        self.descriptors.append(Descriptor.of(IMAGE_MANIFEST, manifest.data))

    async def referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> Sequence[Descriptor]:
        assert (repository, subject, artifact_type) == (WHERE, IMAGE.digest, BUNDLE)
        return self.descriptors

    async def manifest(self, repository: Repository, digest: Digest) -> Manifest:
        return self.manifests[digest]

    async def blob(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        data = bytes(bytearray(self.blobs[digest]))
        assert len(data) <= limit
        await asyncio.sleep(0)  # as a registry does, it lets others go on
        self.read += len(data)
        return data


def sbom(number: int, size: int) -> Statement:
    return sbom_statement(IMAGE.digest, {"number": number, "text": "x" * size})


@pytest.mark.parametrize("images", [1, 6])
def test_one_large_bundle_at_a_time_is_in_memory_over_all_images(images: int) -> None:
    attached = Attached()
    for number in range(10):
        attached.add(sbom(number, 2 * MIB))

    async def look() -> list[int]:
        signatures = Signatures(attached)  # type: ignore[arg-type]
        verdicts = await asyncio.gather(
            *(signatures.verdict(WHERE, IMAGE.digest, [PAIR.verifier]) for _ in range(images))
        )
        return [len(verdict.vouched) for verdict in verdicts]

    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        assert asyncio.run(look()) == [10] * images
        left, peak = (now - before for now in tracemalloc.get_traced_memory())
    finally:
        tracemalloc.stop()
    assert attached.read > images * 10 * 2 * MIB
    assert peak < 15 * MIB, "one of them, as bytes, as text and as what is signed; all are 26 MiB and more"
    assert left < MIB


def test_a_flood_of_large_ones_is_read_to_a_bound_and_hides_no_small_signature() -> None:
    attached = Attached()
    for number in range(6):
        attached.add(sbom(number, MIB))
    attached.add(signature_statement(IMAGE.digest))
    signatures = Signatures(attached, in_all=4 * MIB)  # type: ignore[arg-type]
    verdict = asyncio.run(signatures.verdict(WHERE, IMAGE.digest, [PAIR.verifier]))
    assert attached.read <= 4 * MIB
    assert verdict.problem is None
    assert len(verdict.vouched) == 3
    assert [problem.code for problem in verdict.unread] == ["bundles-too-many"]
