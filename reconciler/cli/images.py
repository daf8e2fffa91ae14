"""`lian images`: digests of what is in sync, for deployment repositories."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.audit.images import Options, images
from reconciler.cli import exits
from reconciler.cli.run import complete
from reconciler.cli.views import images as view

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 all are in sync, 2 some are not, 4 some are held, 1 some directives are invalid."""
    arguments.json = arguments.format == "json"  # an error is told in the same form
    return complete(_images(arguments))


async def _images(arguments: argparse.Namespace) -> int:
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        told = await images(ports, Options(only=tuple(arguments.only)))
    document = view.document(told, arguments.format)
    view.show_rest(told, sys.stderr)
    sys.stdout.write(document)
    return exits.of_images(told)
