"""`lian cache du`: how much the caches take, by namespace and artifact."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.cache.ls import selection
from reconciler.cli.run import complete
from reconciler.cli.views import caches as view
from reconciler.cli.views.text import as_json, notes
from reconciler.upkeep.plan import usage_of

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 all could be told, 4 something could not be read."""
    return complete(_usage(arguments))


async def _usage(arguments: argparse.Namespace) -> int:
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        told = await usage_of(ports, selection(arguments))
    notes((*told.notes, *told.caches.notes), sys.stderr)
    if arguments.json:
        sys.stdout.write(as_json(told.to_json()))
    else:
        view.show_usage(told, sys.stdout)
    return exits.HELD if told.problems else exits.DONE
