"""The ports Signer and Verifier by a key pair."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from reconciler.ports.signer import Signature
from reconciler.providers.signer.keys import hint_of, private_key, public_key, public_pem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.providers.signer.keys import PrivateKey, PublicKey


class KeySigner:
    """Signs with a private key that is read when it is first needed. `read` gives its file's bytes, `password` what
    opens it (None: there is none), `name` is how people know it."""

    def __init__(
        self, read: Callable[[], Awaitable[bytes]], password: Callable[[], Awaitable[bytes | None]], name: str
    ) -> None:
        self._read, self._password, self._name = read, password, name
        self._lock = asyncio.Lock()
        self._key: PrivateKey | None = None

    async def prepare(self) -> None:
        """See the port."""
        await self._loaded()

    async def sign(self, message: bytes) -> Signature:
        """See the port."""
        key = await self._loaded()
        value = key.sign(message, _ecdsa()) if isinstance(key, EllipticCurvePrivateKey) else key.sign(message)
        return Signature(value, hint_of(key.public_key()))

    async def verifier(self) -> KeyVerifier:
        """See the port."""
        return KeyVerifier(public_pem(await self._loaded()), self._name)

    async def _loaded(self) -> PrivateKey:
        async with self._lock:
            if self._key is None:
                pem, password = await self._read(), await self._password()
                self._key = await asyncio.to_thread(private_key, pem, password, self._name)
            return self._key


class KeyVerifier:
    """Verifies with a public key."""

    def __init__(self, pem: bytes, name: str) -> None:
        """Raises LianError `verify-key-unreadable`, `verify-key-unsupported`."""
        self._key: PublicKey = public_key(pem, name)
        self._name, self._hint = name, hint_of(self._key)

    @property
    def name(self) -> str:
        """See the port."""
        return self._name

    @property
    def key_hint(self) -> str:
        """See the port."""
        return self._hint

    def holds(self, message: bytes, signature: bytes) -> bool:
        """See the port."""
        try:
            if isinstance(self._key, EllipticCurvePublicKey):
                self._key.verify(signature, message, ECDSA(SHA256()))
            else:
                self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def _ecdsa() -> ECDSA:
    """With the number that RFC 6979 derives from the message, so that equal statements give equal signatures; a
    cryptography over an OpenSSL before 3.2 knows random ones only."""
    try:
        return ECDSA(SHA256(), deterministic_signing=True)
    except UnsupportedAlgorithm:
        return ECDSA(SHA256())
