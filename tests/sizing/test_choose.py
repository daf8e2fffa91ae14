"""The tier of a build: the first rule that says something decides, field by field."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.model.run import Run
from reconciler.model.tier import BuildSpec, Ladder, RunnerOverride, Tier
from reconciler.sizing.choose import Rule, size
from reconciler.sizing.evidence import Evidence
from tests import strategies as some
from tests.commits import LADDER, SIZES, artifact

if TYPE_CHECKING:
    from reconciler.model.artifact import Artifact
    from reconciler.model.tier import Sizes

NOTHING = Evidence()
PARTS = ("cpu", "memory_gb", "time_budget")


@pytest.mark.parametrize(
    ("language", "tier"),
    [
        ("rust", Tier(4, 8, 60, "medium")),
        ("go", Tier(2, 4, 30, "small")),
        ("java", Tier(4, 8, 45, "medium")),
        ("perl", Tier(2, 4, 30, "small")),
        ("Rust", Tier(2, 4, 30, "small")),
        ("", Tier(2, 4, 30, "small")),
        (None, Tier(2, 4, 30, "small")),
    ],
)
def test_the_languages_have_defaults(language: str | None, tier: Tier) -> None:
    sizing = size(artifact("shop/api", language=language), None, NOTHING, SIZES)
    assert (sizing.tier, sizing.rule) == (tier, Rule.LANGUAGE)


@given(some.artifacts, some.overrides)
def test_an_override_wins_where_it_says_something(a: Artifact, override: RunnerOverride) -> None:
    default, chosen = (
        size(replace(a, runner=runner), None, NOTHING, SIZES).tier for runner in (None, replace(override, tier=None))
    )
    for part in PARTS:
        asked = getattr(override, part)
        assert getattr(chosen, part) == (getattr(default, part) if asked is None else asked)


@given(some.artifacts, some.specs, some.evidences, some.all_sizes)
def test_a_tier_is_a_usable_limit(a: Artifact, spec: BuildSpec | None, evidence: Evidence, sizes: Sizes) -> None:
    tier = size(a, spec, evidence, sizes).tier
    assert tier.memory_bytes == int(tier.memory_gb * 2**30) > 0
    assert 1 <= tier.cpu <= 256 and isinstance(tier.cpu, int)
    assert tier.memory_gb <= 4096
    assert 1 <= tier.time_budget <= 1440
    assert tier.to_json() == {"cpu": tier.cpu, "memory_gb": tier.memory_gb, "time_budget": tier.time_budget}


@given(some.artifacts, some.specs, some.evidences, some.all_sizes)
def test_the_first_match_wins(a: Artifact, spec: BuildSpec | None, evidence: Evidence, sizes: Sizes) -> None:
    """Each field is the first rule's that says something of it, and no later rule changes it."""
    sizing = size(a, spec, evidence, sizes)
    said = a.runner or RunnerOverride()
    named = sizes.ladder.named(said.tier) if said.tier else None
    for part, field, measure in (("cpu", sizing.cpu, evidence.cpu), ("memory_gb", sizing.memory, evidence.memory)):
        own, in_spec = getattr(said, part), getattr(spec, part, None)
        if own is not None:
            assert (field.rule, field.given) == (Rule.DIRECTIVE, own)
        elif named is not None:
            assert (field.rule, field.given) == (Rule.DIRECTIVE, getattr(named, part))
        elif in_spec is not None:
            assert (field.rule, field.given) == (Rule.BUILD_SPEC, in_spec)
        elif measure is not None:
            assert (field.rule, field.needed) == (Rule.EARLIER_RUNS, measure.needed)
        else:
            assert field.rule is Rule.LANGUAGE
    assert sizing.rule in (sizing.cpu.rule, sizing.memory.rule)


@given(some.artifacts, some.evidences, some.all_sizes)
def test_what_nobody_wrote_is_a_size_of_the_ladder_that_holds_it_or_the_largest(
    a: Artifact, evidence: Evidence, sizes: Sizes
) -> None:
    sizing = size(replace(a, runner=None), None, evidence, sizes)
    if not sizes.ladder.tiers:
        assert sizing.machine is None
        assert sizing.tier.cpu >= min(sizing.cpu.needed, 256) and sizing.tier.memory_gb == sizing.memory.needed
        return
    machine = sizing.machine
    assert machine in sizes.ladder.tiers
    assert (sizing.tier.cpu, sizing.tier.memory_gb, sizing.tier.name) == (machine.cpu, machine.memory_gb, machine.name)
    assert machine.holds(sizing.cpu.needed, sizing.memory.needed) or machine == sizes.ladder.tiers[-1]
    smaller = sizes.ladder.tiers[: sizes.ladder.tiers.index(machine)]
    assert not any(tier.holds(sizing.cpu.needed, sizing.memory.needed) for tier in smaller)


@given(some.artifacts, some.runs, st.lists(some.runs, max_size=12), some.all_sizes)
def test_evidence_never_asks_for_less_than_the_floor(a: Artifact, one: Run, more: list[Run], sizes: Sizes) -> None:
    sizing = size(replace(a, runner=None), None, Evidence.of([one, *more], ["shop/api"]), sizes)
    for field, floor in ((sizing.cpu, 2), (sizing.memory, 4)):
        assert field.rule is not Rule.EARLIER_RUNS or field.needed >= floor


@pytest.mark.parametrize(
    ("runner", "spec", "tier", "rules"),
    [
        (RunnerOverride(tier="large"), None, Tier(8, 16, 30, "large"), ("directive", "directive", "language")),
        (RunnerOverride(tier="large", memory_gb=6), None, Tier(8, 6, 30, "large"), ("directive",) * 2 + ("language",)),
        (RunnerOverride(cpu=3), BuildSpec("x", memory_gb=5, time_budget=7), Tier(3, 5, 7, "medium"),
         ("directive", "build-spec", "build-spec")),
        (RunnerOverride(cpu=8), None, Tier(8, 4, 30, "large"), ("directive", "language", "language")),
        (None, BuildSpec("x", language="rust"), Tier(4, 8, 60, "medium"), ("language",) * 3),
        (None, BuildSpec("x", memory_gb=64), Tier(2, 64, 30, "large"), ("language", "build-spec", "language")),
        (None, None, Tier(2, 4, 30, "small"), ("language",) * 3),
    ],
)  # fmt: skip
def test_cases(runner: RunnerOverride | None, spec: BuildSpec | None, tier: Tier, rules: tuple[str, ...]) -> None:
    sizing = size(artifact("shop/api", runner=runner), spec, NOTHING, SIZES)
    assert sizing.tier == tier
    assert (sizing.cpu.rule, sizing.memory.rule, sizing.time.rule) == rules


def test_a_directives_language_beats_that_of_the_spec() -> None:
    sizing = size(artifact("shop/api", language="go"), BuildSpec("x", language="rust"), NOTHING, SIZES)
    assert (sizing.language, sizing.tier.cpu) == ("go", 2)


def test_the_fleets_tier_says_how_long_a_build_on_it_may_take() -> None:
    timed = Ladder(tuple(replace(tier, time_budget=5) for tier in LADDER.tiers))
    sizing = size(artifact("shop/api"), None, NOTHING, replace(SIZES, ladder=timed))
    assert (sizing.time.rule, sizing.tier.time_budget) == (Rule.TIER, 5)
    own = size(artifact("shop/api"), BuildSpec("x", time_budget=9), NOTHING, replace(SIZES, ladder=timed))
    assert own.tier.time_budget == 9


def test_without_a_ladder_no_more_is_given_than_a_person_may_write() -> None:
    """A run of a millisecond that a clock with a coarse tick gave hundreds of cores."""
    run = Run("2026-01-01T00:00:00.000000Z", 0.001, Tier(1, 1, 1), 5000 << 30, 0.3, 0, 0, 1, True)
    sizing = size(artifact("shop/api"), None, Evidence.of([run], ["shop/api"]), replace(SIZES, ladder=Ladder()))
    assert (sizing.tier.cpu, sizing.tier.memory_gb) == (256, 4096)
    assert sizing.cpu.short and sizing.memory.short


def test_a_build_that_needs_more_than_there_is_gets_the_largest_and_is_told() -> None:
    tiny = replace(SIZES, ladder=Ladder(LADDER.tiers[:1]))
    sizing = size(artifact("shop/api", language="rust"), None, NOTHING, tiny)
    assert (sizing.tier.name, sizing.cpu.short, sizing.memory.short) == ("small", True, True)
