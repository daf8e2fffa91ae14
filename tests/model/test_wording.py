"""Numbers, as sentences say them."""

from __future__ import annotations

import pytest

from reconciler.model.wording import count


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
