"""`lian doctor`: what this machine has, and which commands work."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.checks.doctor import examine
from reconciler.cli import exits
from reconciler.cli.views.doctor import tables
from reconciler.cli.views.tables import show
from reconciler.cli.views.text import Writer, as_json
from reconciler.model.problem import LianError

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 if all that `reconcile` needs is usable, else 1."""
    cache = wiring.cache_folder(arguments.cache)
    try:
        evaluation = asyncio.run(wiring.evaluation())
    except LianError as error:  # the parts below tell what is missing for it
        evaluation = f"none: {error.problems[0].message}"
    report = replace(examine(wiring.locate, cache), evaluation=evaluation)
    if arguments.json:
        sys.stdout.write(as_json(report.to_json()))
    else:
        show(tables(report), sys.stdout)
        Writer(sys.stdout).line()
        Writer(sys.stdout).wrapped([("directives are evaluated by ", "bold")], evaluation, indent=2)
    return exits.of_report(report)
