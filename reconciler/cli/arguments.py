"""The command line, as data: parsing has no effect, and `--help` imports nothing heavy."""

from __future__ import annotations

import argparse
import os
import re
from typing import TYPE_CHECKING, NoReturn

from reconciler import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_DURATION = re.compile(r"(?P<number>[0-9]+(?:\.[0-9]+)?)(?P<unit>ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
SHELLS = ("bash", "zsh", "tcsh")
IMAGE_FORMATS = ("text", "json", "env", "kustomize", "helm")

DESCRIPTION = "GitOps for container images: commit a Nickel directive, the registry converges."
EPILOG = """\
exit codes:
  0  done or in sync             3    some artifacts failed, the rest is done
  1  an error in use or          4    something is held
     environment, or some        130  interrupted
     directives are invalid
  2  drift found

Flags of the desired repo have environment variables behind them: LIAN_REPO,
LIAN_REV, LIAN_REGISTRY, LIAN_JOBS, LIAN_CACHE. NO_COLOR is honoured.
The registry's login is that of docker, or LIAN_REGISTRY_USER with
LIAN_REGISTRY_PASSWORD; LIAN_CREDENTIAL_HOSTS limits where logins go.
Start with: lian doctor
"""


PRUNE_EPILOG = """\
Kept is what HEAD (or --rev) asks for, and every ref that matches
policy.prune.revisions in lian.ncl, with its keep rules; what is not certain
holds. Without a terminal and without --yes the plan is shown, nothing is
removed, and the exit code is 1; a no to the question is 4.
Digests that run in a cluster are kept with
  lian prune --keep-from 'cmd:kubectl get pods -A -o json'
"""


class Parser(argparse.ArgumentParser):
    """argparse, but a mistake in use exits with 1: 2 means drift (design section 9)."""

    def error(self, message: str) -> NoReturn:
        """Say what is wrong and how the command is used, on stderr, without the secrets of a URL."""
        from reconciler.model.problem import redact

        self.exit(1, f"{self.format_usage()}{self.prog}: {redact(message)}\ntry: {self.prog} --help\n")


class _Layout(argparse.RawDescriptionHelpFormatter):
    """The epilog as it is written, and room for the longest verb."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=18)
        self._action_max_length = 14  # argparse forgets the indent of verbs, and breaks the line after the longer ones


def seconds(text: str) -> float:
    """`90`, `90s`, `15m`, `1.5h`, `500ms` in seconds. Raises argparse.ArgumentTypeError."""
    match = _DURATION.fullmatch(text)
    if not match or float(match["number"]) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a duration: write 90s, 15m or 1.5h")
    return float(match["number"]) * _UNITS[match["unit"] or "s"]


def jobs(text: str) -> int:
    """A count from 1 to 256. Raises argparse.ArgumentTypeError."""
    if not text.isdecimal() or not 1 <= int(text) <= 256:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1 to 256")
    return int(text)


def registry(text: str) -> str:
    """`oci-layout:PATH` or `http(s)://HOST[:PORT]`. Raises argparse.ArgumentTypeError."""
    if re.fullmatch(r"oci-layout:.+", text) or re.fullmatch(r"https?://[^/@?#\s]+/?", text):
        return text
    raise argparse.ArgumentTypeError(f"{text!r} is not a registry: write oci-layout:PATH or http(s)://HOST[:PORT]")


def parse(argv: Sequence[str], environ: Mapping[str, str] | None = None) -> argparse.Namespace:
    """The command's arguments; `command` names the verb. Exits with 1 on a mistake, with 0 on --help."""
    return parser(os.environ if environ is None else environ).parse_args(argv)


def parser(environ: Mapping[str, str]) -> Parser:
    """The whole command line; defaults come from LIAN_* variables where they are set."""
    root = Parser(prog="lian", description=DESCRIPTION, epilog=EPILOG, formatter_class=_Layout)
    root.add_argument("--version", action="version", version=f"lian {__version__}")
    verbs = root.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    verb = _verbs(verbs, environ)
    command = verb("validate", "evaluate and check every directive; file:line:column for each error", _desired)
    _json(command)
    command = verb("diff", "show what would be built, and why; changes nothing", _desired, _selection)
    command.add_argument("--detailed", action="store_true", help="show every artifact, and full digests")
    _overrides(command)
    _json(command)
    command = verb("reconcile", "converge the registry to the commit", _desired, _selection, _working)
    command.add_argument("--once", action="store_true", help="one pass, then exit (for CI); without it: lian watch")
    _json(command)
    verb("watch", "keep converging: one pass after another, on every commit", _desired, _selection, _working)
    command = verb("why", "the whole story of one artifact", _desired)
    command.add_argument("artifact", metavar="ARTIFACT", help="workspace/artifact")
    _json(command)
    command = verb("images", "digests of what is in sync, for those who deploy it", _desired)
    _images(command)
    command = verb("verify", "whether every image is there, whole, recorded and signed", _desired)
    _verify(command)
    _json(command)
    _json(verb("sign", "sign the images that are in sync and are not signed yet", _desired, _selection))
    _registry(verbs, environ)
    command = verb("prune", "remove images that no kept revision wants; shows its plan and asks", _desired)
    _prune(command)
    _json(command)
    command = verb("doctor", "what this machine has, and which commands work")
    _json(command)
    _json(verb("version", "versions of lian and of the parts it uses"))
    command = verb("completion", "print a completion script for your shell")
    command.add_argument("shell", choices=SHELLS)
    return root


def _verbs(verbs: argparse._SubParsersAction[Parser], environ: Mapping[str, str]) -> Callable[..., Parser]:
    def verb(name: str, purpose: str, *groups: Callable[[Parser, Mapping[str, str]], None]) -> Parser:
        command = verbs.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
        for group in groups:
            group(command, environ)
        command.add_argument(
            "--cache", metavar="DIR", default=environ.get("LIAN_CACHE") or None, help="the cache folder [~/.cache/lian]"
        )
        command.add_argument("--debug", action="store_true", help="show tracebacks")
        return command

    return verb


def _desired(command: Parser, environ: Mapping[str, str]) -> None:
    group = command.add_argument_group("the desired repo")
    group.add_argument(
        "--repo", metavar="PATH|URL", default=environ.get("LIAN_REPO") or ".", help="the desired repo [.]"
    )
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


def _selection(command: Parser, environ: Mapping[str, str]) -> None:
    del environ
    command.add_argument(
        "--only",
        metavar="GLOB",
        action="append",
        default=[],
        help="only these artifacts and what they stand on (workspace/artifact, may be given again)",
    )


def _working(command: Parser, environ: Mapping[str, str]) -> None:
    command.add_argument(
        "--jobs",
        metavar="N",
        type=jobs,
        default=environ.get("LIAN_JOBS") or None,
        help="builds at a time [lian.ncl, or the cores]",
    )
    _overrides(command)
    command.add_argument(
        "--build-timeout", metavar="TIME", type=seconds, help="a cap on each build, below its own time budget"
    )
    command.add_argument(
        "--interval", metavar="TIME", type=seconds, default=60.0, help="with watch: look again at least so often [60s]"
    )


def _overrides(command: Parser) -> None:
    command.add_argument(
        "--allow-older", action="store_true", help="go back on purpose: undo what a newer commit applied"
    )
    command.add_argument(
        "--allow-vanished", action="store_true", help="build anew although most of what was applied is gone"
    )


def _registry(verbs: argparse._SubParsersAction[Parser], environ: Mapping[str, str]) -> None:
    """Verbs about registries as such; `subcommand` names which."""
    purpose = "describe the fleet's registries"
    group = verbs.add_parser("registry", help=purpose, description="Describe the fleet's registries.")
    verb = _verbs(
        group.add_subparsers(dest="subcommand", metavar="COMMAND", required=True, parser_class=Parser), environ
    )
    command = verb("status", "what is there, whose it is, how much, how old, and what drifts", _desired)
    _chosen(command)
    _json(command)


def _images(command: Parser) -> None:
    _chosen(command)
    command.add_argument(
        "--format",
        choices=IMAGE_FORMATS,
        default="text",
        help="text (artifact, reference), json, env (SHOP_API_IMAGE=…), kustomize (a component), helm (values) [text]",
    )
    command.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")


def _verify(command: Parser) -> None:
    command.add_argument("artifact", metavar="ARTIFACT", nargs="?", help="only this one (workspace/artifact)")
    _chosen(command)
    command.add_argument("--deep", action="store_true", help="read every byte of every layer too")
    command.add_argument(
        "--key",
        metavar="FILE",
        action="append",
        default=[],
        help="a public key (PEM) that must have signed, in place of those that lian.ncl names (may be given again)",
    )


def _prune(command: Parser) -> None:
    command.epilog = PRUNE_EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument("--dry-run", action="store_true", help="only show the plan; 2 if something would go")
    command.add_argument("--yes", action="store_true", help="do not ask; needed where there is no terminal")
    command.add_argument("--detailed", action="store_true", help="show every image, and full digests")
    command.add_argument(
        "--only",
        metavar="GLOB",
        action="append",
        default=[],
        help="only these repositories (a path, or host/path; may be given again)",
    )
    command.add_argument(
        "--keep-from",
        metavar="SOURCE",
        action="append",
        default=[],
        help="keep every sha256:… in this file (- is stdin), or in what cmd:COMMAND prints (may be given again)",
    )
    command.add_argument("--allow-most", action="store_true", help="let more than half of the fleet's images go")


def _chosen(command: Parser) -> None:
    command.add_argument(
        "--only",
        metavar="GLOB",
        action="append",
        default=[],
        help="only these artifacts (workspace/artifact, may be given again)",
    )


def _json(command: Parser) -> None:
    command.add_argument("--json", action="store_true", help="print one JSON document on stdout")
