"""`lian verify`: is every image there, whole, recorded and signed?"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.audit.verify import Options, verify
from reconciler.cli import exits
from reconciler.cli.run import complete
from reconciler.cli.views import verify as view
from reconciler.cli.views.text import as_json
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    import argparse

    from reconciler.ports.signer import Verifier


def run(arguments: argparse.Namespace) -> int:
    """0 all is well, 2 something is not there yet, 3 something is not what it should be, 4 that is not known for
    something, 1 some directives are invalid."""
    return complete(_verify(arguments))


async def _verify(arguments: argparse.Namespace) -> int:
    named = [arguments.artifact] if arguments.artifact else []
    options = Options((*named, *arguments.only), arguments.deep, tuple(map(_key, arguments.key)))
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        told = await verify(ports, options, wiring.verifier)
    view.show_notes(told, sys.stderr)
    if arguments.json:
        sys.stdout.write(as_json(told.to_json()))
    else:
        view.show(told, sys.stdout, detailed=bool(options.only))
    return exits.of_verification(told)


def _key(path: str) -> Verifier:
    """Raises LianError `verify-key-unreadable`, `verify-key-unsupported`."""
    try:
        pem = Path(path).read_bytes()
    except OSError as error:
        hint = "name a PEM file with a public key"
        problem = Problem("verify-key-unreadable", f"{path} cannot be read", cause=error.strerror, hint=hint)
        raise LianError(problem) from error
    return wiring.verifier(pem, path)
