"""Secrets in what is printed: in whatever form, however it is cut, and nothing but them."""

from __future__ import annotations

import base64
import gzip
import html
import itertools
import json
import secrets
import shlex
import time
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.masking import FORMS, LEAST, LONG, LOOK_BACK, NOTHING, PIECE, Mask, Masked
from reconciler.model.secret import HIDDEN, SecretBytes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

PLAIN = b"s3cr3t/canary+%&'\"$\\x = y"
PEM = b"-----BEGIN KEY-----\nMC4CAQAwBQYDK2VwBCIEIPl9\nq0KJcanary4CbGBnzbnl\n-----END KEY-----\n"

ENCODERS: dict[str, Callable[[bytes], bytes]] = {
    "raw": lambda value: value,
    "reversed": lambda value: value[::-1],
    "base64": base64.b64encode,
    "base64, wrapped": base64.encodebytes,
    "base64url": base64.urlsafe_b64encode,
    "base32": base64.b32encode,
    "hex": lambda value: value.hex().encode(),
    "HEX": lambda value: value.hex().upper().encode(),
    "url": lambda value: quote(value).encode(),
    "url, all": lambda value: quote(value, safe="").encode(),
    "form": lambda value: quote_plus(value).encode(),
    "json": lambda value: json.dumps(value.decode("latin-1").encode("latin-1").decode("utf-8", "replace")).encode(),
    "shell": lambda value: shlex.quote(value.decode("latin-1")).encode("latin-1"),
    "xml": lambda value: html.escape(value.decode("latin-1")).encode("latin-1"),
    "utf-16": lambda value: value.decode("utf-8").encode("utf-16-le"),
    "utf-16 be": lambda value: value.decode("utf-8").encode("utf-16-be"),
}
"""Of this test: what programs really write."""

words = st.text(st.characters(codec="utf-8", exclude_characters="\r\n", exclude_categories=["Cs"]), min_size=8)
values = words.map(str.encode).filter(lambda value: len(value.strip()) >= LEAST)


def masked(mask: Mask, chunks: Iterable[bytes]) -> bytes:
    stream = Masked(mask)
    return b"".join([*map(stream.feed, chunks), stream.end()])


def cut(data: bytes, places: Sequence[int]) -> list[bytes]:
    ends = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(ends)]


@pytest.mark.parametrize("value", [PLAIN, PEM, "pässwörter über alles".encode()], ids=["signs", "lines", "umlauts"])
@pytest.mark.parametrize("encode", ENCODERS.values(), ids=ENCODERS.keys())
def test_a_value_is_hidden_in_each_form(encode: Callable[[bytes], bytes], value: bytes) -> None:
    written = encode(value.strip())
    out = Mask([SecretBytes(value)]).data(b"before " + written + b" after")
    assert HIDDEN.encode() in out
    assert out.startswith(b"before ")
    assert out.endswith(b" after")
    letters = bytes(sign for sign in written if sign not in b"\r\n")
    left = out.removeprefix(b"before ").removesuffix(b" after").translate(None, b"\r\n")
    assert len(left) < len(letters)
    assert not any(letters[at : at + LEAST] in left for at in range(len(letters) - LEAST))


@given(values, st.sampled_from(["b64", "b64url", "b32"]), st.binary(max_size=7), st.binary(max_size=7))
def test_a_value_is_hidden_wherever_it_stands_in_what_is_encoded(
    value: bytes, form: str, before: bytes, after: bytes
) -> None:
    encode = {"b64": base64.b64encode, "b64url": base64.urlsafe_b64encode, "b32": base64.b32encode}[form]
    bits = 5 if form == "b32" else 6
    value = value.strip()
    written = encode(before + value + after)
    out = Mask([SecretBytes(value)]).data(written)
    start, end = -(-len(before) * 8 // bits), (len(before) + len(value)) * 8 // bits
    assert written[start:end] not in out
    assert HIDDEN.encode() in out


@given(values, st.lists(st.integers(0), max_size=8), st.lists(st.sampled_from(list(ENCODERS)), max_size=3), st.data())
def test_what_comes_out_does_not_depend_on_where_it_was_cut(
    value: bytes, places: list[int], names: list[str], data: st.DataObject
) -> None:
    gaps = st.binary(max_size=20) | st.sampled_from([b"\n", b"\r\n", value[:9], value[-9:], value + value[:8]])
    parts = [part for name in names for part in (data.draw(gaps), ENCODERS[name](value))] + [data.draw(gaps)]
    text = b"".join(parts)
    mask = Mask([SecretBytes(value)])
    whole = mask.data(text)
    assert masked(mask, cut(text, places)) == whole
    assert masked(mask, [bytes([byte]) for byte in text]) == whole
    assert value.strip() not in whole


def test_a_form_that_begins_as_another_one_does_is_waited_for() -> None:
    value = b"00000000"
    digits = base64.b64encode(value)
    mask = Mask([SecretBytes(value)])
    assert masked(mask, [bytes([byte]) for byte in digits]) == mask.data(digits) == b"***="


@given(values, st.lists(st.integers(0), min_size=1, max_size=12))
def test_line_ends_within_a_value_do_not_save_it(value: bytes, places: list[int]) -> None:
    value = value.strip()
    text = b"\n".join(cut(value, places))
    out = Mask([SecretBytes(value)]).data(b"> " + text + b" <")
    assert value not in out.replace(b"\n", b"")
    assert out.count(b"\n") == text.count(b"\n")


@given(st.text(alphabet="xyz \n\té-"))
def test_what_is_no_secret_stays_as_it_is(text: str) -> None:
    mask = Mask([SecretBytes(b"4711-canary-0815")])
    assert mask.text(text) == text
    assert mask.data(text.encode()) == text.encode()


@given(st.binary(max_size=LEAST - 1), st.binary(max_size=40))
def test_a_value_that_is_too_short_to_tell_hides_nothing_as_it_is(value: bytes, text: bytes) -> None:
    mask = Mask([SecretBytes(value)])
    assert mask.data(text + value) == text + value or len(text + value) >= LEAST
    assert Mask([SecretBytes(b"")]).data(text) == text
    assert Mask([SecretBytes(b"test")]).text("a test of a tester") == "a test of a tester"


def test_a_short_value_is_still_known_by_its_long_forms() -> None:
    mask = Mask([SecretBytes(b"hunter2")])
    assert mask.text("hunter2") == "hunter2"
    assert mask.text(f"x {b'hunter2'.hex()} y {base64.b64encode(b'hunter2').decode()}") == "x *** y ***=="


def test_each_line_of_a_value_is_hidden_by_itself_if_it_is_long_enough() -> None:
    mask = Mask([SecretBytes(PEM)])
    assert mask.text("  q0KJcanary4CbGBnzbnl  ") == "  ***  "
    assert mask.text(PEM.decode()) == "***\n***\n***\n***\n"
    assert mask.text("{") == "{"
    assert mask.text("-----BEGIN KEY-----, of another") == "-----BEGIN KEY-----, of another"
    whole = Mask([SecretBytes(PEM)], lines=False)
    assert whole.text("  q0KJcanary4CbGBnzbnl  ") == "  q0KJcanary4CbGBnzbnl  "
    assert whole.text(PEM.decode()) == "***\n***\n***\n***\n"
    assert whole.found_in(f"x {PEM.decode()}")
    assert not whole.found_in(PEM.decode()[:-30])


def test_a_part_that_is_long_enough_is_hidden_too() -> None:
    value = secrets.token_hex(500).encode()
    mask = Mask([SecretBytes(value)])
    assert mask.data(b"(" + value + b")") == b"(***)"
    assert value[PIECE : 2 * PIECE] not in mask.data(value[PIECE - 3 : 2 * PIECE + 3])


def test_several_secrets_and_what_touches() -> None:
    mask = Mask([SecretBytes(b"one-canary-one"), SecretBytes(b"two-canary-two"), SecretBytes(b"one-canary-one-more")])
    assert mask.text("a one-canary-one-more b two-canary-twoone-canary-one c") == "a *** b *** c"


def test_the_begin_of_a_secret_at_the_very_end_is_hidden() -> None:
    mask = Mask([SecretBytes(PLAIN)])
    assert mask.data(b"x " + PLAIN[:-1]) == b"x ***"
    assert mask.data(b"x " + PLAIN[: LEAST - 1]) == b"x " + PLAIN[: LEAST - 1]


def test_little_is_ever_held_back() -> None:
    stream = Masked(Mask([SecretBytes(PLAIN * 20)]))
    for _ in range(50):
        given, out = b"\n" * 3000 + PLAIN, b""
        out = stream.feed(given)
        assert len(out) > 3000 - LOOK_BACK
    assert stream.feed(b"no secret\n") + stream.end()


def test_a_value_of_any_size_is_hidden_in_time() -> None:
    value = secrets.token_bytes(8 * LONG)
    began = time.monotonic()
    mask = Mask([SecretBytes(value)])
    for encode in (bytes, base64.b64encode):
        written = encode(value[:LONG])
        assert len(mask.data(written).translate(None, b"\r\n*")) < PIECE
    assert time.monotonic() - began < 20


def test_without_secrets_nothing_is_looked_for() -> None:
    assert not NOTHING
    assert NOTHING.text("x") == "x"
    assert Masked(NOTHING).feed(b"x\n") == b"x\n"
    assert not Mask([SecretBytes(b"\n \n")])


def test_a_compressed_value_is_beyond_this() -> None:
    """As is everything that only who knows how it was made can undo: docs/secrets.md says so."""
    packed = gzip.compress(PLAIN)
    assert Mask([SecretBytes(PLAIN)]).data(packed) == packed


@pytest.mark.parametrize("name", FORMS)
def test_a_form_of_anything_can_be_made(name: str) -> None:
    for value in (b"", b"\xff\xfe\x00", bytes(range(256)), "é".encode()):
        assert all(isinstance(form, bytes) for form in FORMS[name](value))
