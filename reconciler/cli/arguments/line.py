"""The whole line: its verbs in the order that --help tells them, and what is said of a mistake in it."""

from __future__ import annotations

import os
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.cli.arguments import build, cache, images, machines, own, passes, wanted
from reconciler.cli.arguments.verbs import Verbs
from reconciler.cli.help_texts import DESCRIPTION, EPILOG
from reconciler.cli.parsing import Layout, Mistake, Parser

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping, Sequence

_VERBS = (
    wanted.init,
    wanted.validate,
    passes.diff,
    passes.reconcile,
    passes.watch,
    build.build,
    wanted.why,
    images.images,
    images.verify,
    images.sign,
    wanted.lock,
    images.registry,
    cache.cache,
    machines.sizing,
    machines.runners,
    machines.stats,
    images.prune,
    wanted.schema,
    own.doctor,
    own.version,
    own.completion,
)


def parse(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> argparse.Namespace:
    """The command's arguments; `command` names the verb. Exits with 1 on a mistake (2 means drift, design section 9),
    with 0 on --help."""
    try:
        return parser(os.environ if environ is None else environ).parse_args(argv)
    except Mistake as mistake:
        _tell(mistake, json=_wants_json(argv))
        sys.exit(1)


def _tell(mistake: Mistake, *, json: bool) -> None:
    """What is wrong and how the command is used, on stderr, without the secrets of a URL; with `json` also as the
    document that other errors come in."""
    from reconciler.model.problem import Problem, redact

    try_this = f"{mistake.parser.prog} --help"
    if json:
        from reconciler.cli.views.problems import document

        sys.stdout.write(document([Problem("usage", mistake.message, hint=f"see `{try_this}`")]))
    usage = mistake.parser.format_usage()
    sys.stderr.write(f"{usage}{mistake.parser.prog}: {redact(mistake.message)}\ntry: {try_this}\n")


def _wants_json(argv: Sequence[str]) -> bool:
    """Whether the line asks for a document, as far as that can be told of one that means nothing."""
    flags = list(argv)[: list(argv).index("--")] if "--" in argv else list(argv)
    return "--json" in flags or "--format=json" in flags or ("--format", "json") in pairwise(flags)


def parser(environ: Mapping[str, str]) -> Parser:
    """The whole command line; defaults come from LIAN_* variables where they are set."""
    root = Parser(prog="lian", description=DESCRIPTION, epilog=EPILOG, formatter_class=Layout)
    root.add_argument("--version", action="version", version=f"lian {__version__}")
    below = root.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    verbs = Verbs(below, environ)
    for add in _VERBS:
        add(verbs)
    return root
