"""Key pairs made for one test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from reconciler.providers.signer.by_key import KeySigner, KeyVerifier

Private: TypeAlias = "ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey"


def p256() -> Private:
    """An ECDSA key as cosign makes them."""
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Pair:
    """A key pair under a name."""

    key: Private = field(default_factory=p256)
    name: str = "keys/release.pub"

    def pem(self, password: bytes | None = None) -> bytes:
        """PKCS #8."""
        lock = BestAvailableEncryption(password) if password else NoEncryption()
        return self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, lock)

    @property
    def public_pem(self) -> bytes:
        """As in a `.pub` file."""
        return self.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    @property
    def signer(self) -> KeySigner:
        """With the private key."""
        return signer_of(self.pem())

    @property
    def verifier(self) -> KeyVerifier:
        """With the public key."""
        return KeyVerifier(self.public_pem, self.name)


def signer_of(pem: bytes, password: bytes | None = None, name: str = "keys/release.key") -> KeySigner:
    """A signer whose key and password lie in memory."""

    async def read() -> bytes:
        return pem

    async def ask() -> bytes | None:
        return password

    return KeySigner(read, ask, name)
