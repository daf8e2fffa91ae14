"""`lian completion SHELL`: a completion script."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import shtab

from reconciler.cli import exits
from reconciler.cli.arguments import parser

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """Always 0."""
    sys.stdout.write(shtab.complete(parser({}), shell=arguments.shell) + "\n")
    return exits.DONE
