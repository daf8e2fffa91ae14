"""`lian validate`: evaluate and check every directive."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.cli import exits
from reconciler.cli.run import complete
from reconciler.cli.views import problems as view
from reconciler.cli.views.text import Writer, notes
from reconciler.model.wording import count, short
from reconciler.reconcile import load

if TYPE_CHECKING:
    import argparse

    from reconciler.model.desired import Desired


def run(arguments: argparse.Namespace) -> int:
    """0 if everything is valid, 1 with every problem of every file, 4 if all is valid but something is held."""
    return complete(_validate(arguments))


async def _validate(arguments: argparse.Namespace) -> int:
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        desired = await load(ports)
    _show(desired, json=arguments.json)
    if desired.problems:
        return exits.ERROR
    return exits.HELD if any(wanted.holds for wanted in desired.wanted.values()) else exits.DONE


def _show(desired: Desired, *, json: bool) -> None:
    notes(desired.notes, sys.stderr)
    if json:
        sys.stdout.write(view.document(desired.problems))
        return
    view.show(desired.problems, sys.stderr)
    good = sum(not wanted.holds for wanted in desired.wanted.values())
    named = {problem.artifact for problem in desired.problems}
    held = [w for w in desired.wanted.values() if w.holds and str(w.artifact.name) not in named]
    out = Writer(sys.stdout)
    view.blocks((problem for wanted in held for problem in wanted.holds), out, word="held", style="yellow")
    parts = [f"{count(good, 'artifact')} valid"]
    parts += [f"{len(held)} held"] if held else []
    parts += [view.number(desired.problems)] if desired.problems else []
    out.line((f"revision {short(desired.revision)}", "dim"), ": ", (", ".join(parts), "bold"))
