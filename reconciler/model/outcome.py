"""What a pass did."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.attempt import FailedTry
    from reconciler.model.cache_use import CacheUse
    from reconciler.model.digest import Digest
    from reconciler.model.forecast import Expected, Score
    from reconciler.model.name import ArtifactName
    from reconciler.model.plan import Action
    from reconciler.model.platform import Platform
    from reconciler.model.problem import Problem
    from reconciler.model.tier import Tier


class Status(StrEnum):
    """How it ended for one artifact."""

    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    HELD = "held"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class Result:
    """One artifact's end. `log` is the path of the whole build log, on this machine."""

    artifact: ArtifactName
    action: Action
    status: Status
    digest: Digest | None = None
    seconds: float = 0.0
    problem: Problem | None = None
    platforms: Mapping[Platform, Digest] = field(default_factory=dict)
    log: str | None = None
    caches: Mapping[Platform, CacheUse] = field(default_factory=dict)
    """What the cache did for each platform that was built."""
    tries: tuple[FailedTry, ...] = ()
    """What of its build failed and was done again, in order."""
    tier: Tier | None = None
    """What a build was given; the last try's."""
    build_seconds: float | None = None
    """How long the try took on its runner that went well: what forecasts are about. None where none did."""
    forecast: Expected | None = None
    """What the plan expected that to be."""
    more: tuple[Problem, ...] = ()
    """What else is wrong with it, beside `problem`: all of it is told at once."""

    @classmethod
    def ended(
        cls,
        artifact: ArtifactName,
        action: Action,
        status: Status,
        problems: Sequence[Problem],
        digest: Digest | None = None,
        seconds: float = 0.0,
    ) -> Result:
        """The end of an artifact, and all of why; what is said of no other is said of this one."""
        said = tuple(dict.fromkeys(p if p.artifact else p.of(str(artifact)) for p in problems))
        return cls(artifact, action, status, digest, seconds, said[0] if said else None, more=said[1:])

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong with it."""
        return (self.problem, *self.more) if self.problem else self.more

    def to_json(self) -> dict[str, Any]:
        """As it stands in outcome.json (schemas/json/outcome.json)."""
        return {
            "artifact": str(self.artifact),
            "action": self.action.value,
            "status": self.status.value,
            "digest": str(self.digest) if self.digest else None,
            "seconds": round(self.seconds, 3),
            "problem": self.problem.to_json() if self.problem else None,
            "platforms": {str(p): str(d) for p, d in self.platforms.items()},
            "log": self.log,
            "caches": {str(p): use.to_json() for p, use in self.caches.items()},
            "tries": [failed.to_json() for failed in self.tries],
            "tier": self.tier.document() if self.tier else None,
            "build_seconds": None if self.build_seconds is None else round(self.build_seconds, 3),
            "forecast": self.forecast.to_json() if self.forecast else None,
            "more": [problem.to_json() for problem in self.more],
        }


@dataclass(frozen=True, slots=True)
class Outcome:
    """All results of one pass, in the plan's order."""

    revision: str
    results: tuple[Result, ...] = ()
    problems: tuple[Problem, ...] = field(default=())
    seconds: float = 0.0
    """How long carrying it out took."""
    forecast: Score | None = None
    """How that was foreseen; None where nothing was to be built."""

    def to_json(self) -> dict[str, Any]:
        """The document of `lian reconcile --once --json`."""
        return {
            "kind": "outcome",
            "version": 1,
            "revision": self.revision,
            "results": [r.to_json() for r in self.results],
            "problems": [p.to_json() for p in self.problems],
            "seconds": round(self.seconds, 3),
            "forecast": self.forecast.to_json() if self.forecast else None,
        }
