"""What the cache did for a build: what was looked at, which steps it spared, what was read and written."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.model.cache import CacheMode
from reconciler.model.digest import Digest
from reconciler.model.measures import count, seconds
from reconciler.model.mount_use import MountUse
from reconciler.model.problem import Problem

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class StepRun:
    """An instruction of the Dockerfile that a build came by: taken from a cache (a `hit`), or run for so many
    `seconds`."""

    name: str
    hit: bool
    seconds: float


class LookStatus(StrEnum):
    """What was found where a cache might lie."""

    READ = "read"
    """A cache, which the build was given."""
    ABSENT = "absent"
    UNREADABLE = "unreadable"
    """The registry did not say, or not what a registry says."""
    FOREIGN = "foreign"
    """Something that is no cache, or one that points elsewhere."""
    TOO_LARGE = "too-large"
    """More than BuildKit reads of a cache's description."""
    STALE = "stale"
    """Made before the artifact asked to be fresh (`max_age`, `os_epoch`, `builder`)."""
    UNFINISHED = "unfinished"
    """Written by a build that has not ended, or not well."""
    BROKEN = "broken"
    """It lacks what it promises."""
    SET_ASIDE = "set-aside"
    """Nothing is wrong with it: the build failed on another one, and was done again without any."""


@dataclass(frozen=True, slots=True)
class CacheLook:
    """One place that was looked at before a build, and why what lies there was not used."""

    reference: str
    status: LookStatus
    digest: Digest | None = None
    cause: str | None = None

    def to_json(self) -> dict[str, Any]:
        """As it stands in records and outcomes."""
        digest = str(self.digest) if self.digest else None
        return {"reference": self.reference, "status": self.status.value, "digest": digest, "cause": self.cause}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> CacheLook:
        """Raises KeyError, TypeError or ValueError for anything else."""
        digest, cause = document["digest"], document["cause"]
        return cls(
            str(document["reference"]),
            LookStatus(document["status"]),
            Digest.parse(digest) if digest is not None else None,
            None if cause is None else str(cause),
        )


@dataclass(frozen=True, slots=True)
class CachedStep:
    """A step of a build, with the seconds that running it takes: measured now, or known from when it last ran (None
    where nobody knows)."""

    name: str
    hit: bool
    seconds: float | None = None

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> CachedStep:
        """Raises KeyError, TypeError or ValueError for anything else."""
        took = document["seconds"]
        return cls(str(document["name"]), bool(document["hit"]), None if took is None else seconds(took))


@dataclass(frozen=True, slots=True)
class CacheUse:
    """What the cache did for one build. `pulled` and `pushed` in bytes; `written` is where its own cache went."""

    mode: CacheMode
    looked: tuple[CacheLook, ...] = ()
    steps: tuple[CachedStep, ...] = ()
    pulled: int = 0
    pushed: int = 0
    written: str | None = None
    problem: Problem | None = None
    """Why the cache was not written, or not used at all. The build is good all the same."""
    mounts: MountUse = field(default_factory=MountUse)
    """What became of its cache mounts, where they are kept."""

    @property
    def hits(self) -> int:
        """Steps that were taken from a cache."""
        return sum(step.hit for step in self.steps)

    @property
    def saved(self) -> float:
        """Seconds that the steps taken from a cache would have run for, as far as that is known."""
        return sum(step.seconds or 0.0 for step in self.steps if step.hit)

    def to_json(self) -> dict[str, Any]:
        """As it stands in records and outcomes."""
        return {
            "mode": self.mode.value,
            "looked": [look.to_json() for look in self.looked],
            "steps": [{"name": s.name, "hit": s.hit, "seconds": s.seconds} for s in self.steps],
            "hits": self.hits,
            "misses": len(self.steps) - self.hits,
            "pulled": self.pulled,
            "pushed": self.pushed,
            "saved": round(self.saved, 3),
            "written": self.written,
            "problem": self.problem.to_json() if self.problem else None,
            "mounts": self.mounts.to_json(),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> CacheUse:
        """Raises KeyError, TypeError or ValueError for anything else."""
        problem, written = document["problem"], document["written"]
        return cls(
            CacheMode(document["mode"]),
            tuple(CacheLook.from_json(look) for look in document["looked"]),
            tuple(CachedStep.from_json(s) for s in document["steps"]),
            count(document["pulled"]),
            count(document["pushed"]),
            None if written is None else str(written),
            None if problem is None else Problem.from_json(problem),
            MountUse.from_json(document["mounts"]),
        )
