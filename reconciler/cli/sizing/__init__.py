"""`lian sizing …`: one module for each subcommand."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """Call the subcommand's module; the exit code is its own."""
    module = importlib.import_module(f"reconciler.cli.sizing.{arguments.subcommand}")
    code: int = module.run(arguments)
    return code
