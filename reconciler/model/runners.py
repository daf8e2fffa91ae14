"""What `lian runners` tells."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.model.lease import Lease
    from reconciler.model.problem import Problem


@dataclass(frozen=True, slots=True)
class RunnerEntry:
    """One runner. `lease` is None and `provider` empty if what is noted of it cannot be read; `state` is None where its
    provider has nothing of that name. `keeper` says who has it (ports/compute.py)."""

    name: str
    provider: str
    lease: Lease | None
    state: str | None
    keeper: str

    def to_json(self) -> dict[str, Any]:
        """One of `runners` in schemas/json/runners.json."""
        lease = self.lease
        return {
            "lease": self.name,
            "provider": self.provider or None,
            "state": self.state,
            "keeper": self.keeper,
            "fleet": lease and lease.fleet,
            "pass": lease and lease.pass_id,
            "builds": lease and lease.purpose,
            "created": lease and lease.created,
            "deadline": lease and lease.deadline,
        }


@dataclass(frozen=True, slots=True)
class RunnerList:
    """What is rented at a `moment` (Unix seconds), and what was `swept` just before. Without a `fleet` only what this
    machine rented is known."""

    moment: float
    fleet: str | None
    runners: tuple[RunnerEntry, ...]
    swept: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document of schemas/json/runners.json."""
        return {
            "kind": "runners",
            "version": 1,
            "moment": self.moment,
            "fleet": self.fleet,
            "swept": list(self.swept),
            "runners": [one.to_json() for one in self.runners],
            "problems": [problem.to_json() for problem in self.problems],
        }
