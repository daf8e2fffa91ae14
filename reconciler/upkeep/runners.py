"""`lian runners`: what is rented for a fleet, and returning what nobody needs any more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.model.problem import LianError
from reconciler.ports.compute import Swept

if TYPE_CHECKING:
    from reconciler.model.problem import Problem
    from reconciler.ports.bundle import Renting
    from reconciler.ports.compute import Outstanding


@dataclass(frozen=True, slots=True)
class RunnerList:
    """What is rented at a `moment` (Unix seconds), and what was `swept` just before. Without a `fleet` only what this
    machine rented is known."""

    moment: float
    fleet: str | None
    runners: tuple[Outstanding, ...]
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
            "runners": list(map(_entry, self.runners)),
            "problems": [problem.to_json() for problem in self.problems],
        }


async def runners(ports: Renting, *, sweep: bool = False) -> RunnerList:
    """All that is rented, by passes of this machine and by those of the fleet. Before that, if told so, what passes
    that died have left is returned. If no commit can be read, only what this machine rented is known. What goes wrong
    is told, and stops nothing else."""
    fleet, unread = await _fleet(ports)
    swept = await ports.compute.sweep(fleet) if sweep else Swept()
    out = await ports.compute.outstanding(fleet)
    problems = dict.fromkeys((*unread, *swept.problems, *out.problems))
    return RunnerList(ports.clock(), fleet, out.leases, swept.leases, tuple(problems))


async def _fleet(ports: Renting) -> tuple[str | None, tuple[Problem, ...]]:
    try:
        return (await ports.source.load()).fleet.name, ()
    except LianError as error:
        return None, error.problems


def _entry(one: Outstanding) -> dict[str, Any]:
    lease = one.lease
    return {
        "lease": one.name,
        "provider": one.provider or None,
        "state": one.state and one.state.value,
        "keeper": one.keeper.value,
        "fleet": lease and lease.fleet,
        "pass": lease and lease.pass_id,
        "builds": lease and lease.purpose,
        "created": lease and lease.created,
        "deadline": lease and lease.deadline,
    }
