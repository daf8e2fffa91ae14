"""`lian sign`: signatures and provenance for images in sync that have none yet."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.pass_options import selection
from reconciler.cli.run import complete
from reconciler.cli.views import outcome as view
from reconciler.cli.views import problems
from reconciler.cli.views.progress import progress
from reconciler.cli.views.text import as_json
from reconciler.reconcile import Options
from reconciler.signing.once import sign_once

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 what is in sync is signed, 1 some directives are invalid, 3 some could not be signed, 4 some is not in sync."""
    return complete(_sign(arguments))


async def _sign(arguments: argparse.Namespace) -> int:
    async with wiring.working(wiring.Choice.of(arguments)) as bench:
        with progress(sys.stderr) as shown:
            outcome = await sign_once(bench.ports(shown), Options(selection(arguments)))
    problems.show(outcome.problems, sys.stderr)
    if arguments.json:
        sys.stdout.write(as_json(outcome.to_json()))
    else:
        view.show(outcome, sys.stdout, ())
    return exits.of_outcome(outcome)
