"""`lian cache refs ARTIFACT`: which caches a build reads and writes."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cache.refs import refs_of
from reconciler.cli import exits
from reconciler.cli.named import artifact_named
from reconciler.cli.run import complete
from reconciler.cli.views import cache_refs as view
from reconciler.cli.views.text import as_json
from reconciler.model.cache import BuildMode, Ci, Session
from reconciler.model.problem import LianError, Problem
from reconciler.plan.select import sole
from reconciler.reconcile import load

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 they are shown, 1 there is no such artifact, or the rules forbid a cache that was asked for."""
    return complete(_refs(arguments, artifact_named(arguments.artifact), _mode(arguments.actor)))


async def _refs(arguments: argparse.Namespace, typed: str, mode: BuildMode) -> int:
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        desired = await load(ports)
    told = refs_of(desired, sole(desired, typed), mode, tuple(arguments.cache_from), arguments.cache_to)
    if arguments.json:
        sys.stdout.write(as_json(told.to_json()))
    else:
        view.show(told, sys.stdout)
    return exits.DONE


def _mode(actor: str | None) -> BuildMode:
    try:
        return Ci() if actor is None else Session(actor)
    except ValueError as error:
        raise LianError(Problem("actor-name", str(error), hint="actors are those of policy.access")) from error
