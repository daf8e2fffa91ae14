"""Flags that several verbs have, as groups; each goes with its defaults from the environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.flag_values import builds, jobs, registry, seconds

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from reconciler.cli.parsing import Parser


def desired(command: Parser, environ: Mapping[str, str]) -> None:
    """Which desired repo, at which commit."""
    group = command.add_argument_group("the desired repo")
    group.add_argument(
        "--repo", metavar="PATH|URL", default=environ.get("LIAN_REPO") or ".", help="the desired repo [.]"
    )
    commit(group, environ)


def commit(group: argparse._ActionsContainer, environ: Mapping[str, str]) -> None:
    """Which commit of it, and against which registry."""
    group.add_argument(
        "--rev", metavar="REV", default=environ.get("LIAN_REV") or "HEAD", help="the commit, branch or tag [HEAD]"
    )
    group.add_argument(
        "--registry",
        metavar="REGISTRY",
        type=registry,
        default=environ.get("LIAN_REGISTRY") or None,
        help="oci-layout:PATH or http(s)://HOST[:PORT]; beats the settings in the repo",
    )


def selection(command: Parser, environ: Mapping[str, str]) -> None:
    """Which artifacts a pass is about."""
    del environ
    command.add_argument(
        "--only",
        metavar="GLOB",
        action="append",
        default=[],
        help="only these artifacts and what they stand on (workspace/artifact, may be given again)",
    )
    command.add_argument(
        "--except",
        dest="left_out",
        metavar="GLOB",
        action="append",
        default=[],
        help="all but these artifacts and what stands on them (may be given again)",
    )
    command.add_argument("--dependants", action="store_true", help="with --only: what stands on them, too")
    command.add_argument(
        "--changed-since",
        metavar="REV",
        help="only what has changed since the commit has parted from this one, and what stands on it",
    )


def forced(command: Parser, environ: Mapping[str, str]) -> None:
    """What is built although it is in sync."""
    del environ
    command.add_argument(
        "--force",
        metavar="GLOB",
        action="append",
        default=[],
        help="build these artifacts anew, though they are in sync (may be given again)",
    )


def limited(command: Parser, environ: Mapping[str, str]) -> None:
    """How much a pass may build."""
    del environ
    command.add_argument(
        "--max-builds", metavar="N", type=builds, default=None, help="make no more builds; the rest is held and named"
    )


def renting(command: argparse._ActionsContainer, environ: Mapping[str, str]) -> None:
    """How machines are reached."""
    command.add_argument(
        "--ssh-key",
        metavar="FILE",
        default=environ.get("BUILDKIT_SSH_KEY") or None,
        help="the private key for compute 'Ssh [the agent at SSH_AUTH_SOCK]",
    )


def at_a_time(command: Parser, environ: Mapping[str, str]) -> None:
    """How many builds there are at a time."""
    command.add_argument(
        "--jobs",
        metavar="N",
        type=jobs,
        default=environ.get("LIAN_JOBS") or None,
        help="builds at a time [lian.ncl, or the cores]",
    )


def working(command: Parser, environ: Mapping[str, str]) -> None:
    """How a pass builds."""
    renting(command, environ)
    at_a_time(command, environ)
    overrides(command)
    command.add_argument(
        "--build-timeout", metavar="TIME", type=seconds, help="a cap on each build, below its own time budget"
    )
    command.add_argument(
        "--interval", metavar="TIME", type=seconds, default=60.0, help="with watch: look again at least so often [60s]"
    )


def overrides(command: Parser) -> None:
    """What a pass may do that is held otherwise."""
    command.add_argument(
        "--allow-older", action="store_true", help="go back on purpose: undo what a newer commit applied"
    )
    command.add_argument(
        "--allow-vanished", action="store_true", help="build anew although most of what was applied is gone"
    )


def removal(command: Parser, details: str, what: str) -> None:
    """How a removal is looked at, agreed to and bounded."""
    command.add_argument("--dry-run", action="store_true", help="only show the plan; 2 if something would go")
    command.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal")
    command.add_argument("--detailed", action="store_true", help=f"show {details}")
    command.add_argument("--allow-most", action="store_true", help=f"let more than half of {what} go")


def chosen(command: Parser) -> None:
    """Which artifacts a report is about."""
    command.add_argument(
        "--only",
        metavar="GLOB",
        action="append",
        default=[],
        help="only these artifacts (workspace/artifact, may be given again)",
    )


def as_json(command: Parser) -> None:
    """A document instead of text."""
    command.add_argument("--json", action="store_true", help="print one JSON document on stdout")
