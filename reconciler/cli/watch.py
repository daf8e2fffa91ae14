"""`lian watch`: one pass after another, started by a moved ref or a timer."""

from __future__ import annotations

import asyncio
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.pass_options import selection
from reconciler.cli.reconcile import one_pass, repeat
from reconciler.cli.run import bug, on_stop
from reconciler.cli.views import outcome as view
from reconciler.cli.views import problems
from reconciler.cli.views.text import Writer
from reconciler.model.problem import LianError
from reconciler.watch.loop import Ending, watch

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 when stopped between passes, 130 when a pass was cut short by the signal. Raises LianError `usage` for flags
    with which no pass could be made."""
    selection(arguments)
    return asyncio.run(_watch(arguments))


async def _watch(arguments: argparse.Namespace) -> int:
    stop = asyncio.Event()
    on_stop(stop.set)
    errors = Writer(sys.stderr)
    errors.line(("watching until it is interrupted; `lian reconcile --once` makes one pass", "dim"))
    async with wiring.working(wiring.Choice.of(arguments)) as bench:

        async def once(reason: str) -> None:
            errors.line((f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} pass: {reason}", "dim"))
            try:
                plan, outcome = await one_pass(bench, arguments)
            except LianError as error:
                problems.show(error.problems, sys.stderr)
                return
            except Exception as error:  # what broke this pass may be gone in the next
                if arguments.debug:
                    raise
                problems.show((bug(error),), sys.stderr)
                return
            view.show(outcome, sys.stdout, repeat(arguments), plan)
            sys.stdout.flush()

        ending = await watch(once, bench.trigger(), arguments.interval, stop)
    errors.line(("stopped" if ending is Ending.BETWEEN_PASSES else "stopped in the middle of a pass", "dim"))
    return exits.DONE if ending is Ending.BETWEEN_PASSES else exits.INTERRUPTED
