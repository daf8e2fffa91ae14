"""The tier of a build: an override, else the language's default."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given

from reconciler.model.tier import RunnerOverride, Tier
from reconciler.sizing.choose import tier_for
from tests import strategies as some
from tests.commits import artifact

if TYPE_CHECKING:
    from reconciler.model.artifact import Artifact


@pytest.mark.parametrize(
    ("language", "tier"),
    [
        ("rust", Tier(4, 8, 60)),
        ("go", Tier(2, 4, 30)),
        ("java", Tier(4, 8, 45)),
        ("kotlin", Tier(4, 8, 45)),
        ("scala", Tier(4, 8, 45)),
        ("perl", Tier(2, 4, 30)),
        ("Rust", Tier(2, 4, 30)),
        ("", Tier(2, 4, 30)),
        (None, Tier(2, 4, 30)),
    ],
)
def test_the_languages_have_defaults(language: str | None, tier: Tier) -> None:
    assert tier_for(artifact("shop/api", language=language)) == tier


@given(some.artifacts, some.overrides)
def test_an_override_wins_where_it_says_something(a: Artifact, override: RunnerOverride) -> None:
    default, chosen = tier_for(replace(a, runner=None)), tier_for(replace(a, runner=override))
    for part in ("cpu", "memory_gb", "time_budget"):
        asked = getattr(override, part)
        assert getattr(chosen, part) == (getattr(default, part) if asked is None else asked)


@given(some.artifacts)
def test_a_tier_is_a_usable_limit(a: Artifact) -> None:
    tier = tier_for(a)
    assert tier.memory_bytes == int(tier.memory_gb * 2**30) > 0
    assert tier.to_json() == {"cpu": tier.cpu, "memory_gb": tier.memory_gb, "time_budget": tier.time_budget}
