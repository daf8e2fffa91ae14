"""The verb that builds one image."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.flag_groups import commit, renting
from reconciler.cli.flag_values import secret
from reconciler.cli.help_texts import BUILD_EPILOG
from reconciler.cli.parsing import Once

if TYPE_CHECKING:
    from reconciler.cli.arguments.verbs import Verbs

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


def build(verbs: Verbs) -> None:
    """`lian build`. Most variables behind its flags are read by the verb: it has to know which flags were given."""
    purpose = "build and push one image, from flags or from one directive file"
    command = verbs.add("build", purpose, epilog=BUILD_EPILOG)
    what = command.add_argument_group("what is built")
    for flag, metavar, said in BUILD_FLAGS:
        what.add_argument(flag, metavar=metavar, action=Once, help=said)
    how = command.add_argument_group("how it is built")
    renting(how, verbs.environ)
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
    commit(command, verbs.environ)
    command.add_argument(
        "--allow-older", action="store_true", help="go back on purpose: undo what a newer commit applied"
    )
    command.add_argument("--allow-foreign", action="store_true", help="take over a tag that lian did not set")
    command.set_defaults(repo=".")
