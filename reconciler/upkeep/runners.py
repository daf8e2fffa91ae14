"""`lian runners`: what is rented for a fleet, and returning what nobody needs any more."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.problem import LianError
from reconciler.model.tier import Ladder
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
    provider: str = ""
    """The one whose `ladder` it is."""
    ladder: Ladder = field(default_factory=Ladder)

    def cost(self, one: Outstanding) -> float | None:
        """What it has cost so far, in the ladder's currency, by the price that an hour has now; None where that is not
        known. Parts of an hour cost parts of its price."""
        tier = self.ladder.named(one.lease.tier) if one.lease and one.provider == self.provider else None
        if one.lease is None or tier is None or tier.hourly is None:
            return None
        return tier.hourly * max(0.0, self.moment - one.lease.created) / 3600

    def to_json(self) -> dict[str, Any]:
        """The document of schemas/json/runners.json."""
        return {
            "kind": "runners",
            "version": 1,
            "moment": self.moment,
            "fleet": self.fleet,
            "swept": list(self.swept),
            "currency": self.ladder.currency,
            "runners": [_entry(one, self.cost(one)) for one in self.runners],
            "problems": [problem.to_json() for problem in self.problems],
        }


async def runners(ports: Renting, *, sweep: bool = False) -> RunnerList:
    """All that is rented, by passes of this machine and by those of the fleet. Before that, if told so, what passes
    that died have left is returned. If no commit can be read, only what this machine rented is known. What goes wrong
    is told, and stops nothing else."""
    known, unread = await _known(ports)
    fleet = known.fleet
    swept = await ports.compute.sweep(fleet) if sweep else Swept()
    out = await ports.compute.outstanding(fleet)
    problems = dict.fromkeys((*unread, *swept.problems, *swept.unseen, *out.problems))
    return RunnerList(ports.clock(), fleet, out.leases, swept.leases, tuple(problems), known.provider, known.ladder)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the commit's settings say."""

    fleet: str | None = None
    provider: str = ""
    ladder: Ladder = field(default_factory=Ladder)


async def _known(ports: Renting) -> tuple[_Known, tuple[Problem, ...]]:
    try:
        fleet = (await ports.source.load()).fleet
        return _Known(fleet.name, fleet.compute.provider.value, (await ports.source.sizes()).ladder), ()
    except LianError as error:
        return _Known(), error.problems


def _entry(one: Outstanding, cost: float | None) -> dict[str, Any]:
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
        "tier": (lease and lease.tier) or None,
        "cost": None if cost is None else round(cost, 6),
    }
