"""`lian stats`: what builds took, by the runs that build records hold, and how good forecasts of that were."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.audit.chosen import chosen
from reconciler.model.forecast import Accuracy
from reconciler.observe.evidence import runs_of_all
from reconciler.plan.score import accuracy
from reconciler.plan.select import Selection, select
from reconciler.reconcile import load
from reconciler.sizing.evidence import long_run, percentile

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.name import ArtifactName
    from reconciler.model.problem import Problem
    from reconciler.model.run import Run
    from reconciler.ports.bundle import Reading

SLOWEST = 10
"""Artifacts that are named as the slowest."""


@dataclass(frozen=True, slots=True)
class Figures:
    """Of some artifacts, and of the runs that are known of those that have any. Seconds and bytes; None of none."""

    artifacts: int
    built: int
    builds: int
    p50: float | None = None
    p95: float | None = None
    peak_memory: int | None = None
    hits: int = 0
    steps: int = 0
    forecasts: Accuracy = field(default_factory=Accuracy)

    @classmethod
    def of(cls, runs: Mapping[ArtifactName, Sequence[Run]]) -> Figures:
        """Of these artifacts."""
        every = [run for those in runs.values() for run in those]
        seconds = [run.seconds for run in every]
        return cls(
            len(runs),
            sum(bool(those) for those in runs.values()),
            len(every),
            percentile(seconds, 0.5) if seconds else None,
            long_run(seconds) if seconds else None,
            max((run.peak_memory for run in every if run.peak_memory is not None), default=None),
            sum(run.hits for run in every),
            sum(run.steps for run in every),
            accuracy((run.forecast, run.seconds) for run in every if run.forecast),
        )

    def to_json(self) -> dict[str, Any]:
        """As it stands in stats.json."""
        return {
            "artifacts": self.artifacts,
            "built": self.built,
            "builds": self.builds,
            "p50": None if self.p50 is None else round(self.p50, 3),
            "p95": None if self.p95 is None else round(self.p95, 3),
            "peak_memory": self.peak_memory,
            "hits": self.hits,
            "steps": self.steps,
            "forecasts": self.forecasts.to_json(),
        }


@dataclass(frozen=True, slots=True)
class Slow:
    """One artifact, by the median of its runs."""

    artifact: ArtifactName
    builds: int
    p50: float
    p95: float

    def to_json(self) -> dict[str, Any]:
        """As it stands in stats.json."""
        return {
            "artifact": str(self.artifact),
            "builds": self.builds,
            "p50": round(self.p50, 3),
            "p95": round(self.p95, 3),
        }


@dataclass(frozen=True, slots=True)
class Stats:
    """By workspace, and of all; `unread` is what stood in the way of runs."""

    revision: str
    workspaces: Mapping[str, Figures]
    all: Figures
    slowest: tuple[Slow, ...] = ()
    problems: tuple[Problem, ...] = ()
    unread: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document of `lian stats --json`."""
        return {
            "kind": "stats",
            "version": 1,
            "revision": self.revision,
            "workspaces": [{"workspace": name, **one.to_json()} for name, one in self.workspaces.items()],
            "all": self.all.to_json(),
            "slowest": [one.to_json() for one in self.slowest],
            "problems": [problem.to_json() for problem in self.problems],
            "unread": [problem.to_json() for problem in self.unread],
        }


async def stats(ports: Reading, only: Sequence[str]) -> Stats:
    """Of the chosen artifacts of the commit. Raises LianError `selection-empty` for a glob that matches nothing, or if
    no commit can be read."""
    desired = await load(ports)
    select(desired, Selection(tuple(only)))
    names = [name for name in sorted(desired.wanted) if chosen(name, only)]
    runs, unread = await runs_of_all(ports.registry, desired, names)
    homes: dict[str, dict[ArtifactName, Sequence[Run]]] = defaultdict(dict)
    for name in names:
        homes[name.workspace][name] = runs[name]
    workspaces = {home: Figures.of(those) for home, those in homes.items()}
    return Stats(desired.revision, workspaces, Figures.of(runs), _slowest(runs), desired.problems, unread)


def _slowest(runs: Mapping[ArtifactName, Sequence[Run]]) -> tuple[Slow, ...]:
    """The first of them; of equals the first by name."""
    told = (Slow(name, len(those), *_times(run.seconds for run in those)) for name, those in runs.items() if those)
    return tuple(sorted(told, key=lambda one: (-one.p50, one.artifact))[:SLOWEST])


def _times(seconds: Iterable[float]) -> tuple[float, float]:
    taken = list(seconds)
    return percentile(taken, 0.5), long_run(taken)
