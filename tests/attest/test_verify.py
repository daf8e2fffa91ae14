"""What holds of what is attached to an image: a case for each way in which it may not, and no way round the keys."""

from __future__ import annotations

import asyncio
import json
from functools import reduce
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.attest.sign import signed
from reconciler.attest.verify import NO_BUNDLE, TOLD, FoundBundle, Verdict, Vouched, judge
from reconciler.model.attestation import Bundle, Envelope, Statement, pae, sbom_statement, signature_statement
from reconciler.model.digest import Digest
from reconciler.model.problem import Next, Problem
from reconciler.model.provenance import PROVENANCE_PREDICATE
from reconciler.providers.signer.by_key import KeyVerifier
from tests.attest import cosign_made
from tests.attest.keys import Pair

if TYPE_CHECKING:
    from collections.abc import Sequence

SUBJECT, OTHER, REFERRER = (Digest("sha256", letter * 64) for letter in "abc")
PAIR, SECOND, STRANGER = Pair(), Pair(name="keys/second.pub"), Pair(name="keys/stranger.pub")
KEYS = [SECOND.verifier, PAIR.verifier]
SIGNATURE = signature_statement(SUBJECT)


def bundle_of(statement: Statement, pair: Pair = PAIR) -> bytes:
    return asyncio.run(signed(statement, pair.signer)).to_bytes()


def over(payload: bytes, payload_type: str = "application/vnd.in-toto+json") -> bytes:
    """A good signature of PAIR over anything."""
    signature = asyncio.run(PAIR.signer.sign(pae(payload_type, payload)))
    return Bundle(Envelope(payload, signature.value, payload_type), signature.key_hint).to_bytes()


def found(*contents: bytes | Problem) -> list[FoundBundle]:
    return [FoundBundle(REFERRER, content) for content in contents]


def verdict(subject: Digest, bundles: Sequence[FoundBundle], keys: Sequence[KeyVerifier]) -> Verdict:
    """One after the other."""
    return reduce(lambda so_far, bundle: so_far.after(bundle, keys), bundles, Verdict(subject))


def fault_of(data: bytes, keys: Sequence[KeyVerifier] = KEYS) -> Problem:
    answer = judge(SUBJECT, REFERRER, data, keys)
    assert isinstance(answer, Problem)
    return answer


GOOD = bundle_of(SIGNATURE)


def test_a_signature_by_any_of_the_keys_holds() -> None:
    for pair in (PAIR, SECOND):
        result = verdict(SUBJECT, found(bundle_of(SIGNATURE, pair)), KEYS)
        assert result.vouched == (Vouched(SIGNATURE, pair.name, REFERRER),)
        assert result.problem is None
        assert (result.failures, result.unread) == ((), ())


def test_a_signature_by_cosign_holds() -> None:
    keys = [KeyVerifier(cosign_made.PUBLIC_KEY, "cosign.pub")]
    assert verdict(cosign_made.SUBJECT, found(cosign_made.BUNDLE), keys).problem is None


def test_nothing_attached_is_not_signed() -> None:
    result = verdict(SUBJECT, [], KEYS)
    assert result.problem is not None
    assert (result.problem.code, result.problem.next) == ("signature-missing", Next.PERSON)


def _changed(**change: Any) -> bytes:
    document = json.loads(GOOD)
    return json.dumps(document | {"dsseEnvelope": document["dsseEnvelope"] | change}).encode()


OF_OTHER = json.loads(bundle_of(signature_statement(OTHER)))["dsseEnvelope"]

FAULTS = {
    "wrong key": (bundle_of(SIGNATURE, STRANGER), "signature-wrong-key"),
    "wrong subject": (bundle_of(signature_statement(OTHER)), "signature-wrong-subject"),
    "wrong algorithm": (bundle_of(signature_statement(Digest("sha512", "a" * 128))), "signature-wrong-subject"),
    "no subject": (bundle_of(Statement((), "x")), "signature-wrong-subject"),
    "payload of another signature": (_changed(payload=OF_OTHER["payload"]), "signature-wrong"),
    "signature of another payload": (_changed(signatures=OF_OTHER["signatures"]), "signature-wrong"),
    "changed payload type": (_changed(payloadType="text/plain"), "signature-wrong"),
    "no signature": (_changed(signatures=[]), NO_BUNDLE),
    "two signatures": (_changed(signatures=json.loads(GOOD)["dsseEnvelope"]["signatures"] * 2), NO_BUNDLE),
    "empty signature": (_changed(signatures=[{"sig": ""}]), "signature-wrong"),
    "no bundle": (b"<html>", NO_BUNDLE),
    "unknown version": (GOOD.replace(b"bundle.v0.3", b"bundle.v0.4"), "bundle-version-unknown"),
    "certificate": (
        json.dumps(json.loads(GOOD) | {"verificationMaterial": {"certificate": {"rawBytes": "AA=="}}}).encode(),
        "signature-by-certificate",
    ),
    "signed as another type": (over(SIGNATURE.to_bytes(), "text/plain"), "statement-unreadable"),
    "signed nonsense": (over(b"hello"), "statement-unreadable"),
    "signed statement of another version": (
        over(SIGNATURE.to_bytes().replace(b"Statement/v1", b"Statement/v9")),
        "statement-unreadable",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_told_by_its_name(fault: str) -> None:
    data, code = FAULTS[fault]
    problem = fault_of(data)
    assert problem.code == code
    assert SUBJECT.short in problem.message
    assert REFERRER.short in problem.message
    whole = verdict(SUBJECT, found(data), KEYS)
    assert whole.failures == (problem,)
    assert whole.problem is not None
    assert whole.problem.code == "signature-missing"
    assert problem.message in str(whole.problem.cause)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_beside_a_good_signature_changes_nothing(fault: str) -> None:
    for contents in ((GOOD, FAULTS[fault][0]), (FAULTS[fault][0], GOOD)):
        result = verdict(SUBJECT, found(*contents), KEYS)
        assert result.problem is None
        assert len(result.failures) == 1


def test_a_hint_at_another_key_changes_nothing() -> None:
    """It is not signed: it can neither make a signature hold nor keep it from holding."""
    document = json.loads(GOOD)
    for hint in (SECOND.verifier.key_hint, "", "x"):
        document["verificationMaterial"]["publicKey"]["hint"] = hint
        assert verdict(SUBJECT, found(json.dumps(document).encode()), KEYS).problem is None
    stranger = json.loads(bundle_of(SIGNATURE, STRANGER))
    stranger["verificationMaterial"]["publicKey"]["hint"] = PAIR.verifier.key_hint
    assert fault_of(json.dumps(stranger).encode()).code == "signature-wrong"


def test_other_statements_are_not_a_signature() -> None:
    """cosign's `verify` takes any attestation for one; here it is asked for what is looked for."""
    sbom = bundle_of(sbom_statement(SUBJECT, {"spdxVersion": "SPDX-2.3"}))
    result = verdict(SUBJECT, found(sbom), KEYS)
    assert [vouched.statement.predicate for vouched in result.vouched] == [{}], "it is not kept"
    assert result.problem is not None
    assert result.problem.code == "signature-missing"
    assert result.lacks("https://spdx.dev/Document", "SBOM") is None
    lacking = result.lacks(PROVENANCE_PREDICATE, "provenance")
    assert lacking is not None
    assert "provenance" in lacking.message


@pytest.mark.parametrize("following", [Next.RETRY, Next.PERSON])
def test_what_could_not_be_read_is_unknown_not_missing(following: Next) -> None:
    unread = Problem("registry-failing", "the registry fails", next=following)
    result = verdict(SUBJECT, found(FAULTS["wrong key"][0], unread), KEYS)
    assert result.problem is not None
    assert (result.problem.code, result.problem.next) == ("signatures-unknown", following)
    assert result.unread == (unread,)
    assert verdict(SUBJECT, found(unread, GOOD), KEYS).problem is None


def test_what_is_certainly_no_bundle_is_not_unknown() -> None:
    result = verdict(SUBJECT, found(Problem(NO_BUNDLE, "it has two layers")), KEYS)
    assert result.problem is not None
    assert result.problem.code == "signature-missing"


def test_of_a_flood_of_bundles_a_few_are_told() -> None:
    result = verdict(SUBJECT, found(*[FAULTS["wrong key"][0]] * 50), KEYS)
    assert result.problem is not None
    assert str(result.problem.cause).endswith(f"and {50 - TOLD} more")


@given(st.integers(0, len(GOOD) - 1), st.integers(0, 255))
def test_no_changed_byte_makes_another_statement_hold(place: int, byte: int) -> None:
    data = GOOD[:place] + bytes([byte]) + GOOD[place + 1 :]
    answer = judge(SUBJECT, REFERRER, data, KEYS)
    assert isinstance(answer, Problem) or answer == Vouched(SIGNATURE, PAIR.name, REFERRER)


@given(st.sampled_from([PAIR, SECOND, STRANGER]), st.sampled_from([SUBJECT, OTHER]), st.sampled_from("xyz"))
def test_only_trusted_keys_vouch_and_only_for_their_subject(pair: Pair, subject: Digest, kind: str) -> None:
    statement = Statement((subject,), kind)
    answer = judge(SUBJECT, REFERRER, bundle_of(statement, pair), KEYS)
    expected = pair is not STRANGER and subject == SUBJECT
    assert (answer == Vouched(statement, pair.name, REFERRER)) == expected
    assert isinstance(answer, Problem) != expected
