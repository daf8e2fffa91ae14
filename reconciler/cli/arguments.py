"""The command line, as data: parsing has no effect, and `--help` imports nothing heavy."""

from __future__ import annotations

import argparse
import os
import sys
from itertools import pairwise
from typing import TYPE_CHECKING

from reconciler import __version__
from reconciler.cli.flag_groups import (
    as_json,
    at_a_time,
    chosen,
    commit,
    desired,
    forced,
    limited,
    overrides,
    removal,
    renting,
    selection,
    working,
)
from reconciler.cli.flag_values import age, secret, volume
from reconciler.cli.help_texts import (
    BUILD_EPILOG,
    CACHE_PRUNE_EPILOG,
    DESCRIPTION,
    DIFF_EPILOG,
    EPILOG,
    INIT_EPILOG,
    LOCK_EPILOG,
    POLICY_EPILOG,
    PRUNE_EPILOG,
    SCHEMA_EPILOG,
    SIZING_EPILOG,
    SUGGEST_EPILOG,
)
from reconciler.cli.parsing import Layout, Mistake, Once, Parser

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


SHELLS = ("bash", "zsh", "tcsh")
PLAN_FORMATS = ("text", "markdown", "json")
IMAGE_FORMATS = ("text", "json", "env", "kustomize", "helm")
POLICY_PROVIDERS = ("zot", "harbor", "distribution-token")
BUILD_FLAGS = (
    ("--workspace", "NAME", "whose caches are used; the artifact is called NAME/(last part of the image's path)"),
    ("--context", "DIR", "the folder that is sent to the build"),
    ("--image", "HOST/PATH[:TAG]", "where it is pushed [:latest]"),
    ("--dockerfile", "FILE", "the Dockerfile, from the context's folder [Dockerfile]"),
    ("--language", "NAME", "picks the size of the runner where nothing else does: go, rust, java, …"),
    ("--directives", "FILE", "build what this directive file declares"),
)
MEANS_FLAGS = (
    ("--cache-to", "REF", "write this cache of the workspace instead of the artifact's own"),
    ("--runner-image", "IMAGE", "what runners start from, with compute 'DockerLocal"),
    ("--orchestrator-url", "URL", "where runners are rented (not there yet)"),
    ("--nats-url", "URL", "where events go (not there yet)"),
    ("--nats-subject-prefix", "NAME", "what their subjects begin with [lian-build]"),
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
    verbs = root.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=Parser)
    verb = _verbs(verbs, environ)
    _init(verb("init", "begin a desired repo, from nothing or from Dockerfiles, compose or bake"))
    command = verb("validate", "evaluate and check every directive; file:line:column for each error", desired)
    as_json(command)
    told = "show what would be built, why, and what that takes; changes nothing"
    _diff(verb("diff", told, desired, selection, forced, limited, at_a_time))
    command = verb("reconcile", "converge the registry to the commit", desired, selection, forced, limited, working)
    command.add_argument("--once", action="store_true", help="one pass, then exit (for CI); without it: lian watch")
    command.add_argument("--plan", metavar="FILE", help="carry out this plan of lian diff --out, and nothing else")
    command.add_argument("--strict", action="store_true", help="with --plan: nothing at all if a part has moved")
    as_json(command)
    command = verb("watch", "keep converging: a pass on every commit", desired, selection, limited, working)
    command.set_defaults(force=[])  # it would build anew in every pass
    _build(verb("build", "build and push one image, from flags or from one directive file"), environ)
    command = verb("why", "the whole story of one artifact", desired)
    command.add_argument("artifact", metavar="ARTIFACT", help="workspace/artifact, or the artifact alone")
    as_json(command)
    command = verb("images", "digests of what is in sync, for those who deploy it", desired)
    _images(command)
    command = verb("verify", "whether every image is there, whole, recorded and signed", desired)
    _verify(command)
    as_json(command)
    as_json(verb("sign", "sign the images that are in sync and are not signed yet", desired, selection))
    command = verb("lock", "pin what moves by itself in lian.lock: bases, sources, URLs", desired)
    _lock(command)
    as_json(command)
    _registry(verbs, environ)
    _cache(verbs, environ)
    _sizing(verbs, environ)
    _runners(verbs, environ)
    command = verb("stats", "what builds took, and how good the forecasts of that were", desired)
    chosen(command)
    as_json(command)
    command = verb("prune", "remove images that no kept revision wants; shows its plan and asks", desired)
    _prune(command)
    as_json(command)
    _schema(verb("schema", "what directives and settings may say, field by field"))
    command = verb("doctor", "what this machine has, and which commands work")
    as_json(command)
    as_json(verb("version", "versions of lian and of the parts it uses"))
    command = verb("completion", "print a completion script for your shell")
    command.add_argument("shell", choices=SHELLS)
    return root


def _group(
    verbs: argparse._SubParsersAction[Parser], environ: Mapping[str, str], name: str, purpose: str
) -> tuple[Parser, Callable[..., Parser]]:
    """A verb that has verbs of its own, and what adds these; `subcommand` names which was given."""
    group = verbs.add_parser(name, help=purpose, description=purpose[0].upper() + purpose[1:] + ".")
    own = group.add_subparsers(dest="subcommand", metavar="COMMAND", required=True, parser_class=Parser)
    return group, _verbs(own, environ)


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


def _diff(command: Parser) -> None:
    command.epilog = DIFF_EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument("--detailed", action="store_true", help="show every artifact, and full digests")
    merge = command.add_argument_group("for a pull request")
    merge.add_argument("--base", metavar="REV", help="show what merging --head into this would build")
    merge.add_argument("--head", metavar="REV", help="what would be merged [--rev]")
    form = command.add_mutually_exclusive_group()
    form.add_argument("--format", choices=PLAN_FORMATS, default="text", help="text, markdown (a comment), json [text]")
    form.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")
    command.add_argument("--out", metavar="FILE", help="write the plan down too, for lian reconcile --once --plan")
    overrides(command)


def _init(command: Parser) -> None:
    command.epilog = INIT_EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
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


def _schema(command: Parser) -> None:
    command.epilog = SCHEMA_EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument("name", metavar="NAME", nargs="*", help="a contract, and fields of it [a list of all]")
    command.add_argument("--path", action="store_true", help="print the folder that Nickel and editors import from")
    as_json(command)


def _build(command: Parser, environ: Mapping[str, str]) -> None:
    """Most variables behind these are read by the verb: it has to know which flags were given."""
    command.epilog = BUILD_EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    what = command.add_argument_group("what is built")
    for flag, metavar, said in BUILD_FLAGS:
        what.add_argument(flag, metavar=metavar, action=Once, help=said)
    how = command.add_argument_group("how it is built")
    renting(how, environ)
    how.add_argument(
        "--cache-from",
        metavar="REF",
        action="append",
        default=[],
        help="read this cache of the workspace too (may be given again)",
    )
    for flag, metavar, said in MEANS_FLAGS:
        how.add_argument(flag, metavar=metavar, action=Once, help=said)
    how.add_argument(
        "--nats-nkey-seed", metavar="SEED", type=secret, help="better given as NATS_NKEY_SEED: ps shows a command line"
    )
    commit(command, environ)
    command.add_argument(
        "--allow-older", action="store_true", help="go back on purpose: undo what a newer commit applied"
    )
    command.add_argument("--allow-foreign", action="store_true", help="take over a tag that lian did not set")
    command.set_defaults(repo=".")


def _registry(verbs: argparse._SubParsersAction[Parser], environ: Mapping[str, str]) -> None:
    """Verbs about registries as such."""
    purpose = "describe the fleet's registries"
    _, verb = _group(verbs, environ, "registry", purpose)
    command = verb("status", "what is there, whose it is, how much, how old, and what drifts", desired)
    chosen(command)
    as_json(command)


def _sizing(verbs: argparse._SubParsersAction[Parser], environ: Mapping[str, str]) -> None:
    """Verbs about the size of runners."""
    purpose = "how large a runner each build gets, and why"
    group, verb = _group(verbs, environ, "sizing", purpose)
    group.epilog = SIZING_EPILOG
    group.formatter_class = argparse.RawDescriptionHelpFormatter
    command = verb("explain", "which rule sizes an artifact's build, the runs it rests on, and the price", desired)
    command.add_argument("artifact", metavar="ARTIFACT", help="workspace/artifact, or the artifact alone")
    as_json(command)
    command = verb("suggest", "print a patch with the sizes that earlier runs ask for", desired)
    command.epilog = SUGGEST_EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    chosen(command)
    as_json(command)


def _runners(verbs: argparse._SubParsersAction[Parser], environ: Mapping[str, str]) -> None:
    """Verbs about what is rented."""
    purpose = "what is rented to build on, and returning what nobody needs any more"
    _, verb = _group(verbs, environ, "runners", purpose)
    as_json(verb("list", "what is rented, by whom, for what, since when and until when", desired, renting))
    returns = "return what passes that died have left behind, as each pass does by itself"
    as_json(verb("sweep", returns, desired, renting))


def _cache(verbs: argparse._SubParsersAction[Parser], environ: Mapping[str, str]) -> None:
    """Verbs about the build cache."""
    purpose = "the build cache: who may use which, what is in it, and its upkeep"
    _, verb = _group(verbs, environ, "cache", purpose)
    command = verb("policy", "access control for the registry, so that it enforces who writes which cache", desired)
    _cache_policy(command)
    as_json(command)
    command = verb("refs", "which caches a build of an artifact reads and writes", desired)
    _cache_refs(command)
    as_json(command)
    as_json(verb("ls", "what is in the caches, how large and how old it is, and how it stands", desired, _caches))
    as_json(verb("du", "how much the caches take, by namespace and artifact", desired, _caches))
    command = verb("prune", "remove caches by age, size and reachability; shows its plan and asks", desired, _caches)
    _cache_prune(command)
    as_json(command)


def _cache_policy(command: Parser) -> None:
    command.epilog = POLICY_EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument(
        "--provider", choices=POLICY_PROVIDERS, required=True, help="what enforces it: " + ", ".join(POLICY_PROVIDERS)
    )
    command.add_argument("--check", metavar="FILE", help="compare with what is deployed; 2 if it differs")


def _cache_refs(command: Parser) -> None:
    command.add_argument("artifact", metavar="ARTIFACT", help="workspace/artifact, or the artifact alone")
    command.add_argument("--actor", metavar="NAME", help="of a session of this actor [CI's]")
    command.add_argument(
        "--cache-from",
        metavar="REF",
        action="append",
        default=[],
        help="would this cache be read too? 1 if the rules forbid it (may be given again)",
    )
    command.add_argument("--cache-to", metavar="REF", help="would this cache be written too? 1 if the rules forbid it")


def _caches(command: Parser, environ: Mapping[str, str]) -> None:
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


def _cache_prune(command: Parser) -> None:
    command.epilog = CACHE_PRUNE_EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
    command.add_argument(
        "--older-than", metavar="AGE", type=age, help="also what was written before that: 12h, 30d, 8w"
    )
    command.add_argument(
        "--max-size", metavar="SIZE", type=volume, help="also the oldest of each namespace beyond that: 20GB, 500MiB"
    )
    command.add_argument("--undated", action="store_true", help="also what nothing tells the age of")
    command.add_argument("--strange", action="store_true", help="also what lies there and is no cache")
    removal(command, "every cache that goes", "the caches")


def _images(command: Parser) -> None:
    chosen(command)
    form = command.add_mutually_exclusive_group()
    form.add_argument(
        "--format",
        choices=IMAGE_FORMATS,
        default="text",
        help="text (artifact, reference), json, env (SHOP_API_IMAGE=…), kustomize (a component), helm (values) [text]",
    )
    form.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")


def _lock(command: Parser) -> None:
    command.epilog = LOCK_EPILOG
    command.formatter_class = argparse.RawDescriptionHelpFormatter
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


def _verify(command: Parser) -> None:
    command.add_argument("artifact", metavar="ARTIFACT", nargs="?", help="only this one (workspace/artifact)")
    chosen(command)
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
    removal(command, "every image, and full digests", "the fleet's images")
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
