"""Carrying out a prune's plan, after a look whether it is still right."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.apply.prune import deletes, prune
from reconciler.finishing import all_of
from reconciler.model.problem import LianError
from reconciler.model.removal import Pruned, PruneStatus
from reconciler.observe.kept import unmoved

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.model.removal import PrunePlan, Removal
    from reconciler.ports.bundle import Removing

AT_ONCE = 4
"""Repositories that are pruned at a time."""


async def prune_once(
    ports: Removing, plan: PrunePlan, told: Callable[[Pruned], None] = lambda pruned: None
) -> tuple[Pruned, ...]:
    """What became of each repository of the plan, in its order; `told` hears of each as it ends.

    Raises LianError, before anything is touched, if the plan has problems (`prune-held`) or the desired repo has moved
    since it was made (`revisions-moved`).
    """
    if plan.problems:
        raise LianError(plan.problems)
    await unmoved(ports.source, ports.revisions, plan.revision, plan.refs)
    refusals = {host: await _refusal(ports, removals) for host, removals in _by_host(plan).items()}
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(removal: Removal) -> Pruned:
        async with gate:
            refusal = refusals.get(removal.repository.host)
            if refusal is not None and removal.chores and not removal.problems:
                pruned = Pruned(removal.repository, PruneStatus.FAILED, problems=refusal.problems)
            else:
                pruned = await prune(ports, plan.fleet, removal)
        told(pruned)
        return pruned

    return tuple(await all_of(one(removal) for removal in plan.removals))


def _by_host(plan: PrunePlan) -> dict[str, list[Removal]]:
    found: dict[str, list[Removal]] = {}
    for removal in plan.removals:
        if removal.chores:
            found.setdefault(removal.repository.host, []).append(removal)
    return found


async def _refusal(ports: Removing, removals: Iterable[Removal]) -> LianError | None:
    """Why nothing can be deleted on this host, if that is so: told once, before anything is announced anywhere."""
    for removal in removals:
        try:
            await deletes(ports.remover, removal.repository)
        except LianError as error:
            return error
        return None
    return None
