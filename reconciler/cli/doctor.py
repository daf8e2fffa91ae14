"""`lian doctor`: what this machine has, and which commands work."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.checks.doctor import examine
from reconciler.cli import exits
from reconciler.cli.views.doctor import tables
from reconciler.cli.views.tables import show
from reconciler.cli.views.text import as_json

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 if all that `reconcile` needs is usable, else 1."""
    report = examine(wiring.locate, wiring.cache_folder(arguments.cache))
    if arguments.json:
        sys.stdout.write(as_json(report.to_json()))
    else:
        show(tables(report), sys.stdout)
    return exits.of_report(report)
