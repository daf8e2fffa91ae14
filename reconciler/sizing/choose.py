"""The tier of one build, first match wins (design section 6), field by field: the directive's RunnerOverride, the
`.build-spec.ncl` of its context, earlier runs, the default of its language.

What a person wrote is taken as it is. What runs or a language ask for is rounded up to the ladder, for that is what
there is; a build that needs more than the ladder's largest tier gets that one.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.model.tier import MOST_CPU, MOST_GB, BuildSpec, RunnerOverride, Tier
from reconciler.sizing.evidence import Evidence
from reconciler.sizing.ladder import fitting

if TYPE_CHECKING:
    from reconciler.model.artifact import Artifact
    from reconciler.model.tier import Ladder, NamedTier, Sizes
    from reconciler.sizing.evidence import Measure

N = TypeVar("N", int, float)


class Rule(StrEnum):
    """What decides, the first first."""

    DIRECTIVE = "directive"
    BUILD_SPEC = "build-spec"
    EARLIER_RUNS = "earlier-runs"
    TIER = "tier"
    """The fleet's tier that holds the build says how long it may take."""
    LANGUAGE = "language"


_SAID = {Rule.DIRECTIVE, Rule.BUILD_SPEC}
_ORDER = tuple(Rule)


@dataclass(frozen=True, slots=True)
class Field:
    """One limit: which rule decides it, what that rule asks for, and what the build gets."""

    rule: Rule
    needed: float
    given: float
    measure: Measure | None = None
    """What of earlier runs it rests on."""

    @property
    def short(self) -> bool:
        """True if the ladder has nothing that large."""
        return self.given < self.needed

    def to_json(self) -> dict[str, Any]:
        """As it stands in a sizing document."""
        return {
            "rule": self.rule.value,
            "needed": round(self.needed, 3),
            "given": self.given,
            "measure": self.measure.to_json() if self.measure else None,
        }


@dataclass(frozen=True, slots=True)
class Sizing:
    """What a build gets, and why. `machine` is the ladder's tier that holds it, None for a ladder without tiers."""

    tier: Tier
    machine: NamedTier | None
    cpu: Field
    memory: Field
    time: Field
    language: str | None = None
    evidence: Evidence = field(default_factory=Evidence)

    @property
    def rule(self) -> Rule:
        """The first that matched for the size."""
        return min((self.cpu.rule, self.memory.rule), key=_ORDER.index)


def size(artifact: Artifact, spec: BuildSpec | None, evidence: Evidence, sizes: Sizes) -> Sizing:
    """The tier of this artifact's build."""
    said = artifact.runner or RunnerOverride()
    named = sizes.ladder.named(said.tier) if said.tier else None
    if named is not None:
        said = RunnerOverride(
            _first(said.cpu, named.cpu),
            _first(said.memory_gb, named.memory_gb),
            _first(said.time_budget, named.time_budget),
            named.name,
        )
    spec = spec or BuildSpec("")
    language = artifact.language or spec.language
    usual = sizes.of_language(language)
    cpu, memory = _rounded(
        _field(said.cpu, spec.cpu, evidence.cpu, usual.cpu),
        _field(said.memory_gb, spec.memory_gb, evidence.memory, usual.memory_gb),
        sizes.ladder,
    )
    machine = named or fitting(sizes.ladder, cpu.given, memory.given)
    time = _time(said, spec, machine, usual)
    tier = Tier(int(cpu.given), memory.given, int(time.given), machine.name if machine else "")
    return Sizing(tier, machine, cpu, memory, time, language, evidence)


def _first(*values: N | None) -> N | None:
    return next((value for value in values if value is not None), None)


def _field(said: float | None, spec: float | None, measure: Measure | None, usual: float) -> Field:
    if said is not None:
        return Field(Rule.DIRECTIVE, said, said)
    if spec is not None:
        return Field(Rule.BUILD_SPEC, spec, spec)
    if measure is not None:
        return Field(Rule.EARLIER_RUNS, measure.needed, measure.needed, measure)
    return Field(Rule.LANGUAGE, usual, usual)


def _rounded(cpu: Field, memory: Field, ladder: Ladder) -> tuple[Field, Field]:
    """Both as the ladder has them, but for what a person wrote; without a ladder a build gets whole cores, and no more
    of anything than a person may write."""
    open_cpu, open_memory = (0.0 if one.rule in _SAID else one.needed for one in (cpu, memory))
    tier = fitting(ladder, open_cpu, open_memory)
    cores = tier.cpu if tier else min(math.ceil(cpu.needed), MOST_CPU)
    gib = tier.memory_gb if tier else min(memory.needed, MOST_GB)
    return (
        cpu if cpu.rule in _SAID else _given(cpu, cores),
        memory if memory.rule in _SAID else _given(memory, gib),
    )


def _given(one: Field, value: float) -> Field:
    return Field(one.rule, one.needed, value, one.measure)


def _time(said: RunnerOverride, spec: BuildSpec, machine: NamedTier | None, usual: Tier) -> Field:
    """Minutes. Runs say nothing of them: a budget is for builds that hang."""
    found = (
        (Rule.DIRECTIVE, said.time_budget),
        (Rule.BUILD_SPEC, spec.time_budget),
        (Rule.TIER, machine.time_budget if machine else None),
        (Rule.LANGUAGE, usual.time_budget),
    )
    rule, minutes = next((rule, value) for rule, value in found if value is not None)
    return Field(rule, minutes, minutes)
