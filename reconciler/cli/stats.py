"""`lian stats`: what builds took, and how good the forecasts of that were."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.audit.stats import stats
from reconciler.cli import exits
from reconciler.cli.run import complete
from reconciler.cli.views import problems
from reconciler.cli.views import stats as view
from reconciler.cli.views.text import as_json

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 it could be told, 1 some directives are invalid, 4 something could not be read."""
    return complete(_stats(arguments))


async def _stats(arguments: argparse.Namespace) -> int:
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        told = await stats(ports, arguments.only)
    problems.show((*told.problems, *told.unread), sys.stderr)
    if arguments.json:
        sys.stdout.write(as_json(told.to_json()))
    else:
        view.show(told, sys.stdout)
    return exits.of_stats(told)
