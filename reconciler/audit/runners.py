"""`lian runners`: what is rented for a fleet, and returning what nobody needs any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.problem import LianError
from reconciler.model.runners import RunnerEntry, RunnerList

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.problem import Problem
    from reconciler.ports.bundle import Renting
    from reconciler.ports.compute import Outstanding


async def runners(ports: Renting, *, sweep: bool = False) -> RunnerList:
    """All that is rented, by passes of this machine and by those of the fleet. Before that, if told so, what passes
    that died have left is returned. If no commit can be read, only what this machine rented is known. What goes wrong
    is told, and stops nothing else."""
    problems: list[Problem] = []
    fleet = None
    try:
        fleet = (await ports.source.load()).fleet.name
    except LianError as error:
        problems += error.problems
    swept: Sequence[str] = ()
    if sweep:
        try:
            swept = await ports.compute.sweep(fleet)
        except LianError as error:
            problems += error.problems
    out: Sequence[Outstanding] = ()
    try:
        out = await ports.compute.outstanding(fleet)
    except LianError as error:
        problems += error.problems
    return RunnerList(ports.clock(), fleet, tuple(map(_entry, out)), tuple(swept), tuple(dict.fromkeys(problems)))


def _entry(one: Outstanding) -> RunnerEntry:
    state = None if one.state is None else one.state.value
    return RunnerEntry(one.name, one.provider, one.lease, state, one.keeper.value)
