"""Ports: what signs, and what tells whether a signature holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from reconciler.model.credential import SourceRef


@dataclass(frozen=True, slots=True)
class Signature:
    """A signature, and which key made it: base64 of the sha256 of the public key (SubjectPublicKeyInfo, DER), as
    sigstore's tools hint at keys."""

    value: bytes
    key_hint: str


class Signer(Protocol):
    """Holds a private key, or knows who does."""

    async def prepare(self) -> None:
        """Raises what `sign` would raise because of its key, so that nothing is built that cannot be signed."""
        ...

    async def sign(self, message: bytes) -> Signature:
        """Raises LianError `signing-key-unreadable`, `signing-key-locked`, `signing-key-unsupported`, and what reading
        the key raises. The same message under the same key should give the same signature, so that what is signed
        twice is attached once."""
        ...

    async def verifier(self) -> Verifier:
        """The public half of the key. Raises as `sign` does."""
        ...


class Keyring(Protocol):
    """Where signers are had from: which key it is, the commit says."""

    def signer(self, key: SourceRef) -> Signer:
        """The owner of the key that lies there. Nothing is read yet."""
        ...


class Verifier(Protocol):
    """A public key."""

    @property
    def name(self) -> str:
        """As people know it: the path it was read from."""
        ...

    @property
    def key_hint(self) -> str:
        """See Signature."""
        ...

    def holds(self, message: bytes, signature: bytes) -> bool:
        """True if this key's owner signed exactly this message; False for anything else, also for no signature."""
        ...
