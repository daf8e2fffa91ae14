"""The byte form that is hashed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.canonical import canonical, fingerprint

_LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=6)
)
_DOCUMENTS = st.recursive(
    _LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@given(_DOCUMENTS)
def test_it_is_json_of_the_same_document(document: Any) -> None:
    assert json.loads(canonical(document)) == document


@given(st.dictionaries(st.text(max_size=4), _DOCUMENTS, max_size=5), st.randoms())
def test_the_order_of_keys_never_matters(document: dict[str, Any], random: Any) -> None:
    items = list(document.items())
    random.shuffle(items)
    assert canonical(dict(items)) == canonical(document)


@given(_DOCUMENTS, _DOCUMENTS)
def test_different_documents_have_different_bytes(one: Any, other: Any) -> None:
    assert (canonical(one) == canonical(other)) == (
        json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)
    )
    assert (fingerprint(one) == fingerprint(other)) == (canonical(one) == canonical(other))


def test_keys_are_sorted_by_code_point_without_white_space_in_utf_8() -> None:
    assert canonical({"b": [1, {"y": None, "x": True}], "é": "ü", "B": 1.5}) == (
        '{"B":1.5,"b":[1,{"x":true,"y":null}],"é":"ü"}'.encode()
    )


def test_names_that_are_not_utf_8_keep_their_bytes() -> None:
    assert canonical(["\udcff"]) == b'["\xff"]'


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf"), [float("nan")], "\ud800"])
def test_what_has_no_bytes_is_refused(value: Any) -> None:
    with pytest.raises(ValueError):
        canonical(value)


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(TypeError):
        canonical({1, 2})
