"""`lian cache ls`: what is in the caches, how large and how old it is, and how it stands."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cache.upkeep import Selection
from reconciler.cli import exits
from reconciler.cli.run import complete
from reconciler.cli.views import caches as view
from reconciler.cli.views.text import as_json, notes
from reconciler.upkeep.plan import list_caches

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 all could be told, 4 something could not be read, or what other revisions want is not known."""
    return complete(_list(arguments))


async def _list(arguments: argparse.Namespace) -> int:
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        told = await list_caches(ports, selection(arguments))
    notes((*told.notes, *told.caches.notes), sys.stderr)
    if arguments.json:
        sys.stdout.write(as_json(told.to_json()))
    else:
        view.show(told, sys.stdout)
    return exits.HELD if told.problems or told.caches.unread else exits.DONE


def selection(arguments: argparse.Namespace) -> Selection:
    """Which caches were chosen."""
    return Selection(tuple(arguments.namespace), tuple(arguments.only), tuple(arguments.actor))
