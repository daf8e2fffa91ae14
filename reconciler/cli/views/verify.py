"""What was found out about images."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from reconciler.audit.findings import State
from reconciler.cli.views import problems
from reconciler.cli.views.reasons import place
from reconciler.cli.views.text import Writer, notes, size
from reconciler.model.wording import built_from, short

if TYPE_CHECKING:
    from reconciler.audit.findings import Verification, Verified

_STYLES = {
    State.OK: "green",
    State.DRIFT: "yellow",
    State.UNKNOWN: "yellow",
    State.HELD: "yellow",
    **dict.fromkeys((State.BROKEN, State.UNSIGNED, State.UNRECORDED, State.INVALID), "red"),
}


def show_notes(told: Verification, stream: IO[str]) -> None:
    """Notes and problems of the commit, and whether signatures were looked at."""
    notes(told.notes, stream)
    problems.show(told.problems, stream)
    if not told.keys:
        notes(["signatures are not looked at: neither lian.ncl nor --key names a key"], stream)


def show(told: Verification, stream: IO[str], *, detailed: bool) -> None:
    """A line for each image that is not well (with `detailed` for each), then what was found, then one of counts."""
    writer = Writer(stream)
    for result in told.results:
        if detailed or result.state is not State.OK:
            _line(result, writer)
    for state in State:
        if state is not State.INVALID:  # told as problems of the commit
            found = (f.problem for result in told.results for f in result.findings if f.state is state)
            problems.blocks(found, writer, word=state.value, style=_STYLES[state])
    writer.line((f"revision {short(told.revision)}", "dim"), ": ", (summary(told), "bold"))


def summary(told: Verification) -> str:
    """`11 ok, 1 broken; 1.2 GiB read`."""
    counts = [f"{number:,} {state}" for state, number in reversed(told.summary.items()) if number]
    return (", ".join(counts) or "no artifacts") + (f"; {size(told.read)} read" if told.deep else "")


def _line(result: Verified, writer: Writer) -> None:
    at = f"@{result.digest.short}" if result.digest else ""
    image = f"  {place(result.image)}{at}"
    writer.line((f"{result.state.value:<10}", _STYLES[result.state]), " ", (str(result.artifact), "bold"), image)
    for parent in result.parents:
        writer.line("           ", f"its parent {parent} is broken")
    if result.remedy:
        writer.line("           ", result.remedy)
    if result.record:
        writer.line("           ", (f"built {result.record.started} from {built_from(result.record.revision)}", "dim"))
    if result.vouched:
        names = ", ".join(sorted({vouched.key for vouched in result.vouched}))
        writer.line("           ", (f"signed with {names}", "dim"))
