"""Digests: parse and print are inverse; nothing else is a digest."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.digest import Digest
from tests import strategies as some


@given(some.digests)
def test_parse_and_print_are_inverse(digest: Digest) -> None:
    assert Digest.parse(str(digest)) == digest


@pytest.mark.parametrize(
    "text",
    [
        "",
        "sha256:",
        "sha256:" + "0" * 63,
        "sha256:" + "0" * 128,
        "sha512:" + "0" * 64,
        "sha256:" + "A" * 64,
        "md5:" + "0" * 32,
        "0" * 64,
        "sha256:" + "0" * 64 + "\n",
        " sha256:" + "0" * 64,
        "sha256:" + "٣" * 64,
    ],
)
def test_what_is_no_digest_is_refused_and_quoted(text: str) -> None:
    with pytest.raises(ValueError, match="not a digest") as raised:
        Digest.parse(text)
    assert repr(text[:100]) in str(raised.value)


@given(st.binary(max_size=64), st.binary(max_size=64), st.sampled_from(["sha256", "sha512"]))
def test_a_digest_matches_its_bytes_alone(data: bytes, other: bytes, algorithm: str) -> None:
    digest = Digest(algorithm, hashlib.new(algorithm, data).hexdigest())
    assert digest.matches(data)
    assert digest.matches(other) == (data == other)
    assert Digest.of(data) == Digest("sha256", hashlib.sha256(data).hexdigest())
    assert str(digest).partition(":")[2].startswith(digest.short)
