"""Names of artifacts, and of what they stand in."""

from __future__ import annotations

import pytest
from hypothesis import given

from reconciler.model.name import ArtifactName, is_name
from tests import strategies as some


@given(some.artifact_names)
def test_parse_and_print_are_inverse(name: ArtifactName) -> None:
    assert ArtifactName.parse(str(name)) == name
    assert ArtifactName.parse(name.artifact, name.workspace) == name
    assert ArtifactName.parse(str(name), "elsewhere") == name


@pytest.mark.parametrize(
    "text", ["", "a", "a/", "/a", "a/b/c", "A/b", "a/b_c", "a/-b", "a/b-", "a/b\n", "a/" + "b" * 64]
)
def test_the_error_quotes_what_is_no_name(text: str) -> None:
    with pytest.raises(ValueError, match="not an artifact's name") as raised:
        ArtifactName.parse(text)
    assert repr(text[:140]) in str(raised.value)


@pytest.mark.parametrize(
    ("text", "right"), [("a" * 63, True), ("a" * 64, False), ("a--b", True), ("a-", False), ("ä", False)]
)
def test_the_grammar_has_its_bounds(text: str, right: bool) -> None:
    assert is_name(text) is right
