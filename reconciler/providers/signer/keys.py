"""Reading keys: which files and which kinds are taken, and what is told of the others.

Kinds: ECDSA on P-256 with SHA-256, which is what cosign makes, and Ed25519 over the whole message.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TypeAlias

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_private_key,
    load_pem_private_key,
    load_pem_public_key,
)

from reconciler.model.problem import LianError, Problem
from reconciler.providers.signer.cosign_key import WrongPasswordError, is_cosign_key, opened

PrivateKey: TypeAlias = "EllipticCurvePrivateKey | Ed25519PrivateKey"
PublicKey: TypeAlias = "EllipticCurvePublicKey | Ed25519PublicKey"

MAX_PEM = 64 << 10
"""Bytes of a key file; a real one has a few hundred."""
_KINDS = "make one with `cosign generate-key-pair`, or an ECDSA P-256 or Ed25519 key with openssl"
_PASSWORD = "set COSIGN_PASSWORD to the password it was made with; cosign's keys have one even if it is empty"


def private_key(pem: bytes, password: bytes | None, name: str) -> PrivateKey:
    """From PKCS #8 or SEC 1, open or under a password, or cosign's own form. `name` is how people know the key; its
    content is in no error. Takes about 0.2 s and 64 MiB for a key under a password.

    Raises LianError `signing-key-unreadable`, `signing-key-locked`, `signing-key-unsupported`.
    """
    try:
        key = _loaded(_bounded(pem), password)
    except WrongPasswordError as error:
        cause = "no password is given" if password is None else "its password is wrong, or the file is damaged"
        raise LianError(_locked(name, cause)) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        # What the library says of a key is not passed on: nobody promised that it quotes nothing.
        problem = Problem("signing-key-unreadable", f"{name} is not a private key that can be read", hint=_KINDS)
        raise LianError(problem) from error
    if isinstance(key, Ed25519PrivateKey) or (
        isinstance(key, EllipticCurvePrivateKey) and isinstance(key.curve, SECP256R1)
    ):
        return key
    message = f"{name} is a private key of a kind that lian does not sign with"
    raise LianError(Problem("signing-key-unsupported", message, hint=_KINDS))


def public_key(pem: bytes, name: str) -> PublicKey:
    """From a PEM file with one public key. Raises LianError `verify-key-unreadable`, `verify-key-unsupported`."""
    hint = "let it name a PEM file that begins with BEGIN PUBLIC KEY; `cosign public-key --key …` writes one"
    try:
        if _bounded(pem).count(b"-----BEGIN ") != 1:
            raise ValueError("not exactly one key")
        key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise LianError(Problem("verify-key-unreadable", f"{name} is not a public key", hint=hint)) from error
    if isinstance(key, Ed25519PublicKey) or (
        isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1)
    ):
        return key
    message = f"{name} is a public key of a kind that lian does not verify"
    raise LianError(Problem("verify-key-unsupported", message, hint="use an ECDSA P-256 or an Ed25519 key"))


def public_pem(key: PrivateKey) -> bytes:
    """The public half of a key, as in a `.pub` file."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def hint_of(key: PublicKey) -> str:
    """How sigstore's tools hint at a key: base64 of the sha256 of its SubjectPublicKeyInfo."""
    spki = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(spki).digest()).decode("ascii")


def _loaded(pem: bytes, password: bytes | None) -> object:
    """Raises WrongPasswordError, also where none is given; ValueError; UnsupportedAlgorithm."""
    own, locked = is_cosign_key(pem), b"ENCRYPTED" in pem
    if locked and password is None:
        raise WrongPasswordError("it is under a password")
    if own:
        return load_der_private_key(opened(pem, password or b""), None)
    try:
        return load_pem_private_key(pem, password if locked else None)
    except (ValueError, TypeError) as error:
        if locked:  # one word for a wrong password and a damaged file; TypeError for a password that is empty
            raise WrongPasswordError("the password does not open it") from error
        raise


def _bounded(pem: bytes) -> bytes:
    if len(pem) > MAX_PEM:
        raise ValueError("too large for a key")
    return pem


def _locked(name: str, cause: str) -> Problem:
    return Problem("signing-key-locked", f"the private key {name} cannot be opened", cause=cause, hint=_PASSWORD)
