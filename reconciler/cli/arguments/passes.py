"""Verbs that plan a pass, and that carry one out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.flag_groups import as_json, at_a_time, desired, forced, limited, overrides, selection, working
from reconciler.cli.help_texts import DIFF_EPILOG

if TYPE_CHECKING:
    from reconciler.cli.arguments.verbs import Verbs

PLAN_FORMATS = ("text", "markdown", "json")


def diff(verbs: Verbs) -> None:
    """`lian diff`."""
    purpose = "show what would be built, why, and what that takes; changes nothing"
    command = verbs.add("diff", purpose, desired, selection, forced, limited, at_a_time, epilog=DIFF_EPILOG)
    command.add_argument("--detailed", action="store_true", help="show every artifact, and full digests")
    merge = command.add_argument_group("for a pull request")
    merge.add_argument("--base", metavar="REV", help="show what merging --head into this would build")
    merge.add_argument("--head", metavar="REV", help="what would be merged [--rev]")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--format", choices=PLAN_FORMATS, default="text", help="text, markdown (a comment), json [text]")
    form.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")
    command.add_argument("--out", metavar="FILE", help="write the plan down too, for lian reconcile --once --plan")
    overrides(command)


def reconcile(verbs: Verbs) -> None:
    """`lian reconcile`."""
    purpose = "converge the registry to the commit"
    command = verbs.add("reconcile", purpose, desired, selection, forced, limited, working)
    command.add_argument("--once", action="store_true", help="one pass, then exit (for CI); without it: lian watch")
    command.add_argument("--plan", metavar="FILE", help="carry out this plan of lian diff --out, and nothing else")
    command.add_argument("--strict", action="store_true", help="with --plan: nothing at all if a part has moved")
    as_json(command)


def watch(verbs: Verbs) -> None:
    """`lian watch`."""
    command = verbs.add("watch", "keep converging: a pass on every commit", desired, selection, limited, working)
    command.set_defaults(force=[])  # it would build anew in every pass
