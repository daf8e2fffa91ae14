"""Statements, envelopes and bundles come back as they were written; what is none is refused, never half-read."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.attestation import (
    SIGNATURE_PREDICATE,
    STATEMENT_PAYLOAD,
    Bundle,
    Envelope,
    Statement,
    UnknownVersionError,
    pae,
    signature_statement,
)
from reconciler.model.digest import Digest
from tests import strategies as some
from tests.attest import cosign_made
from tests.strategies_documents import paths, replaced

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | some.texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(some.texts, inner, max_size=3),
    max_leaves=8,
)
statements = st.builds(
    Statement,
    st.lists(some.digests, max_size=3).map(tuple),
    some.texts,
    st.dictionaries(some.texts, _JSON, max_size=3),
)
envelopes = st.builds(Envelope, st.binary(max_size=40), st.binary(max_size=40), some.texts)
bundles = st.builds(Bundle, envelopes, some.texts)


@given(statements)
def test_a_statement_comes_back(statement: Statement) -> None:
    assert Statement.parse(statement.to_bytes()) == statement


@given(bundles)
def test_a_bundle_comes_back(bundle: Bundle) -> None:
    assert Bundle.parse(bundle.to_bytes()) == bundle


def test_what_cosign_wrote_is_read() -> None:
    bundle = Bundle.parse(cosign_made.BUNDLE)
    assert bundle.envelope.payload_type == STATEMENT_PAYLOAD
    assert Statement.parse(bundle.envelope.payload) == signature_statement(cosign_made.SUBJECT)


def test_the_bytes_that_are_signed_are_those_of_the_specification() -> None:
    """The example of DSSE's protocol.md."""
    expected = b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    assert pae("http://example.com/HelloWorld", b"hello world") == expected
    assert pae("ü", "é".encode()) == b"DSSEv1 2 \xc3\xbc 2 \xc3\xa9"


@given(st.text(), st.binary(), st.text(), st.binary())
def test_other_content_is_other_signed_bytes(kind: str, payload: bytes, other: str, another: bytes) -> None:
    kind, other = (text.encode("utf-8", "replace").decode() for text in (kind, other))
    assert (pae(kind, payload) == pae(other, another)) == ((kind, payload) == (other, another))


def test_a_statement_says_what_the_specification_asks_for() -> None:
    digest = Digest("sha256", "a" * 64)
    assert json.loads(signature_statement(digest).to_bytes()) == {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"digest": {"sha256": "a" * 64}}],
        "predicateType": SIGNATURE_PREDICATE,
        "predicate": {},
    }


def test_of_a_subject_only_digests_of_images_count() -> None:
    document = {
        "_type": "https://in-toto.io/Statement/v0.1",
        "subject": [
            {"name": "a", "digest": {"md5": "x", "sha256": "a" * 64, "sha512": "b" * 128}},
            {"digest": {"gitCommit": "c" * 40}, "annotations": {}},
        ],
        "predicateType": "https://example.org/x",
        "predicate": None,
    }
    statement = Statement.parse(json.dumps(document).encode())
    assert statement.subjects == (Digest("sha256", "a" * 64), Digest("sha512", "b" * 128))
    assert statement.predicate == {}


@pytest.mark.parametrize(
    "change",
    [
        {"_type": "https://in-toto.io/Statement/v2"},
        {"subject": None},
        {"subject": [{"digest": {"sha256": "A" * 64}}]},
        {"subject": [{"digest": {"sha256": None}}]},
        {"subject": [{"name": "x"}]},
        {"subject": ["x"]},
        {"predicateType": None},
        {"predicate": "text"},
        {"predicate": [1]},
    ],
)
def test_what_is_no_statement_is_refused(change: dict[str, Any]) -> None:
    document = json.loads(signature_statement(cosign_made.SUBJECT).to_bytes()) | change
    with pytest.raises(ValueError):
        Statement.parse(json.dumps(document).encode())


@pytest.mark.parametrize(
    "media_type",
    [
        "application/vnd.dev.sigstore.bundle.v0.4+json",
        "application/vnd.dev.sigstore.bundle+json;version=0.2",
        "application/json",
    ],
)
def test_a_bundle_of_another_version_is_told_apart(media_type: str) -> None:
    document = json.loads(cosign_made.BUNDLE) | {"mediaType": media_type}
    with pytest.raises(UnknownVersionError):
        Bundle.parse(json.dumps(document).encode())


def test_both_spellings_of_the_version_are_one() -> None:
    document = json.loads(cosign_made.BUNDLE) | {"mediaType": "application/vnd.dev.sigstore.bundle+json;version=0.3"}
    assert Bundle.parse(json.dumps(document).encode()) == Bundle.parse(cosign_made.BUNDLE)


@pytest.mark.parametrize("material", ["certificate", "x509CertificateChain"])
def test_a_certificate_is_no_hint_at_a_key(material: str) -> None:
    document = json.loads(cosign_made.BUNDLE) | {"verificationMaterial": {material: {"rawBytes": "AA=="}}}
    bundle = Bundle.parse(json.dumps(document).encode())
    assert bundle.key_hint is None
    with pytest.raises(ValueError, match="hint"):
        bundle.to_bytes()


def _enveloped(**change: Any) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(cosign_made.BUNDLE)
    return document | {"dsseEnvelope": document["dsseEnvelope"] | change}


_SIGNATURE = {"sig": base64.b64encode(b"x").decode()}


@pytest.mark.parametrize(
    "document",
    [
        _enveloped(signatures=[]),
        _enveloped(signatures=[_SIGNATURE, _SIGNATURE]),
        _enveloped(signatures=_SIGNATURE),
        _enveloped(signatures=[{"sig": "not base64"}]),
        _enveloped(signatures=[{"sig": "AA"}]),
        _enveloped(payload=None),
        _enveloped(payloadType=1),
        {k: v for k, v in _enveloped().items() if k != "dsseEnvelope"} | {"messageSignature": {"signature": "AA=="}},
        _enveloped() | {"verificationMaterial": {}},
        _enveloped() | {"verificationMaterial": {"publicKey": "x"}},
    ],
)
def test_what_is_no_bundle_is_refused(document: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        Bundle.parse(json.dumps(document).encode())


def test_what_is_no_json_is_refused() -> None:
    for data in (b"", b"\xff", b"[]", b"null", b"[" * 100_000, b'"x"', b"1"):
        with pytest.raises(ValueError):
            Bundle.parse(data)
        with pytest.raises(ValueError):
            Statement.parse(data)


_WRONG = [None, 1, -1, 10**400, True, "x", "", [], ["x"], {}, {"x": 1}, float("nan")]


@given(st.data())
def test_a_damaged_bundle_is_refused_or_harmless(data: st.DataObject) -> None:
    document = json.loads(cosign_made.BUNDLE)
    damaged = replaced(document, data.draw(st.sampled_from(paths(document))), data.draw(st.sampled_from(_WRONG)))
    try:
        bundle = Bundle.parse(json.dumps(damaged).encode())
    except ValueError:
        return
    assert isinstance(bundle.envelope.signed_bytes, bytes)
    assert isinstance(bundle.key_hint, str | None)


@given(statements, st.data())
def test_a_damaged_statement_is_refused_or_harmless(statement: Statement, data: st.DataObject) -> None:
    document = json.loads(statement.to_bytes())
    damaged = replaced(document, data.draw(st.sampled_from(paths(document))), data.draw(st.sampled_from(_WRONG)))
    try:
        read = Statement.parse(json.dumps(damaged).encode())
    except ValueError:
        return
    assert isinstance(read.predicate_type, str)
    assert isinstance(read.predicate, dict)
    assert all(isinstance(subject, Digest) for subject in read.subjects)
