"""What a person chose for a pass, of the flags that planning one and making one have in common."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Problem
from reconciler.plan.compare import Overrides
from reconciler.plan.select import Selection
from reconciler.reconcile import Options

if TYPE_CHECKING:
    import argparse


def options(arguments: argparse.Namespace) -> Options:
    """Of a pass that is planned, or made. Raises LianError `usage` for flags that say nothing together."""
    return Options(
        selection(arguments),
        forced=tuple(arguments.force),
        max_builds=arguments.max_builds,
        jobs=arguments.jobs,
        cores=os.cpu_count() or 1,
        overrides=Overrides(older=arguments.allow_older, vanished=arguments.allow_vanished),
    )


def selection(arguments: argparse.Namespace) -> Selection:
    """Which artifacts the flags choose. Raises LianError `usage` for flags that say nothing together."""
    if arguments.dependants and not arguments.only:
        message = "--dependants says what is chosen besides, and nothing is chosen"
        raise LianError(Problem("usage", message, hint="add --only GLOB"))
    return Selection(tuple(arguments.only), tuple(arguments.left_out), arguments.dependants, arguments.changed_since)
