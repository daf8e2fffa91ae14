"""How large a build's runner is: what is asked for, which tiers there are, what was chosen."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.measures import amount, count

if TYPE_CHECKING:
    from collections.abc import Mapping

BUILD_SPEC = ".build-spec.ncl"
"""The file in a context's folder that says what its builds need."""
MOST_CPU, MOST_GB, MOST_MINUTES = 256, 4096.0, 1440
"""Of a tier, as schemas/build_spec.ncl bounds them."""
_NAME = re.compile(r"[a-z0-9-]{0,63}")


@dataclass(frozen=True, slots=True)
class RunnerOverride:
    """What a directive asks for; None leaves the choice to the next rule. Minutes for the time budget, `tier` by name;
    the numbers beside it beat those of the tier."""

    cpu: int | None = None
    memory_gb: float | None = None
    time_budget: int | None = None
    tier: str | None = None


@dataclass(frozen=True, slots=True)
class BuildSpec:
    """What the `.build-spec.ncl` in a context's folder says; `file` is its path in the repo. No part of any key."""

    file: str
    cpu: int | None = None
    memory_gb: float | None = None
    time_budget: int | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Tier:
    """Limits of one build: `cpu` cores, `memory_gb` GiB, `time_budget` minutes. `name` is that of the ladder's tier
    which holds them, empty where there is none: what is rented where machines have sizes."""

    cpu: int
    memory_gb: float
    time_budget: int
    name: str = ""

    @property
    def memory_bytes(self) -> int:
        """The memory limit in bytes."""
        return int(self.memory_gb * (1 << 30))

    @property
    def words(self) -> str:
        """`medium (4 cpu, 8 GiB)`."""
        limits = f"{self.cpu} cpu, {self.memory_gb:g} GiB"
        return f"{self.name} ({limits})" if self.name else limits

    def to_json(self) -> dict[str, float]:
        """As it stands in a build record: numbers alone, which every release reads."""
        return {"cpu": self.cpu, "memory_gb": self.memory_gb, "time_budget": self.time_budget}

    def document(self) -> dict[str, Any]:
        """The same, with the name."""
        return {"name": self.name, **self.to_json()}

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> Tier:
        """The inverse of `document`. Raises KeyError, TypeError or ValueError for anything else."""
        cpu, memory, minutes = count(document["cpu"]), document["memory_gb"], count(document["time_budget"])
        if not (1 <= cpu <= MOST_CPU and 0 < amount(memory) <= MOST_GB and 1 <= minutes <= MOST_MINUTES):
            raise ValueError("not a tier: a number is out of bounds")
        if not _NAME.fullmatch(document["name"]):
            raise ValueError("not a tier: the name is of another form")
        return cls(cpu, memory, minutes, document["name"])


@dataclass(frozen=True, slots=True)
class NamedTier:
    """A tier of a ladder. `time_budget` None leaves it to the language, `hourly` None has no price."""

    name: str
    cpu: int
    memory_gb: float
    time_budget: int | None = None
    hourly: float | None = None

    def holds(self, cpu: float, memory_gb: float) -> bool:
        """True if a build that needs so much fits."""
        return self.cpu >= cpu and self.memory_gb >= memory_gb

    def to_json(self) -> dict[str, Any]:
        """As it stands in a document."""
        return {"name": self.name, "cpu": self.cpu, "memory_gb": self.memory_gb, "hourly": self.hourly}


@dataclass(frozen=True, slots=True)
class Ladder:
    """The tiers of a compute provider, smallest first: each has no less of anything than the one before it, and more of
    something. Prices are in `currency`."""

    tiers: tuple[NamedTier, ...] = ()
    currency: str | None = None

    def named(self, name: str) -> NamedTier | None:
        """The tier of this name, None if there is none."""
        return next((tier for tier in self.tiers if tier.name == name), None)


@dataclass(frozen=True, slots=True)
class Sizes:
    """What sizes there are for a fleet, and what a build gets of which nothing is known but its language."""

    ladder: Ladder
    otherwise: Tier
    languages: Mapping[str, Tier] = field(default_factory=dict)

    def of_language(self, language: str | None) -> Tier:
        """The default of a language; that of every other for one that has none of its own."""
        return self.languages.get(language or "", self.otherwise)
