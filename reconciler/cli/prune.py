"""`lian prune`: take away what no kept revision reaches. Shows its plan first, and asks."""

from __future__ import annotations

import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.asking import agreed, carried_out, held
from reconciler.cli.keep import EMPTY, UNREADABLE, in_use
from reconciler.cli.run import complete
from reconciler.cli.views import prune as view
from reconciler.cli.views.text import as_json, notes
from reconciler.model.problem import LianError
from reconciler.model.wording import count
from reconciler.observe.kept import MOVED
from reconciler.prune.once import prune_once
from reconciler.prune.plan import PruneOptions, plan_prune

if TYPE_CHECKING:
    import argparse

    from reconciler.model.removal import PrunePlan


def run(arguments: argparse.Namespace) -> int:
    """0 nothing is left to prune, 2 something would be pruned (with --dry-run), 3 something could not be removed, 4
    something is held, or the answer was no; 1 where nobody could be asked."""
    return complete(_prune(arguments))


async def _prune(arguments: argparse.Namespace) -> int:
    kept = partial(in_use, arguments.keep_from, wiring.handed_on())
    async with wiring.removing(wiring.Choice.of(arguments)) as ports:
        try:
            plan = await plan_prune(ports, PruneOptions(tuple(arguments.only), kept, arguments.allow_most))
        except LianError as error:
            if error.problems[0].code not in {EMPTY, UNREADABLE}:
                raise
            return held(error, json=arguments.json)
        notes(plan.notes, sys.stderr)
        if not arguments.json:
            view.show(plan, sys.stdout, time.time(), detailed=arguments.detailed)
        if plan.problems or arguments.dry_run or not await _agreed(plan, arguments):
            if arguments.json:
                sys.stdout.write(as_json(plan.to_json()))
            return exits.of_prune_plan(plan) if arguments.dry_run or plan.problems else exits.HELD
        try:
            ends = await carried_out(partial(prune_once, ports, plan), view.progress, json=arguments.json)
        except LianError as error:
            if error.problems[0].code != MOVED:
                raise
            return held(error, json=arguments.json)
    if arguments.json:
        sys.stdout.write(as_json(plan.to_json({end.repository: end for end in ends})))
    else:
        view.ended(ends, sys.stdout)
    return exits.of_prune(ends)


async def _agreed(plan: PrunePlan, arguments: argparse.Namespace) -> bool:
    """Whether a person wants it. Tidying up alone needs no leave. Raises LianError where there is nobody to ask."""
    if arguments.yes or not (plan.images or plan.tags):
        return True
    return await agreed(count(plan.images, "image") if plan.images else count(plan.tags, "tag"))
