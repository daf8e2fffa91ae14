"""Numbers, as sentences say them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from reconciler.model.wording import NAMED, count, short, some

if TYPE_CHECKING:
    from collections.abc import Sequence


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (count(0, "image"), "0 images"),
        (count(1, "image"), "1 image"),
        (count(2_000, "image"), "2,000 images"),
        (count(1, "repository", "repositories"), "1 repository"),
        (count(2, "repository", "repositories"), "2 repositories"),
    ],
)
def test_one_is_singular_and_all_else_plural(told: str, said: str) -> None:
    assert told == said


@pytest.mark.parametrize(
    ("names", "said"),
    [
        ([], ""),
        (["a"], "a"),
        (["a", "b"], "a, b"),
        (["b", "a", "c"], "b, a and 1 more"),
        (range(2_002), "0, 1 and 2,000 more"),
    ],
)
def test_the_first_few_stand_for_all(names: Sequence[object], said: str) -> None:
    assert some(names, 2) == said


def test_how_few_is_the_same_wherever_nothing_else_is_asked_for() -> None:
    assert some("abcde") == some("abcde", NAMED) == "a, b, c and 2 more"


@pytest.mark.parametrize("value", ["0123456789ab" * 3, "sha256:0123456789abcdef", "sha512:0123456789abcdef"])
def test_commits_and_digests_are_known_by_twelve_digits(value: str) -> None:
    assert short(value) == "0123456789ab"
    assert short("") == ""
