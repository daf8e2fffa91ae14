"""`lian diff`: the plan, with reasons. Writes nothing, needs no BuildKit and no more than pull."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.run import complete, overrides, selection
from reconciler.cli.views import plan as view
from reconciler.cli.views import problems
from reconciler.cli.views.text import Writer, as_json
from reconciler.reconcile import Options, Orphans, foreseen, plan_once

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 in sync, 2 drift, 4 something is held, 1 some directives are invalid."""
    return complete(_diff(arguments))


async def _diff(arguments: argparse.Namespace) -> int:
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        chosen = Options(
            selection(arguments),
            tuple(arguments.force),
            arguments.max_builds,
            arguments.jobs,
            os.cpu_count() or 1,
            overrides=overrides(arguments),
            orphans=Orphans.TOLD,
        )
        work = await foreseen(ports, await plan_once(ports, chosen), chosen)
    notes = Writer(sys.stderr)
    for note in (*work.resolution.desired.notes, *work.notes):
        notes.line((note, "dim"))
    problems.show(work.plan.problems, sys.stderr)
    if arguments.json:
        sys.stdout.write(as_json(work.plan.to_json()))
    else:
        view.show(work.plan, sys.stdout, detailed=arguments.detailed)
    return exits.of_plan(work.plan)
