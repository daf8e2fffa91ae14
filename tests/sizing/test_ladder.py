"""The ladder: what holds a build, and what comes next."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.tier import Ladder, Tier
from reconciler.sizing.ladder import fitting, next_larger
from tests import strategies as some
from tests.commits import LADDER


@given(some.ladders, some.tiers)
def test_the_next_tier_is_always_larger(ladder: Ladder, tier: Tier) -> None:
    after = next_larger(ladder, tier)
    if after is None:
        assert all(one.memory_gb <= tier.memory_gb for one in ladder.tiers)
        return
    assert after.memory_gb > tier.memory_gb
    assert after.cpu >= tier.cpu
    assert after.time_budget == tier.time_budget
    assert ladder.named(after.name) is not None


@given(some.ladders, some.tiers)
def test_no_tier_with_enough_cores_is_passed_over(ladder: Ladder, tier: Tier) -> None:
    after = next_larger(ladder, tier)
    between = [
        one
        for one in ladder.tiers
        if after and one.cpu >= tier.cpu and tier.memory_gb < one.memory_gb < after.memory_gb
    ]
    assert between == []


@given(some.ladders, some.tiers)
def test_a_ladder_has_an_end(ladder: Ladder, tier: Tier) -> None:
    steps, at = 0, tier
    while (after := next_larger(ladder, at)) is not None:
        at, steps = after, steps + 1
    assert steps <= len(ladder.tiers)


@given(some.ladders, st.floats(0, 300), st.floats(0, 5000))
def test_what_fits_is_the_smallest_that_holds_it(ladder: Ladder, cpu: float, memory: float) -> None:
    tier = fitting(ladder, cpu, memory)
    holding = [one for one in ladder.tiers if one.holds(cpu, memory)]
    assert tier == (holding[0] if holding else ladder.tiers[-1] if ladder.tiers else None)


def test_cases() -> None:
    assert next_larger(LADDER, Tier(2, 4, 30, "small")) == Tier(4, 8, 30, "medium")
    assert next_larger(LADDER, Tier(2, 6, 30)) == Tier(4, 8, 30, "medium")
    assert next_larger(LADDER, Tier(16, 4, 30)) == Tier(16, 16, 30, "large"), "no tier has so many cores"
    assert next_larger(LADDER, Tier(8, 4, 30)) == Tier(8, 16, 30, "large"), "a machine that holds all of it"
    assert next_larger(LADDER, Tier(8, 16, 30, "large")) is None
    assert next_larger(Ladder(), Tier(2, 4, 30)) is None
