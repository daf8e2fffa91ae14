"""`lian lock`: pin what moves by itself, move the pins, or see whether all is pinned."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.run import complete
from reconciler.cli.views import lock as view
from reconciler.cli.views.text import as_json
from reconciler.locking.once import Options, check, lock_once

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 the lock is as it should be, 1 some directives are invalid, 2 (--check) it is not, 4 something could not be
    found out."""
    return complete(_lock(arguments))


async def _lock(arguments: argparse.Namespace) -> int:
    update = None if arguments.update is None else tuple(arguments.update)
    async with wiring.locking(wiring.Choice.of(arguments)) as ports:
        told = await check(ports) if arguments.check else await lock_once(ports, Options(update))
    view.show_beside(told, sys.stderr)
    if arguments.json:
        sys.stdout.write(as_json(told.to_json()))
    else:
        view.show(told, sys.stdout, check=arguments.check)
    return exits.of_lock(told, check=arguments.check)
