"""Verbs about images in registries: telling, checking, signing and removing them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.flag_groups import as_json, chosen, desired, removal, selection
from reconciler.cli.help_texts import PRUNE_EPILOG

if TYPE_CHECKING:
    from reconciler.cli.arguments.verbs import Verbs

IMAGE_FORMATS = ("text", "json", "env", "kustomize", "helm")


def images(verbs: Verbs) -> None:
    """`lian images`."""
    command = verbs.add("images", "digests of what is in sync, for those who deploy it", desired)
    chosen(command)
    form = command.add_mutually_exclusive_group()
    form.add_argument(
        "--format",
        choices=IMAGE_FORMATS,
        default="text",
        help="text (artifact, reference), json, env (SHOP_API_IMAGE=…), kustomize (a component), helm (values) [text]",
    )
    form.add_argument("--json", action="store_const", dest="format", const="json", help="the same as --format json")


def verify(verbs: Verbs) -> None:
    """`lian verify`."""
    command = verbs.add("verify", "whether every image is there, whole, recorded and signed", desired)
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
    as_json(command)


def sign(verbs: Verbs) -> None:
    """`lian sign`."""
    as_json(verbs.add("sign", "sign the images that are in sync and are not signed yet", desired, selection))


def prune(verbs: Verbs) -> None:
    """`lian prune`."""
    purpose = "remove images that no kept revision wants; shows its plan and asks"
    command = verbs.add("prune", purpose, desired, epilog=PRUNE_EPILOG)
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
    as_json(command)


def registry(verbs: Verbs) -> None:
    """`lian registry`: verbs about registries as such."""
    own = verbs.under("registry", "describe the fleet's registries")
    command = own.add("status", "what is there, whose it is, how much, how old, and what drifts", desired)
    chosen(command)
    as_json(command)
