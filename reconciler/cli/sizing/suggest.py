"""`lian sizing suggest`: a patch for the desired repo, with the sizes that earlier runs ask for."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.audit.sizing import suggest
from reconciler.cli import exits
from reconciler.cli.run import complete
from reconciler.cli.views import problems
from reconciler.cli.views import sizing as view
from reconciler.cli.views.text import as_json

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 all could be told, 1 some directives are invalid, 4 earlier runs could not be read."""
    return complete(_suggest(arguments))


async def _suggest(arguments: argparse.Namespace) -> int:
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        told = await suggest(ports, tuple(arguments.only))
    problems.show(told.problems, sys.stderr)
    view.show_beside(told, sys.stderr)
    if arguments.json:
        sys.stdout.write(as_json(told.to_json(view.patches(told))))
    else:
        view.show_patch(told, sys.stdout)
    return exits.of_suggestions(told)
