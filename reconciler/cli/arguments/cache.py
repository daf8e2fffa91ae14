"""Verbs about the build cache."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.arguments.verbs import artifact
from reconciler.cli.flag_groups import as_json, chosen, desired, removal
from reconciler.cli.flag_values import age, volume
from reconciler.cli.help_texts import CACHE_PRUNE_EPILOG, POLICY_EPILOG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.cli.arguments.verbs import Verbs
    from reconciler.cli.parsing import Parser

POLICY_PROVIDERS = ("zot", "harbor", "distribution-token")


def cache(verbs: Verbs) -> None:
    """`lian cache`."""
    own = verbs.under("cache", "the build cache: who may use which, what is in it, and its upkeep")
    _policy(own)
    _refs(own)
    as_json(own.add("ls", "what is in the caches, how large and how old it is, and how it stands", desired, _caches))
    as_json(own.add("du", "how much the caches take, by namespace and artifact", desired, _caches))
    _prune(own)


def _policy(verbs: Verbs) -> None:
    purpose = "access control for the registry, so that it enforces who writes which cache"
    command = verbs.add("policy", purpose, desired, epilog=POLICY_EPILOG)
    command.add_argument(
        "--provider", choices=POLICY_PROVIDERS, required=True, help="what enforces it: " + ", ".join(POLICY_PROVIDERS)
    )
    command.add_argument("--check", metavar="FILE", help="compare with what is deployed; 2 if it differs")
    as_json(command)


def _refs(verbs: Verbs) -> None:
    command = verbs.add("refs", "which caches a build of an artifact reads and writes", desired)
    artifact(command)
    command.add_argument("--actor", metavar="NAME", help="of a session of this actor [CI's]")
    command.add_argument(
        "--cache-from",
        metavar="REF",
        action="append",
        default=[],
        help="would this cache be read too? 1 if the rules forbid it (may be given again)",
    )
    command.add_argument("--cache-to", metavar="REF", help="would this cache be written too? 1 if the rules forbid it")
    as_json(command)


def _prune(verbs: Verbs) -> None:
    purpose = "remove caches by age, size and reachability; shows its plan and asks"
    command = verbs.add("prune", purpose, desired, _caches, epilog=CACHE_PRUNE_EPILOG)
    command.add_argument(
        "--older-than", metavar="AGE", type=age, help="also what was written before that: 12h, 30d, 8w"
    )
    command.add_argument(
        "--max-size", metavar="SIZE", type=volume, help="also the oldest of each namespace beyond that: 20GB, 500MiB"
    )
    command.add_argument("--undated", action="store_true", help="also what nothing tells the age of")
    command.add_argument("--strange", action="store_true", help="also what lies there and is no cache")
    removal(command, "every cache that goes", "the caches")
    as_json(command)


def _caches(command: Parser, environ: Mapping[str, str]) -> None:
    """Which caches a report or an upkeep is about."""
    del environ
    chosen(command)
    command.add_argument(
        "--namespace",
        metavar="GLOB",
        action="append",
        default=[],
        help="only these namespaces (ci/WORKSPACE, dev/ACTOR-WORKSPACE, may be given again)",
    )
    command.add_argument(
        "--actor", metavar="NAME", action="append", default=[], help="only this actor's (may be given again)"
    )
