"""The command line, as data: parsing has no effect, and `--help` imports nothing heavy. One module for each group of
verbs, in it one function for each verb, which adds it."""

from reconciler.cli.arguments.line import parse, parser

__all__ = ["parse", "parser"]
