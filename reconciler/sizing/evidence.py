"""What earlier runs say of the size that a build needs.

Of each of cpu and memory: the 95th percentile of what the runs used, of fewer than ten the most that any used; a fifth
more; and never less than a floor. What is not known of a run is left out of it. Runs that were alone on their runner
are believed before others, whose figures are those of several builds together (ADR 057).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from reconciler.model.run import Run

ENOUGH = 10
"""Runs from which on a percentile is taken."""
QUANTILE = 0.95
HEADROOM = 1.2
FLOOR_CPU = 2.0
FLOOR_MEMORY_GB = 4.0
_GIB = 1 << 30


class Statistic(StrEnum):
    """What is taken of many values."""

    P95 = "p95"
    MAXIMUM = "maximum"


@dataclass(frozen=True, slots=True)
class Measure:
    """One of cpu (cores) and memory (GiB): the `statistic` of so many `runs` is `used`, which makes `needed`. `alone`:
    all of them were alone on their runner."""

    statistic: Statistic
    used: float
    needed: float
    runs: int
    alone: bool

    def to_json(self) -> dict[str, Any]:
        """As it stands in a sizing document."""
        return {
            "statistic": self.statistic.value,
            "used": round(self.used, 3),
            "needed": round(self.needed, 3),
            "runs": self.runs,
            "alone": self.alone,
        }


@dataclass(frozen=True, slots=True)
class Evidence:
    """Runs that went well, newest first, the artifacts whose they are, and what they say of cpu (cores: seconds of
    processor time for each second that a build took) and of memory (GiB); empty where there are none."""

    runs: tuple[Run, ...] = ()
    artifacts: tuple[str, ...] = ()
    cpu: Measure | None = None
    memory: Measure | None = None

    @classmethod
    def of(cls, runs: Iterable[Run], artifacts: Iterable[str]) -> Evidence:
        """Weighed once, for however many builds it counts."""
        ordered = tuple(sorted(runs, key=lambda run: run.started, reverse=True))
        measures = (_measure(ordered, of, floor) for of, floor in ((_cores, FLOOR_CPU), (_gib, FLOOR_MEMORY_GB)))
        return cls(ordered, tuple(artifacts) if ordered else (), *measures)


def percentile(values: Iterable[float], quantile: float) -> float:
    """Of at least one value, by linear interpolation between the two closest ranks (the inclusive method)."""
    ranked = sorted(values)
    place = quantile * (len(ranked) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ranked) - 1)
    return ranked[below] + (ranked[above] - ranked[below]) * (place - below)


def long_run(seconds: Sequence[float]) -> float:
    """The 95th percentile of at least one duration, of fewer than ten the longest; never less than their median."""
    return max(percentile(seconds, QUANTILE), percentile(seconds, 0.5)) if len(seconds) >= ENOUGH else max(seconds)


def _measure(runs: Sequence[Run], of: Callable[[Run], float | None], floor: float) -> Measure | None:
    """None where no run tells anything."""
    told = [(run.alone, value) for run in runs if run.worked and (value := of(run)) is not None]
    alone = [value for was_alone, value in told if was_alone]
    values = alone or [value for _, value in told]
    if not values:
        return None
    statistic = Statistic.P95 if len(values) >= ENOUGH else Statistic.MAXIMUM
    used = percentile(values, QUANTILE) if statistic is Statistic.P95 else max(values)
    return Measure(statistic, used, max(floor, used * HEADROOM), len(values), bool(alone))


def _cores(run: Run) -> float | None:
    return run.cpu_seconds / run.seconds if run.cpu_seconds is not None and run.seconds > 0 else None


def _gib(run: Run) -> float | None:
    return run.peak_memory / _GIB if run.peak_memory is not None else None
