"""What is said of an image under a signature: an in-toto statement, in a DSSE envelope, in a sigstore bundle.

Forms: in-toto attestation v1 (spec/v1/statement.md, digest_set.md), DSSE v1 (protocol.md), sigstore bundle v0.3
(protobuf-specs, sigstore_bundle.proto, in the JSON form of protobuf). The bundle is what cosign v3 attaches to images.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import parse

if TYPE_CHECKING:
    from collections.abc import Mapping

STATEMENT = "https://in-toto.io/Statement/v1"
STATEMENTS = (STATEMENT, "https://in-toto.io/Statement/v0.1")
"""`cosign attest` still writes v0.1; what is read here is the same in both."""
STATEMENT_PAYLOAD = "application/vnd.in-toto+json"
SIGNATURE_PREDICATE = "https://sigstore.dev/cosign/sign/v1"
"""cosign's statement that says nothing but: this image is signed."""
SBOM_PREDICATE = "https://spdx.dev/Document"

BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
BUNDLES = (BUNDLE, "application/vnd.dev.sigstore.bundle+json;version=0.3")
"""Both spellings of version 0.3. cosign takes nothing older from a registry, and knows nothing newer."""
BUNDLE_FAMILY = "application/vnd.dev.sigstore.bundle"


class UnknownVersionError(ValueError):
    """The document is a sigstore bundle, of a version that is not known here."""


@dataclass(frozen=True, slots=True)
class Statement:
    """Says something (the predicate, whose form its type names) of content with these digests."""

    subjects: tuple[Digest, ...]
    predicate_type: str
    predicate: Mapping[str, Any] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The payload that is signed: canonical, so that equal statements are equal bytes."""
        return canonical(
            {
                "_type": STATEMENT,
                "subject": [{"digest": {subject.algorithm: subject.hex}} for subject in self.subjects],
                "predicateType": self.predicate_type,
                "predicate": dict(self.predicate),
            }
        )

    @classmethod
    def parse(cls, payload: bytes) -> Statement:
        """The inverse of to_bytes. Names and annotations of subjects, and digests by other algorithms than those that
        images have, are passed over (digest_set.md: consumers ignore those). Raises ValueError."""
        document = parse(payload)
        try:
            if document["_type"] not in STATEMENTS:
                raise ValueError("not an in-toto statement of version 1")
            subjects = tuple(d for subject in document["subject"] for d in _digests(subject["digest"]))
            predicate_type, predicate = document["predicateType"], document.get("predicate") or {}
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an in-toto statement: {error}") from error
        if not isinstance(predicate_type, str) or not isinstance(predicate, dict):
            raise ValueError("not an in-toto statement: its predicate is of the wrong kind")
        return cls(subjects, predicate_type, predicate)


def _digests(known: Mapping[str, Any]) -> list[Digest]:
    return [Digest.parse(f"{name}:{known[name]}") for name in ("sha256", "sha512") if name in known]


def signature_statement(subject: Digest) -> Statement:
    """What `cosign sign` signs: for a multi-platform image, of its index."""
    return Statement((subject,), SIGNATURE_PREDICATE)


def sbom_statement(subject: Digest, document: Mapping[str, Any]) -> Statement:
    """An SPDX document (version 2, JSON) of one platform's manifest."""
    return Statement((subject,), SBOM_PREDICATE, document)


def pae(payload_type: str, payload: bytes) -> bytes:
    """DSSE's pre-authentication encoding: the bytes a signature is made over; lengths in bytes."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(kind), kind, len(payload), payload)


@dataclass(frozen=True, slots=True)
class Envelope:
    """A DSSE envelope with exactly one signature, as sigstore bundles have it. Nothing in it is to be believed before
    the signature over `signed_bytes` holds."""

    payload: bytes
    signature: bytes
    payload_type: str = STATEMENT_PAYLOAD

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return pae(self.payload_type, self.payload)

    def to_json(self) -> dict[str, Any]:
        """DSSE's JSON form, without a `keyid`: cosign passes over signatures whose `keyid` is not its own name for the
        key (go-securesystemslib, dsse/verify.go), and sigstore's other clients write none either."""
        signatures = [{"sig": _base64(self.signature)}]
        return {"payload": _base64(self.payload), "payloadType": self.payload_type, "signatures": signatures}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Envelope:
        """A `keyid` is passed over: it is not signed. Raises ValueError."""
        try:
            signatures = document["signatures"]
            if not isinstance(signatures, list) or len(signatures) != 1:
                raise ValueError("not a DSSE envelope of a bundle: it has exactly one signature")
            return cls(_bytes(document["payload"]), _bytes(signatures[0]["sig"]), _text(document["payloadType"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a DSSE envelope: {error}") from error


@dataclass(frozen=True, slots=True)
class Bundle:
    """An envelope, and the hint at the public key to check it with (see ports.signer.Signature); None if it comes with
    a certificate in place of that. The hint is not signed.

    Entries of transparency logs and timestamps are not kept: a key that is trusted for good needs neither.
    """

    envelope: Envelope
    key_hint: str | None

    def to_bytes(self) -> bytes:
        """The document of version 0.3. Raises ValueError without a hint: lian signs by key alone."""
        if self.key_hint is None:
            raise ValueError("a bundle is printed with a key's hint only")
        return canonical(
            {
                "mediaType": BUNDLE,
                "verificationMaterial": {"publicKey": {"hint": self.key_hint}},
                "dsseEnvelope": self.envelope.to_json(),
            }
        )

    @classmethod
    def parse(cls, data: bytes) -> Bundle:
        """The inverse of to_bytes. Raises UnknownVersionError, and ValueError for what is no bundle of a statement."""
        document = parse(data)
        try:
            kind = _text(document["mediaType"])
            if kind not in BUNDLES:
                raise UnknownVersionError(f"not a sigstore bundle of version 0.3: {kind[:100]!r}")
            if "dsseEnvelope" not in document:
                raise ValueError("the bundle holds no DSSE envelope")
            return cls(Envelope.from_json(document["dsseEnvelope"]), _hint(document["verificationMaterial"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a sigstore bundle: {error}") from error


def _hint(material: Mapping[str, Any]) -> str | None:
    if "publicKey" in material:
        return _text(material["publicKey"].get("hint", ""))
    if "certificate" in material or "x509CertificateChain" in material:
        return None
    raise ValueError("the bundle names neither a key nor a certificate")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _bytes(value: object) -> bytes:
    try:
        return base64.b64decode(_text(value), validate=True)
    except binascii.Error as error:
        raise ValueError(f"not base64: {error}") from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not a text where one is expected")
    return value
