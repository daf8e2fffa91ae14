"""Sign statements, and attach them to images as cosign v3 does (cosign: specs/BUNDLE_SPEC.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.attestation import BUNDLE, STATEMENT_PAYLOAD, Bundle, Envelope, pae
from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, Descriptor, Manifest, artifact
from reconciler.model.record import TIME_ANNOTATION

if TYPE_CHECKING:
    from reconciler.model.attestation import Statement
    from reconciler.model.reference import Repository
    from reconciler.ports.publisher import Publisher
    from reconciler.ports.signer import Signer

CONTENT_ANNOTATION = "dev.sigstore.bundle.content"
PREDICATE_ANNOTATION = "dev.sigstore.bundle.predicateType"


async def attach(
    publisher: Publisher,
    repository: Repository,
    subject: Descriptor,
    statement: Statement,
    signer: Signer,
    created: str | None = None,
) -> Descriptor:
    """Sign the statement and write it as a referrer of `subject`, one of the statement's subjects, which is in the
    repository. Returns the referrer's descriptor. Raises LianError (of the signer, of the registry).

    `created` (RFC 3339) is when the fact came about, not the time of signing. Leave it out for a plain signature:
    with a signer that gives equal signatures, signing an image again then changes nothing on the registry.
    """
    bundle = await signed(statement, signer)
    manifest, blobs = referrer(bundle, statement.predicate_type, subject, created)
    return await publisher.publish(repository, manifest, blobs=blobs)


async def signed(statement: Statement, signer: Signer) -> Bundle:
    """Raises LianError of the signer."""
    payload = statement.to_bytes()
    signature = await signer.sign(pae(STATEMENT_PAYLOAD, payload))
    return Bundle(Envelope(payload, signature.value), signature.key_hint)


def referrer(
    bundle: Bundle, predicate_type: str, subject: Descriptor, created: str | None = None
) -> tuple[Manifest, dict[Digest, bytes]]:
    """The manifest that attaches the bundle to `subject`, and the blobs it names."""
    data = bundle.to_bytes()
    annotations = {CONTENT_ANNOTATION: "dsse-envelope", PREDICATE_ANNOTATION: predicate_type}
    if created is not None:
        annotations[TIME_ANNOTATION] = created
    whole = Descriptor(subject.media_type, subject.digest, subject.size)
    manifest = artifact(BUNDLE, whole, (Descriptor.of(BUNDLE, data),), annotations)
    return manifest, {Digest.of(blob): blob for blob in (EMPTY_BLOB, data)}
