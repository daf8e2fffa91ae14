"""Platforms in BuildKit's normal form."""

from __future__ import annotations

import pytest
from hypothesis import given

from reconciler.model.platform import Platform
from tests import strategies as some


@given(some.platforms)
def test_parse_and_print_are_inverse(platform: Platform) -> None:
    assert Platform.parse(str(platform)) == platform


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64"),
        ("linux/amd64/v2", "linux/amd64/v2"),
        ("linux/aarch64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm", "linux/arm/v7"),
        ("linux/arm/v6", "linux/arm/v6"),
    ],
)
def test_one_platform_has_one_form(text: str, normal: str) -> None:
    assert str(Platform.parse(text)) == normal
    assert Platform.parse(normal) == Platform.parse(text)


@pytest.mark.parametrize(
    "text", ["", "linux", "linux/", "/amd64", "Linux/amd64", "linux/amd64/8", "a/b/v1/c", "linux/amd64\n"]
)
def test_the_error_quotes_what_is_no_platform(text: str) -> None:
    with pytest.raises(ValueError, match="not a platform") as raised:
        Platform.parse(text)
    assert repr(text) in str(raised.value)


def test_the_index_object_has_a_variant_only_where_there_is_one() -> None:
    assert Platform.parse("linux/amd64").to_json() == {"architecture": "amd64", "os": "linux"}
    assert Platform.parse("linux/arm").to_json() == {"architecture": "arm", "os": "linux", "variant": "v7"}
