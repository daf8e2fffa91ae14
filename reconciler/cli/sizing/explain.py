"""`lian sizing explain ARTIFACT`: how large a runner its build gets, and which rule says so."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.audit.sizing import explain
from reconciler.cli import exits
from reconciler.cli.named import artifact_named
from reconciler.cli.run import complete
from reconciler.cli.views import problems
from reconciler.cli.views import sizing as view
from reconciler.cli.views.text import as_json, notes

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 it could be told, 1 the artifact is invalid, 4 it is held, or earlier runs could not be read."""
    return complete(_explain(arguments, artifact_named(arguments.artifact)))


async def _explain(arguments: argparse.Namespace, typed: str) -> int:
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        told = await explain(ports, typed)
    notes(told.notes, sys.stderr)
    problems.show(told.unread, sys.stderr)
    if arguments.json:
        sys.stdout.write(as_json(told.to_json()))
    else:
        view.show(told, sys.stdout)
    return exits.of_sizing(told)
