"""`lian cache prune`: take away caches by age, size and reachability. Shows its plan first, and asks."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cache.upkeep import Limits
from reconciler.cli import exits
from reconciler.cli.asking import agreed, carried_out, held
from reconciler.cli.cache.ls import selection
from reconciler.cli.run import complete
from reconciler.cli.views import caches as view
from reconciler.cli.views.text import as_json, notes
from reconciler.model.problem import LianError
from reconciler.model.wording import count
from reconciler.observe.kept import MOVED
from reconciler.upkeep.plan import plan_upkeep
from reconciler.upkeep.remove import carry_out

if TYPE_CHECKING:
    import argparse

    from reconciler.cache.holding import CachePlan


def run(arguments: argparse.Namespace) -> int:
    """0 nothing is left to remove, 2 something would be removed (with --dry-run), 3 something could not be removed, 4
    something is held, or the answer was no; 1 where nobody could be asked."""
    return complete(_prune(arguments))


async def _prune(arguments: argparse.Namespace) -> int:
    limits = Limits(arguments.older_than, arguments.max_size, arguments.undated, arguments.strange)
    async with wiring.removing(wiring.Choice.of(arguments)) as ports:
        plan = await plan_upkeep(ports, selection(arguments), limits, allow_most=arguments.allow_most)
        notes((*plan.notes, *plan.caches.notes), sys.stderr)
        if not arguments.json:
            view.show_plan(plan, sys.stdout, detailed=arguments.detailed)
        if plan.problems or arguments.dry_run or not await _agreed(plan, arguments):
            if arguments.json:
                sys.stdout.write(as_json(plan.to_json()))
            return exits.of_cache_plan(plan) if arguments.dry_run or plan.problems else exits.HELD
        try:
            ends = await carried_out(partial(carry_out, ports, plan), view.progress, json=arguments.json)
        except LianError as error:
            if error.problems[0].code != MOVED:
                raise
            return held(error, json=arguments.json)
    if arguments.json:
        sys.stdout.write(as_json(plan.to_json(ends)))
    elif ends:
        view.ended(plan, ends, sys.stdout)
    return exits.of_cache_ends(plan, ends)


async def _agreed(plan: CachePlan, arguments: argparse.Namespace) -> bool:
    """Whether a person wants it. Raises LianError where there is nobody to ask."""
    return arguments.yes or not plan.going or await agreed(count(len(plan.going), "cache"))
