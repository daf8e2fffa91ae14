"""`lian diff`: the plan, with reasons. Writes nothing, needs no BuildKit and no more than pull."""

from __future__ import annotations

import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits, plan_file
from reconciler.cli.pass_options import options
from reconciler.cli.run import complete
from reconciler.cli.views import plan as view
from reconciler.cli.views import problems
from reconciler.cli.views.text import as_json, notes
from reconciler.model.problem import LianError, Problem
from reconciler.plan.saved import saved
from reconciler.reconcile import Orphans, foreseen, plan_once, read_forced

if TYPE_CHECKING:
    import argparse

    from reconciler.apply.work import Work


def run(arguments: argparse.Namespace) -> int:
    """0 in sync, 2 drift, 4 something is held, 1 some directives are invalid."""
    arguments.json = arguments.format == "json"  # an error is told in the same form
    _usable(arguments)
    try:
        return complete(_diff(arguments))
    except LianError as error:
        if arguments.format == "markdown":
            from reconciler.cli.views import plan_markdown

            sys.stdout.write(plan_markdown.refusal(error.problems))
        raise


async def _diff(arguments: argparse.Namespace) -> int:
    work = await (_merge(arguments) if arguments.base else _here(arguments))
    told = (*work.resolution.desired.notes, *work.notes)
    notes(told, sys.stderr)
    problems.show(work.plan.problems, sys.stderr)
    if arguments.out:
        plan_file.write(arguments.out, saved(work.plan, work.resolution, work.observed))
    if arguments.json:
        sys.stdout.write(as_json(work.plan.to_json()))
    elif arguments.format == "markdown":
        from reconciler.cli.views import plan_markdown

        sys.stdout.write(plan_markdown.document(work.plan, told))
    else:
        view.show(work.plan, sys.stdout, detailed=arguments.detailed)
    return exits.of_plan(work.plan)


async def _here(arguments: argparse.Namespace) -> Work:
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        chosen = replace(options(arguments), orphans=Orphans.TOLD)
        work = await foreseen(ports, await plan_once(ports, chosen), chosen)
        if arguments.out:
            await read_forced(ports, work)
        return work


async def _merge(arguments: argparse.Namespace) -> Work:
    from reconciler.preview.once import preview_once

    choice = replace(wiring.Choice.of(arguments), rev=arguments.head or arguments.rev)
    async with wiring.previewing(choice, arguments.base) as ports:
        chosen = options(arguments)
        return await foreseen(ports, await preview_once(ports, chosen), chosen)


def _usable(arguments: argparse.Namespace) -> None:
    """Raises LianError `usage` for flags that say nothing, together or alone."""
    if arguments.out:
        plan_file.refuse_stream(arguments.out, "--out")
    if arguments.head and not arguments.base:
        raise LianError(
            Problem("usage", "--head is what would be merged, and nothing says into what", hint="add --base")
        )
    if arguments.head and arguments.rev != (os.environ.get("LIAN_REV") or "HEAD"):
        raise LianError(
            Problem("usage", "--rev and --head both say what would be merged", hint="leave one of them out")
        )
    for flag in ("force", "changed_since") if arguments.base else ():
        if getattr(arguments, flag):
            named = f"--{flag.replace('_', '-')}"
            message = f"{named} says nothing of a merge: with --base, what differs is told"
            raise LianError(Problem("usage", message, hint=f"leave {named} or --base out"))
