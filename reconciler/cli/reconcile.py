"""`lian reconcile`: one pass with --once, else the loop of `lian watch`."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits, plan_file
from reconciler.cli.pass_options import options
from reconciler.cli.run import complete
from reconciler.cli.views import outcome as view
from reconciler.cli.views import problems
from reconciler.cli.views.progress import progress
from reconciler.cli.views.text import as_json
from reconciler.model.problem import LianError, Problem, redact
from reconciler.reconcile import Orphans, reconcile_once

if TYPE_CHECKING:
    import argparse

    from reconciler.model.outcome import Outcome
    from reconciler.model.plan import Plan


def run(arguments: argparse.Namespace) -> int:
    """0 converged, 1 some directives are invalid, 3 some artifacts failed, 4 something is held, 130 interrupted."""
    _usable(arguments)
    if arguments.once:
        return complete(_once(arguments))
    if arguments.json:
        raise LianError(Problem("usage", "--json prints the outcome of one pass", hint="add --once"))
    if arguments.force:
        raise LianError(Problem("usage", "--force would build anew in every pass", hint="add --once"))
    if arguments.plan:
        raise LianError(Problem("usage", "--plan is carried out by one pass", hint="add --once"))
    from reconciler.cli import watch

    return watch.run(arguments)


async def _once(arguments: argparse.Namespace) -> int:
    async with wiring.working(wiring.Choice.of(arguments)) as bench:
        plan, outcome = await one_pass(bench, arguments)
    if arguments.json:
        sys.stdout.write(as_json(outcome.to_json()))
    else:
        view.show(outcome, sys.stdout, repeat(arguments), plan)
    return exits.of_outcome(outcome)


async def one_pass(bench: wiring.Bench, arguments: argparse.Namespace) -> tuple[Plan, Outcome]:
    """One pass with its progress on stderr. Raises LianError if no plan could be made."""
    chosen = replace(
        options(arguments),
        saved=plan_file.read(arguments.plan) if getattr(arguments, "plan", None) else None,
        strict=getattr(arguments, "strict", False),
        build_timeout=arguments.build_timeout,
        orphans=Orphans.HEALED,
    )
    with progress(sys.stderr) as shown:
        plan, outcome = await reconcile_once(bench.ports(shown), chosen)
    problems.show(outcome.problems, sys.stderr)
    return plan, outcome


def _usable(arguments: argparse.Namespace) -> None:
    """Raises LianError `usage` for flags that say nothing together."""
    if arguments.strict and not arguments.plan:
        raise LianError(Problem("usage", "--strict is about a plan that is carried out", hint="add --plan FILE"))
    chosen = {
        "--only": arguments.only,
        "--except": arguments.left_out,
        "--dependants": arguments.dependants,
        "--changed-since": arguments.changed_since,
        "--force": arguments.force,
        "--max-builds": arguments.max_builds is not None,
    }
    for flag, given in chosen.items() if arguments.plan else ():
        if given:
            message = f"{flag} chooses what to do, and with --plan the plan says that"
            raise LianError(Problem("usage", message, hint=f"give {flag} to lian diff --out"))


def repeat(arguments: argparse.Namespace) -> list[str]:
    """The command that runs this pass again."""
    command = ["lian", "reconcile", "--once"]
    for flag, usual in (("repo", "."), ("rev", "HEAD"), ("registry", None), ("cache", None)):
        value = getattr(arguments, flag)
        if value != usual:
            command += [f"--{flag}", redact(value)]  # a URL may hold a password, and this line ends in logs
    return command
