"""Verbs about the desired repo itself: beginning it, checking it, pinning what it names, asking about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.arguments.verbs import artifact
from reconciler.cli.flag_groups import as_json, desired
from reconciler.cli.help_texts import INIT_EPILOG, LOCK_EPILOG, SCHEMA_EPILOG, VALIDATE_EPILOG, WHY_EPILOG

if TYPE_CHECKING:
    from reconciler.cli.arguments.verbs import Verbs


def init(verbs: Verbs) -> None:
    """`lian init`."""
    purpose = "begin a desired repo, from nothing or from Dockerfiles, compose or bake"
    command = verbs.add("init", purpose, epilog=INIT_EPILOG)
    command.add_argument("folder", metavar="FOLDER", nargs="?", default=".", help="the whole repository [.]")
    command.add_argument(
        "--from",
        dest="source",
        metavar="FILE",
        help="a compose or bake file by its path from FOLDER; . for Dockerfiles alone [what is there]",
    )
    command.add_argument("--workspace", metavar="NAME", help="what the workspace is called [the project or folder]")
    command.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        default=[],
        help="only this service, target or group (may be given again) [all; of bake files the default group]",
    )
    command.add_argument("--dry-run", action="store_true", help="print what would be written, and write nothing")
    as_json(command)


def validate(verbs: Verbs) -> None:
    """`lian validate`."""
    purpose = "evaluate and check every directive; file:line:column for each error"
    as_json(verbs.add("validate", purpose, desired, epilog=VALIDATE_EPILOG))


def why(verbs: Verbs) -> None:
    """`lian why`."""
    command = verbs.add("why", "the whole story of one artifact", desired, epilog=WHY_EPILOG)
    artifact(command)
    as_json(command)


def lock(verbs: Verbs) -> None:
    """`lian lock`."""
    purpose = "pin what moves by itself in lian.lock: bases, sources, URLs"
    command = verbs.add("lock", purpose, desired, epilog=LOCK_EPILOG)
    choice = command.add_mutually_exclusive_group()
    choice.add_argument(
        "--update",
        metavar="NAME",
        nargs="*",
        help="move these to what they are now; without a name, all (a name, or a glob)",
    )
    choice.add_argument(
        "--check", action="store_true", help="only look: 2 if the commit's lock lacks an entry or has one in vain"
    )
    as_json(command)


def schema(verbs: Verbs) -> None:
    """`lian schema`."""
    command = verbs.add("schema", "what directives and settings may say, field by field", epilog=SCHEMA_EPILOG)
    command.add_argument("name", metavar="NAME", nargs="*", help="a contract, and fields of it [a list of all]")
    command.add_argument("--path", action="store_true", help="print the folder that Nickel and editors import from")
    as_json(command)
