"""`lian cache prune`: take away caches by age, size and reachability. Shows its plan first, and asks."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cache.upkeep import Limits
from reconciler.cli import exits
from reconciler.cli.asking import agreed
from reconciler.cli.cache.ls import selection
from reconciler.cli.run import complete
from reconciler.cli.views import caches as view
from reconciler.cli.views import problems
from reconciler.cli.views.text import Writer, as_json, count
from reconciler.model.problem import LianError
from reconciler.upkeep.plan import plan_upkeep
from reconciler.upkeep.remove import MOVED, carry_out

if TYPE_CHECKING:
    import argparse

    from reconciler.cache.holding import CacheEnd, CachePlan
    from reconciler.ports.bundle import Removing


def run(arguments: argparse.Namespace) -> int:
    """0 nothing is left to remove, 2 something would be removed (with --dry-run), 3 something could not be removed, 4
    something is held, or the answer was no; 1 where nobody could be asked."""
    return complete(_prune(arguments))


async def _prune(arguments: argparse.Namespace) -> int:
    limits = Limits(arguments.older_than, arguments.max_size, arguments.undated, arguments.strange)
    async with wiring.removing(wiring.Choice.of(arguments)) as ports:
        plan = await plan_upkeep(ports, selection(arguments), limits, allow_most=arguments.allow_most)
        notes = Writer(sys.stderr)
        for note in (*plan.notes, *plan.caches.notes):
            notes.line((note, "dim"))
        if not arguments.json:
            view.show_plan(plan, sys.stdout, detailed=arguments.detailed)
        if plan.problems or arguments.dry_run or not await _agreed(plan, arguments):
            if arguments.json:
                sys.stdout.write(as_json(plan.to_json()))
            return exits.of_cache_plan(plan) if arguments.dry_run or plan.problems else exits.HELD
        try:
            ends = await _carried_out(ports, plan, arguments)
        except LianError as error:
            if error.problems[0].code != MOVED:
                raise
            return _held(error, arguments)
    if arguments.json:
        sys.stdout.write(as_json(plan.to_json(ends)))
    elif ends:
        view.ended(plan, ends, sys.stdout)
    return exits.of_cache_ends(plan, ends)


async def _carried_out(ports: Removing, plan: CachePlan, arguments: argparse.Namespace) -> tuple[CacheEnd, ...]:
    progress = Writer(sys.stderr)

    def told(end: CacheEnd) -> None:
        progress.line(*view.progress(end))
        progress.stream.flush()

    ends = await carry_out(ports, plan, told)
    if arguments.json:
        problems.show((problem for end in ends for problem in end.problems), sys.stderr)
    return ends


def _held(error: LianError, arguments: argparse.Namespace) -> int:
    """Nothing was touched, for these reasons."""
    if arguments.json:
        sys.stdout.write(problems.document(error.problems))
    problems.show(error.problems, sys.stderr)
    return exits.HELD


async def _agreed(plan: CachePlan, arguments: argparse.Namespace) -> bool:
    """Whether a person wants it. Raises LianError where there is nobody to ask."""
    return arguments.yes or not plan.going or await agreed(count(len(plan.going), "cache"))
