"""Adding a verb: what all of them have, and what some share."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeAlias

from reconciler.cli.parsing import Parser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Group: TypeAlias = Callable[[Parser, Mapping[str, str]], None]
    """Adds flags that several verbs have, with their defaults from the environment."""


class Verbs:
    """The verbs below `lian`, or below one that has verbs of its own."""

    def __init__(self, below: argparse._SubParsersAction[Parser], environ: Mapping[str, str]) -> None:
        self._below, self.environ = below, environ

    def add(self, name: str, purpose: str, *groups: Group, epilog: str | None = None) -> Parser:
        """A verb with these flags and those that every verb has; `epilog` stands below them, as it is written."""
        command = self._new(name, purpose, epilog)
        for group in groups:
            group(command, self.environ)
        command.add_argument(
            "--cache",
            metavar="DIR",
            default=self.environ.get("LIAN_CACHE") or None,
            help="the cache folder [~/.cache/lian]",
        )
        command.add_argument("--debug", action="store_true", help="show tracebacks")
        return command

    def under(self, name: str, purpose: str, *, epilog: str | None = None) -> Verbs:
        """The verbs of a verb that has some of its own; `subcommand` names which was given."""
        group = self._new(name, purpose, epilog)
        below = group.add_subparsers(dest="subcommand", metavar="COMMAND", required=True, parser_class=Parser)
        return Verbs(below, self.environ)

    def _new(self, name: str, purpose: str, epilog: str | None) -> Parser:
        command = self._below.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
        if epilog:
            command.epilog, command.formatter_class = epilog, argparse.RawDescriptionHelpFormatter
        return command


def artifact(command: Parser) -> None:
    """Which artifact it is about."""
    command.add_argument("artifact", metavar="ARTIFACT", help="workspace/artifact, or the artifact alone")
