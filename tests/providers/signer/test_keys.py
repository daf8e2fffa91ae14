"""Which key files are taken, what is said of the others, and that no key shows in it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.problem import LianError
from reconciler.providers.signer.cosign_key import WrongPasswordError, opened
from reconciler.providers.signer.keys import MAX_PEM, hint_of, private_key, public_key
from tests.attest import cosign_made
from tests.attest.keys import Pair

PASSWORD = b"canary-password-91c4"
PAIR = Pair()
RSA = rsa.generate_private_key(65537, 2048)


def code(error: pytest.ExceptionInfo[LianError]) -> str:
    return error.value.problems[0].code


def test_a_key_that_cosign_made_is_opened() -> None:
    key = private_key(cosign_made.private_key(), cosign_made.PASSWORD, "cosign.key")
    public = load_pem_public_key(cosign_made.PUBLIC_KEY)
    assert key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo) == public.public_bytes(
        Encoding.DER, PublicFormat.SubjectPublicKeyInfo
    )
    assert hint_of(key.public_key()) == "mq7JIphdlFi8ALKYpKlQHBV7Rbe1KuqB7iiXtvrAFFE="


def test_the_older_name_of_the_form_is_known() -> None:
    key = private_key(cosign_made.private_key(maker="COSIGN"), cosign_made.PASSWORD, "cosign.key")
    assert isinstance(key, ec.EllipticCurvePrivateKey)


@pytest.mark.parametrize("key", [ec.generate_private_key(ec.SECP256R1()), ed25519.Ed25519PrivateKey.generate()])
@pytest.mark.parametrize("password", [None, PASSWORD])
def test_open_and_locked_keys_are_read(key: Any, password: bytes | None) -> None:
    pair = Pair(key)
    assert private_key(pair.pem(password), PASSWORD, "k").public_key() == key.public_key()
    assert public_key(pair.public_pem, "k") == key.public_key()


def test_an_older_form_of_open_key_is_read() -> None:
    pem = PAIR.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    assert b"BEGIN EC PRIVATE KEY" in pem
    assert private_key(pem, None, "k").public_key() == PAIR.key.public_key()


@pytest.mark.parametrize("pem", [cosign_made.private_key(), PAIR.pem(PASSWORD)], ids=["cosign", "pkcs8"])
@pytest.mark.parametrize("password", [None, b"", b"wrong"])
def test_a_locked_key_needs_its_password(pem: bytes, password: bytes | None) -> None:
    with pytest.raises(LianError) as error:
        private_key(pem, password, "release.key")
    assert code(error) == "signing-key-locked"
    problem = error.value.problems[0]
    assert "release.key" in problem.message
    assert "COSIGN_PASSWORD" in str(problem.hint)
    assert ("no password" in str(problem.cause)) == (password is None)


def _damaged() -> list[bytes]:
    pem = PAIR.pem()
    return [
        b"",
        b"\xff\xfe",
        b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----\n",
        pem[:100] + b"-----END PRIVATE KEY-----\n",
        PAIR.public_pem,
        b" " * (MAX_PEM + 1),
        cosign_made.private_key("{}"),
        cosign_made.private_key("[]"),
        cosign_made.private_key("no json"),
    ]


@pytest.mark.parametrize("pem", _damaged())
def test_what_is_no_private_key_is_told(pem: bytes) -> None:
    with pytest.raises(LianError) as error:
        private_key(pem, PASSWORD, "release.key")
    assert code(error) == "signing-key-unreadable"


@pytest.mark.parametrize("key", [RSA, ec.generate_private_key(ec.SECP384R1())], ids=["rsa", "p384"])
def test_other_kinds_of_keys_are_told(key: Any) -> None:
    pair = Pair(key)
    with pytest.raises(LianError) as error:
        private_key(pair.pem(), None, "release.key")
    assert code(error) == "signing-key-unsupported"
    with pytest.raises(LianError) as error:
        public_key(pair.public_pem, "release.pub")
    assert code(error) == "verify-key-unsupported"


@pytest.mark.parametrize(
    "pem", [b"", PAIR.pem(), PAIR.public_pem * 2, b"-----BEGIN PUBLIC KEY-----", b"x" * MAX_PEM * 2]
)
def test_what_is_no_public_key_is_told(pem: bytes) -> None:
    with pytest.raises(LianError) as error:
        public_key(pem, "release.pub")
    assert code(error) == "verify-key-unreadable"


@pytest.mark.parametrize(
    "params",
    [{"N": 1 << 30}, {"N": 1 << 18}, {"N": 2}, {"r": 1 << 20}, {"p": 1 << 20}, {"N": None}, {"N": [1]}, {"N": "65536"}],
)
def test_a_file_cannot_ask_for_work_without_end(params: dict[str, Any]) -> None:
    document = json.loads(cosign_made.LOCKED)
    document["kdf"]["params"] |= params
    with pytest.raises(ValueError, match="scrypt parameters"):
        opened(cosign_made.private_key(json.dumps(document)), PASSWORD)


@pytest.mark.parametrize(("part", "name"), [("kdf", "argon2"), ("cipher", "aes"), ("kdf", None)])
def test_other_locks_are_told(part: str, name: str | None) -> None:
    document = json.loads(cosign_made.LOCKED)
    document[part]["name"] = name
    with pytest.raises(ValueError, match="other means"):
        opened(cosign_made.private_key(json.dumps(document)), PASSWORD)


def test_a_damaged_box_is_a_wrong_password() -> None:
    document = json.loads(cosign_made.LOCKED)
    document["ciphertext"] = document["ciphertext"][:-8] + "AAAAAAA="
    with pytest.raises(WrongPasswordError):
        opened(cosign_made.private_key(json.dumps(document)), cosign_made.PASSWORD)


@settings(max_examples=25)
@given(st.data())
def test_no_error_shows_a_key_or_a_password(data: st.DataObject) -> None:
    pem = data.draw(
        st.sampled_from(
            [PAIR.pem(), PAIR.pem(b"other"), RSA.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())]
        )
    )
    place = data.draw(st.integers(0, len(pem) - 1))
    damaged = pem[:place] + b"?" + pem[place + 1 :]
    lines = [line.decode() for line in pem.splitlines() if not line.startswith(b"-")]
    try:
        private_key(damaged, PASSWORD, "release.key")
    except LianError as error:
        seen: BaseException | None = error
        while seen is not None:
            said = f"{seen!r} {seen}"
            assert PASSWORD.decode() not in said
            assert not any(line[:20] in said for line in lines)
            seen = seen.__cause__ or seen.__context__
