"""`lian why ARTIFACT`: the whole story of one artifact."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from reconciler import wiring
from reconciler.audit.why import why_once
from reconciler.cli import exits
from reconciler.cli.named import artifact_named
from reconciler.cli.run import complete
from reconciler.cli.views import why as view
from reconciler.cli.views.text import as_json
from reconciler.model.plan import Action

if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """0 the story is told, 4 it is that of one that is held. Raises LianError `artifact-name`."""
    return complete(_why(arguments, artifact_named(arguments.artifact)))


async def _why(arguments: argparse.Namespace, typed: str) -> int:
    async with wiring.reading(wiring.Choice.of(arguments)) as ports:
        story = await why_once(ports, typed)
    if arguments.json:
        sys.stdout.write(as_json(story.to_json()))
    else:
        view.show(story, sys.stdout)
    return exits.HELD if story.change.action is Action.HOLD else exits.DONE
