"""How large a build's runner is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunnerOverride:
    """What a directive asks for; None leaves the choice to the next rule. Minutes for the time budget."""

    cpu: int | None = None
    memory_gb: float | None = None
    time_budget: int | None = None


@dataclass(frozen=True, slots=True)
class Tier:
    """Limits of one build: `cpu` cores, `memory_gb` GiB, `time_budget` minutes."""

    cpu: int
    memory_gb: float
    time_budget: int

    @property
    def memory_bytes(self) -> int:
        """The memory limit in bytes."""
        return int(self.memory_gb * (1 << 30))

    def to_json(self) -> dict[str, float]:
        """As it stands in a build record."""
        return {"cpu": self.cpu, "memory_gb": self.memory_gb, "time_budget": self.time_budget}
