"""argparse as lian uses it: each verb tells what is wrong with its own line, and what may have been meant."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, NoReturn

if TYPE_CHECKING:
    from collections.abc import Sequence


class Mistake(Exception):
    """A line that means nothing: what is wrong, and with which parser's command."""

    def __init__(self, parser: Parser, message: str) -> None:
        super().__init__(message)
        self.parser, self.message = parser, message


class Parser(argparse.ArgumentParser):
    """argparse, but what is wrong is told by the verb it is wrong for, with what may have been meant."""

    def __init__(self, **settings: Any) -> None:
        """As argparse's. A flag is written whole: what is short for one today may be for two tomorrow."""
        super().__init__(**(settings | {"allow_abbrev": False}))

    def error(self, message: str) -> NoReturn:
        """Raises Mistake."""
        raise Mistake(self, message)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse's, which has the outermost parser tell what an inner one does not know: here each does."""
        found, rest = super().parse_known_args(args, namespace)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}{self._meant(rest)}")
        return found, rest

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """As argparse's, but no value of any flag or argument is empty: it comes from a variable that is not set, and
        whoever gives a flag does not mean to leave it out. (What stands behind flags never comes here empty.)"""
        if not arg_string and not isinstance(action, argparse._SubParsersAction):  # that one's values are a whole line
            raise argparse.ArgumentError(action, "its value is empty; is a variable not set?")
        return super()._get_value(action, arg_string)

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        choices = tuple(action.choices or ())
        if choices and value not in choices:
            meant = _alike(value, choices) or f" (choose from {', '.join(choices)})"
            raise argparse.ArgumentError(action, f"invalid choice: {value!r}{meant}")

    def _meant(self, rest: Sequence[str]) -> str:
        flags = [argument.partition("=")[0] for argument in rest if argument.startswith("--")]
        found = (_alike(flag, [name for name in self._option_string_actions if name[:2] == "--"]) for flag in flags)
        return next(filter(None, found), "")


def _alike(typed: str, known: Sequence[str]) -> str:
    from reconciler.model.wording import meant

    text = meant(typed, known, "")
    return f"; {text}" if text else ""


class Once(argparse.Action):
    """A flag of one value: another one is a mistake, not a change of mind."""

    def __call__(
        self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: str | None = None
    ) -> None:
        if getattr(namespace, self.dest) is not None:
            raise argparse.ArgumentError(self, "given twice, and one build has one")
        setattr(namespace, self.dest, values)


class Layout(argparse.RawDescriptionHelpFormatter):
    """The epilog as it is written, and room for the longest verb."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=18)
        self._action_max_length = 14  # argparse forgets the indent of verbs, and breaks the line after the longer ones
