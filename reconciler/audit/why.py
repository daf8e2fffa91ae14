"""`lian why`: the whole story of one artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.observe.ask import ask
from reconciler.plan.select import narrowed, sole, with_parents
from reconciler.plan.story import tell, untold
from reconciler.reconcile import Options, foreseen, plan_once

if TYPE_CHECKING:
    from reconciler.plan.story import Story
    from reconciler.ports.bundle import Reading


async def why_once(ports: Reading, typed: str) -> Story:
    """The story of one artifact, with its build record also when it is in sync, and what is foreseen when it is not.

    Raises LianError `selection-empty` if there is no such artifact, `artifact-ambiguous` if there are several, or if no
    plan could be made.
    """
    options = Options(adjusted=lambda desired: narrowed(desired, with_parents(desired, {sole(desired, typed)})))
    work = await plan_once(ports, options)
    name = sole(work.resolution.desired, typed)
    work = await foreseen(ports, work, options)
    change = next(change for change in work.plan.changes if change.artifact == name)
    while questions := untold(change, work.observed):
        work.observed.take(await ask(questions, ports.registry))
    return tell(work.plan, name, work.resolution, work.observed)
