"""What a build is expected to take before it has begun, and how good that turned out to be. Times in seconds."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.model.measures import count, seconds

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.name import ArtifactName
    from reconciler.model.tier import Tier


class Basis(StrEnum):
    """Whose earlier runs a forecast rests on."""

    ARTIFACT = "artifact"
    WORKSPACE = "workspace"
    """Others of the workspace, written in the same language: the artifact has none of its own."""


class Warmth(StrEnum):
    """Whether a build is expected to find a cache that it may read."""

    WARM = "warm"
    COLD = "cold"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Expected:
    """How long a build takes: half of those like it took no longer than `p50`, 19 of 20 no longer than `p95`. It rests
    on so many `runs`. Raises ValueError for percentiles in the wrong order."""

    p50: float
    p95: float
    runs: int
    basis: Basis = Basis.ARTIFACT

    def __post_init__(self) -> None:
        if self.p50 > self.p95:
            raise ValueError("the 95th percentile is less than the median")

    def to_json(self) -> dict[str, Any]:
        """As it stands in build records, plans and outcomes."""
        return {
            "p50": round(self.p50, 3),
            "p95": round(self.p95, 3),
            "runs": self.runs,
            "basis": self.basis.value,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Expected:
        """Raises KeyError, TypeError or ValueError for anything else."""
        return cls(
            seconds(document["p50"]), seconds(document["p95"]), count(document["runs"]), Basis(document["basis"])
        )


@dataclass(frozen=True, slots=True)
class BuildForecast:
    """Of one build of a plan. `time` is None where nothing like it was ever built; it is a bound, `at_most`, where a
    cache is expected and no run had one. `cost`, in the plan's currency, is that of its P50 on a runner of its own,
    None where nobody says what one costs."""

    tier: Tier
    warmth: Warmth
    time: Expected | None = None
    cost: float | None = None
    at_most: bool = False

    def to_json(self) -> dict[str, Any]:
        """As it stands in plan.json."""
        return {
            "tier": self.tier.document(),
            "cache": self.warmth.value,
            "time": self.time.to_json() if self.time else None,
            "cost": None if self.cost is None else round(self.cost, 6),
            "at_most": self.at_most,
        }


@dataclass(frozen=True, slots=True)
class Span:
    """Of a whole pass: `least` what is certain, without builds that may turn out not to be needed, and without those of
    which only a bound is known; `most` with all of them; `p95` if, moreover, each takes as long as its own P95."""

    least: float
    most: float
    p95: float

    def to_json(self, digits: int = 3) -> dict[str, Any]:
        """As it stands in plan.json and outcome.json."""
        return {"least": round(self.least, digits), "most": round(self.most, digits), "p95": round(self.p95, digits)}


@dataclass(frozen=True, slots=True)
class PassForecast:
    """Of all builds of a plan, so many `jobs` at a time. Builds whose time is not `known` count as nothing: with such
    ones all times, and the cost, are the least. `compute` is the sum over builds, `wall` what a clock shows."""

    jobs: int
    builds: int
    known: int
    _: KW_ONLY
    compute: Span
    wall: Span
    longest: tuple[ArtifactName, ...] = ()
    """The path of builds, each on the one before, that takes longest: no number of jobs makes it shorter."""
    longest_seconds: float = 0.0
    warm: int = 0
    """Builds that are expected to find a cache."""
    fewest: int = 0
    """Runs that the forecast of a build rests on, of the one with the fewest; of none 0."""
    cost: Span | None = None
    currency: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in plan.json."""
        return {
            "jobs": self.jobs,
            "builds": self.builds,
            "known": self.known,
            "compute": self.compute.to_json(),
            "wall": self.wall.to_json(),
            "longest_path": {
                "artifacts": [str(name) for name in self.longest],
                "seconds": round(self.longest_seconds, 3),
            },
            "warm": self.warm,
            "fewest_runs": self.fewest,
            "cost": self.cost.to_json(6) if self.cost else None,
            "currency": self.currency,
        }


@dataclass(frozen=True, slots=True)
class Accuracy:
    """How good the forecasts of so many `builds` were: how many of these took no longer than their P50 and P95, and the
    median of how far they were from their P50, as a share of what they took; None of none."""

    builds: int = 0
    within_p50: int = 0
    within_p95: int = 0
    median_error: float | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in documents."""
        return {
            "builds": self.builds,
            "within_p50": self.within_p50,
            "within_p95": self.within_p95,
            "median_error": None if self.median_error is None else round(self.median_error, 4),
        }


@dataclass(frozen=True, slots=True)
class Score:
    """A pass beside what was expected of it: `wall` None where nothing was known, or where not all of its builds went
    well, `took` what a clock showed."""

    took: float
    wall: Span | None = None
    builds: Accuracy = field(default_factory=Accuracy)

    def to_json(self) -> dict[str, Any]:
        """As it stands in outcome.json."""
        return {
            "took": round(self.took, 3),
            "wall": self.wall.to_json() if self.wall else None,
            **self.builds.to_json(),
        }
