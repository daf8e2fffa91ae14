"""What `lian init` wrote, what it could not carry over, and what comes next."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from reconciler.adopt.remark import Weight
from reconciler.cli.views.text import Writer, printable
from reconciler.model.wording import count

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.adopt.init import Initiation
    from reconciler.adopt.remark import Remark

PLACES_SHOWN = 3
_TOLD = {
    Weight.LEFT_OUT: ("left out", "red"),
    Weight.DROPPED: ("not carried over", "yellow"),
    Weight.SETTLED: ("settled", "cyan"),
    Weight.NOTE: ("note", "blue"),
}
_FOUND = {"dockerfiles": "the Dockerfiles", "nothing": "nothing"}


def show(told: Initiation, stream: IO[str], *, written: bool, in_git: bool) -> None:
    """The whole report; the files themselves where they were not written."""
    out = Writer(stream)
    for path, content in told.files.items():
        out.line(("wrote " if written else "would write ", "green" if written else "yellow"), (path, "bold"))
        if not written:
            for line in content.splitlines():
                out.line(f"    {line}" if line else "")
    out.line()
    _remarks(told.remarks, out)
    out.wrapped([], _summary(told), "bold", indent=2)
    if not in_git:
        said = "this folder is no git repository yet, and only commits count: make one first"
        out.wrapped([], said, "yellow", indent=2)
    out.line(("next:", "dim"))
    for command in told.next:
        out.line("  ", command)


def _summary(told: Initiation) -> str:
    if told.adopted is None:
        return f"nothing to adopt was found: workspace {told.workspace} begins with one image, built from scratch"
    source = told.file or _FOUND[told.source]
    carried, left_out = len(told.adopted.carried), len(told.adopted.left_out)
    more = f", {left_out} left out" if left_out else ""
    return f"from {source}: {count(carried, 'artifact')} in workspace {told.workspace}{more}"


def _remarks(remarks: Iterable[Remark], out: Writer) -> None:
    """In the order of what they mean; what is the same of many is said once, with the first places."""
    for weight, (word, style) in _TOLD.items():
        groups: dict[tuple[str, str, str | None], list[Remark]] = {}
        for remark in remarks:
            if remark.weight is weight:
                groups.setdefault((remark.code, remark.message, remark.hint), []).append(remark)
        for (code, message, hint), group in groups.items():
            out.wrapped([(f"{word}[{code}]", style), ": "], message, "bold", indent=2)
            for text in _places(group):
                out.wrapped(["  ", ("at ", "dim")], text, indent=5)
            if hint:
                out.wrapped(["  ", ("try: ", "dim")], hint, indent=7)
            out.line()


def _places(group: list[Remark]) -> list[str]:
    """`compose.yaml:12:7 services.api.build.ssh`, or the build's name where no field is meant."""
    texts: dict[str, None] = {}
    for remark in group:
        place = remark.place
        where = ":".join(str(part) for part in (place.file, place.line, place.column) if part)
        what = remark.field or (f"({remark.build})" if remark.build else "")
        texts[printable(f"{where} {what}".strip())] = None
    shown = list(texts)
    if len(shown) <= PLACES_SHOWN + 1:
        return shown
    return [*shown[:PLACES_SHOWN], f"{len(shown) - PLACES_SHOWN} more places"]
