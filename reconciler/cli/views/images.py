"""Images pinned by digest, in the forms that deployment tools read; on stderr what is left out, and why.

YAML is written as JSON, which is YAML too: with every text quoted, no parser takes the tag `1e3` or `on` for something
else (PyYAML leaves `1e3` bare, and Helm's parser reads a number).
"""

from __future__ import annotations

import shlex
from typing import IO, TYPE_CHECKING

from reconciler.audit.images import Why, helm_values, kustomization, variables
from reconciler.cli.views import problems
from reconciler.cli.views.plan import summary_word
from reconciler.cli.views.reasons import sentences
from reconciler.cli.views.text import Writer, as_json, notes, printable
from reconciler.model.plan import Action
from reconciler.model.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.audit.images import Images, LeftOut

_ON_DISK = """\
an image in oci-layout:PATH lies in a folder: skopeo reads it as oci:PATH/NAME:TAG,
oras with --from-oci-layout, BuildKit as an OCI layout; no cluster can pull it"""


def document(told: Images, form: str) -> str:
    """What goes to stdout. Raises LianError `variable-conflict` (env)."""
    match form:
        case "json":
            return as_json(told.to_json())
        case "kustomize":
            return as_json(kustomization(told))
        case "helm":
            return as_json(helm_values(told))
        case "env":
            named = variables(told)
            return _lines(f"{name}={shlex.quote(str(image.reference))}" for name, image in named.items())
        case _:
            return _lines(f"{image.artifact} {image.reference}" for image in told.pinned)


def show_rest(told: Images, stream: IO[str]) -> None:
    """Notes, problems, a line for each artifact that is left out, and what can use images in a folder."""
    writer = Writer(stream)
    notes(told.notes, stream)
    problems.show(told.problems, stream)
    for left in told.left_out:
        if left.why is not Why.INVALID:  # its problem is told above
            writer.line(("left out", "yellow"), ": ", (str(left.change.artifact), "bold"), f"  {_because(left)}")
    held = (problem for left in told.left_out if left.why is Why.HELD for problem in left.change.holds)
    problems.blocks(held, writer, word="held", style="yellow")
    if told.left_out:
        writer.line((f"{count(len(told.pinned), 'image')} in sync, {len(told.left_out):,} left out", "bold"))
    for line in _ON_DISK.split("\n") if told.on_disk else ():
        writer.line((line, "dim"))


def _because(left: LeftOut) -> str:
    change = left.change
    told = "; ".join(sentences(change))
    return told if change.action in {Action.HOLD, Action.NONE} else f"{summary_word(change.action)}: {told}"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{printable(line)}\n" for line in lines)
