"""Verbs about what builds run on: its size, what is rented, and what builds took."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.arguments.verbs import artifact
from reconciler.cli.flag_groups import as_json, chosen, desired, renting
from reconciler.cli.help_texts import SIZING_EPILOG, SUGGEST_EPILOG

if TYPE_CHECKING:
    from reconciler.cli.arguments.verbs import Verbs


def sizing(verbs: Verbs) -> None:
    """`lian sizing`."""
    own = verbs.under("sizing", "how large a runner each build gets, and why", epilog=SIZING_EPILOG)
    command = own.add("explain", "which rule sizes an artifact's build, the runs it rests on, and the price", desired)
    artifact(command)
    as_json(command)
    purpose = "print a patch with the sizes that earlier runs ask for"
    command = own.add("suggest", purpose, desired, epilog=SUGGEST_EPILOG)
    chosen(command)
    as_json(command)


def runners(verbs: Verbs) -> None:
    """`lian runners`."""
    own = verbs.under("runners", "what is rented to build on, and returning what nobody needs any more")
    as_json(own.add("list", "what is rented, by whom, for what, since when and until when", desired, renting))
    returns = "return what passes that died have left behind, as each pass does by itself"
    as_json(own.add("sweep", returns, desired, renting))


def stats(verbs: Verbs) -> None:
    """`lian stats`."""
    command = verbs.add("stats", "what builds took, and how good the forecasts of that were", desired)
    chosen(command)
    as_json(command)
