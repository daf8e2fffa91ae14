"""`lian init`: begin a desired repo, from nothing or from what other tools' files say."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.adopt.init import Asked, prepare
from reconciler.cli import exits
from reconciler.cli.views import init as view
from reconciler.cli.views.text import as_json

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 all is carried over (or begun), 3 something is left out, 1 nothing was written."""
    tools = wiring.beginning(arguments.folder)
    told = prepare(tools, Asked(arguments.source, arguments.workspace, tuple(arguments.only), arguments.folder))
    written = not arguments.dry_run
    if written:
        tools.project.write({path: content.encode() for path, content in told.files.items()})
    if arguments.json:
        sys.stdout.write(as_json(told.to_json(written=written)))
    else:
        view.show(told, sys.stdout, written=written, in_git=tools.project.in_git)
    return exits.of_initiation(told)
