"""Verbs about lian itself, and the machine that it is on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.flag_groups import as_json

if TYPE_CHECKING:
    from reconciler.cli.arguments.verbs import Verbs

SHELLS = ("bash", "zsh", "tcsh")


def doctor(verbs: Verbs) -> None:
    """`lian doctor`."""
    as_json(verbs.add("doctor", "what this machine has, and which commands work"))


def version(verbs: Verbs) -> None:
    """`lian version`."""
    as_json(verbs.add("version", "versions of lian and of the parts it uses"))


def completion(verbs: Verbs) -> None:
    """`lian completion`."""
    verbs.add("completion", "print a completion script for your shell").add_argument("shell", choices=SHELLS)
