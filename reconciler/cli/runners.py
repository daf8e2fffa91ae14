"""`lian runners …`: what is rented, and returning what nobody needs any more."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.run import complete
from reconciler.cli.views import runners as view
from reconciler.cli.views.text import as_json
from reconciler.upkeep.runners import runners

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 all could be told (and returned), 4 something could not."""
    return complete(_runners(arguments))


async def _runners(arguments: argparse.Namespace) -> int:
    async with wiring.renting(wiring.Choice.of(arguments)) as ports:
        told = await runners(ports, sweep=arguments.subcommand == "sweep")
    if arguments.json:
        sys.stdout.write(as_json(told.to_json()))
    else:
        view.show(told, sys.stdout)
    return exits.HELD if told.problems else exits.DONE
