"""cosign's own private key files: PKCS #8 under a password, by scrypt and NaCl's secretbox, in JSON, in PEM.

The form is go-securesystemslib's package `encrypted`; cosign writes it with `cosign generate-key-pair` and
`cosign import-key-pair`.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from typing import Any

from reconciler.model.manifest import parse

_PEM = re.compile(
    rb"-----BEGIN ENCRYPTED (?P<maker>SIGSTORE|COSIGN) PRIVATE KEY-----\s(?P<body>[A-Za-z0-9+/=\s]*)"
    rb"-----END ENCRYPTED (?P=maker) PRIVATE KEY-----"
)
_STRENGTHS = tuple((1 << power, 8, 1) for power in (15, 16, 17))
"""(N, r, p) that the writing library knows. A file cannot choose others, or it could ask for any amount of memory."""
_MEMORY = 132 << 20
"""Bytes that scrypt may take: 128 * N * r of the strongest, and some."""
_KEY_BYTES = 32


class WrongPasswordError(ValueError):
    """The password does not open the file, or the file was changed: the cipher cannot tell the two apart."""


def is_cosign_key(pem: bytes) -> bool:
    """True for a file in cosign's own form."""
    return _PEM.search(pem) is not None


def opened(pem: bytes, password: bytes) -> bytes:
    """The private key in PKCS #8, DER. Raises WrongPasswordError, and ValueError for a file of another form."""
    import nacl.exceptions
    import nacl.secret

    match = _PEM.search(pem)
    if match is None:
        raise ValueError("not a private key file of cosign")
    salt, (n, r, p), nonce, ciphertext = _parts(match["body"])
    key = hashlib.scrypt(password, salt=salt, n=n, r=r, p=p, maxmem=_MEMORY, dklen=_KEY_BYTES)
    try:
        return nacl.secret.SecretBox(key).decrypt(ciphertext, nonce)
    except nacl.exceptions.CryptoError as error:
        raise WrongPasswordError("the password does not open it") from error


def _parts(body: bytes) -> tuple[bytes, tuple[int, int, int], bytes, bytes]:
    """(salt, cost, nonce, ciphertext). Raises ValueError."""
    try:
        document: Any = parse(base64.b64decode(body))
        kdf, cipher = document["kdf"], document["cipher"]
        if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox"):
            raise ValueError("it is locked by other means than scrypt and secretbox")
        cost = (kdf["params"]["N"], kdf["params"]["r"], kdf["params"]["p"])
        strength = next((known for known in _STRENGTHS if known == cost), None)
        if strength is None:
            raise ValueError("its scrypt parameters are none that cosign writes")
        salt, nonce = base64.b64decode(kdf["salt"]), base64.b64decode(cipher["nonce"])
        if len(nonce) != 24:
            raise ValueError("its nonce has not 24 bytes")
        return salt, strength, nonce, base64.b64decode(document["ciphertext"])
    except (KeyError, TypeError, binascii.Error) as error:
        raise ValueError(f"not a private key file of cosign: {type(error).__name__}") from error
