"""`lian cache policy`: access control for registries, and how what is deployed differs from it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler import wiring
from reconciler.cache.policy.documents import UNREADABLE
from reconciler.cache.policy.provider import Enforcer, checked, notes_on, rendered
from reconciler.cli import exits
from reconciler.cli.run import complete
from reconciler.cli.views import cache_policy as view
from reconciler.cli.views.text import as_json, notes
from reconciler.model.problem import LianError, Problem
from reconciler.reconcile import load

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 it is rendered, or deployed as it should be; 2 what is deployed differs; 1 something could not be read."""
    return complete(_policy(arguments))


async def _policy(arguments: argparse.Namespace) -> int:
    enforcer = Enforcer(arguments.provider)
    document = None if arguments.check is None else _deployed(arguments.check)
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        desired = await load(ports)
    if desired.problems:  # of what is left out nobody knows whose it would be
        raise LianError(desired.problems)
    if arguments.check is None:
        notes((*desired.notes, *notes_on(enforcer, desired)), sys.stderr)
        sys.stdout.write(as_json(rendered(enforcer, desired)))
        return exits.DONE
    check = checked(enforcer, desired, document)
    notes((*desired.notes, *check.notes), sys.stderr)
    if arguments.json:
        sys.stdout.write(as_json(check.to_json()))
    else:
        view.show(check, sys.stdout)
    return exits.DRIFT if check.findings else exits.DONE


def _deployed(file: str) -> Any:
    """What is deployed, as JSON. Raises LianError."""
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except OSError as error:
        message = f"what is deployed could not be read from {file}"
        raise LianError(Problem(UNREADABLE, message, cause=error.strerror or str(error))) from error
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        message = f"what is deployed, in {'stdin' if file == '-' else file}, is no JSON"
        hint = "turn YAML into JSON first: yq -o json FILE | lian cache policy … --check -"
        raise LianError(Problem(UNREADABLE, message, cause=str(error), hint=hint)) from error
