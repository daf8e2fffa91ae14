"""Signing and verifying by key: what one signs the other takes, and nothing else."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.attestation import Bundle
from reconciler.model.problem import LianError
from reconciler.providers.signer.by_key import KeySigner, KeyVerifier
from tests.attest import cosign_made
from tests.attest.keys import Pair, signer_of

PAIRS = [Pair(), Pair(ed25519.Ed25519PrivateKey.generate())]
STRANGER = Pair()


@given(st.sampled_from(PAIRS), st.binary(), st.binary())
def test_a_signature_holds_for_its_message_alone(pair: Pair, message: bytes, other: bytes) -> None:
    signature = asyncio.run(pair.signer.sign(message))
    assert pair.verifier.holds(message, signature.value)
    assert pair.verifier.holds(other, signature.value) == (message == other)
    assert not STRANGER.verifier.holds(message, signature.value)
    assert signature.key_hint == pair.verifier.key_hint != STRANGER.verifier.key_hint


@given(st.sampled_from(PAIRS), st.binary(max_size=100))
def test_any_bytes_are_no_signature(pair: Pair, signature: bytes) -> None:
    assert not pair.verifier.holds(b"message", signature)


@given(st.sampled_from(PAIRS), st.integers(0, 10**4), st.integers(1, 255))
def test_a_changed_signature_does_not_hold(pair: Pair, place: int, change: int) -> None:
    signature = bytearray(asyncio.run(pair.signer.sign(b"message")).value)
    signature[place % len(signature)] ^= change
    assert not pair.verifier.holds(b"message", bytes(signature))


@pytest.mark.parametrize("pair", PAIRS)
def test_the_same_message_gives_the_same_signature(pair: Pair) -> None:
    assert asyncio.run(pair.signer.sign(b"message")) == asyncio.run(pair.signer.sign(b"message"))


def test_what_cosign_signed_holds_for_its_key() -> None:
    verifier = KeyVerifier(cosign_made.PUBLIC_KEY, "cosign.pub")
    bundle = Bundle.parse(cosign_made.BUNDLE)
    assert bundle.key_hint == verifier.key_hint
    assert verifier.holds(bundle.envelope.signed_bytes, bundle.envelope.signature)
    assert not verifier.holds(bundle.envelope.payload, bundle.envelope.signature)


def test_cosigns_key_signs_for_cosigns_public_key() -> None:
    signature = asyncio.run(signer_of(cosign_made.private_key(), cosign_made.PASSWORD).sign(b"message"))
    assert KeyVerifier(cosign_made.PUBLIC_KEY, "cosign.pub").holds(b"message", signature.value)


def test_the_key_is_read_once_and_when_it_is_needed() -> None:
    read = []

    async def key() -> bytes:
        read.append("key")
        await asyncio.sleep(0)
        return PAIRS[0].pem()

    async def password() -> bytes | None:
        return None

    async def use() -> None:
        signer = KeySigner(key, password, "release.key")
        assert read == []
        await asyncio.gather(signer.prepare(), *(signer.sign(b"message") for _ in range(5)))
        assert read == ["key"]

    asyncio.run(use())


def test_preparing_tells_what_signing_would() -> None:
    async def told(what: Any) -> str:
        with pytest.raises(LianError) as error:
            await what
        return error.value.problems[0].code

    async def use() -> None:
        signer = signer_of(cosign_made.private_key())
        assert await told(signer.prepare()) == await told(signer.sign(b"message")) == "signing-key-locked"

    asyncio.run(use())
