"""`lian registry status`: what the fleet's registries hold."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.audit.status import Options, status
from reconciler.cli import exits
from reconciler.cli.run import complete
from reconciler.cli.views import status as view
from reconciler.cli.views.text import as_json

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 all could be told, 4 something could not be read, 1 some directives are invalid."""
    return complete(_status(arguments))


async def _status(arguments: argparse.Namespace) -> int:
    async with wiring.surveying(wiring.Choice.of(arguments)) as ports:
        told = await status(ports, Options(only=tuple(arguments.only)))
    view.show_notes(told, sys.stderr)
    if arguments.json:
        sys.stdout.write(as_json(told.to_json()))
    else:
        view.show(told, sys.stdout)
    return exits.of_status(told)
