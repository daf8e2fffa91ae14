"""What `lian lock` did: a line for each entry that changed, who uses it, and a sum."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from reconciler.cli.views import problems
from reconciler.cli.views.text import Writer, notes
from reconciler.model.lock import NAME
from reconciler.model.lock_report import LockAction
from reconciler.model.moving import PartKind
from reconciler.model.problem import redact
from reconciler.model.wording import count, short, some

if TYPE_CHECKING:
    from reconciler.model.lock_report import LockChange, LockReport

_SIGNS = {
    LockAction.ADDED: ("+", "green"),
    LockAction.MOVED: ("~", "yellow"),
    LockAction.REMOVED: ("-", "red"),
    LockAction.LACKING: ("+", "green"),
    LockAction.UNUSED: ("-", "red"),
}
_INDENT = 2


def show_beside(told: LockReport, stream: IO[str]) -> None:
    """Notes, and what is wrong, for stderr."""
    notes(told.notes, stream)
    problems.show((*told.problems, *told.unresolved), stream)


def show(told: LockReport, stream: IO[str], *, check: bool) -> None:
    """Each change, then the sum."""
    writer = Writer(stream)
    for change in told.changes:
        sign, style = _SIGNS[change.action]
        writer.line((sign, style), " ", redact(str(change.part)))
        writer.line(" " * _INDENT, _values(change))
        if change.artifacts:
            writer.wrapped([" " * _INDENT, ("used by ", "dim")], some(change.artifacts), indent=_INDENT + 8)
    if told.changes:
        writer.line("")
    writer.wrapped((), _found(told) if check else _done(told), indent=2)


def _values(change: LockChange) -> str:
    match change.action:
        case LockAction.LACKING:
            return f"not in {NAME}"
        case LockAction.UNUSED | LockAction.REMOVED:
            return f"nothing uses it: {_value(change, change.old)}"
        case LockAction.ADDED:
            return _value(change, change.new)
        case LockAction.MOVED:
            return f"{_value(change, change.old)} → {_value(change, change.new)}"


def _value(change: LockChange, value: str | None) -> str:
    """As plans have them; whole values are in the file."""
    algorithm, colon, bare = (value or "").rpartition(":")
    return f"commit {short(bare)}" if change.part.kind is PartKind.GIT else f"{algorithm}{colon}{short(bare)}"


def _done(told: LockReport) -> str:
    if told.unresolved:
        return f"{NAME} is as it was: {count(len(told.unresolved), 'part')} could not be found out"
    counts = [(len([c for c in told.changes if c.action is a]), a.value) for a in _SIGNS]
    parts = [f"{number} {word}" for number, word in counts if number] + [f"{told.kept} kept"]
    if not told.changes and not told.kept:
        return f"nothing moves in {_revision(told)}: {NAME} is not needed"
    end = "; commit it" if told.written else ", as it was"
    return f"{NAME}: {', '.join(parts)} ({_revision(told)}){end}"


def _found(told: LockReport) -> str:
    lacking = len([change for change in told.changes if change.action is LockAction.LACKING])
    unused = len(told.changes) - lacking
    if not told.changes:
        return f"{NAME} of {_revision(told)} pins all that moves: {count(told.kept, 'entry', 'entries')}"
    end = "that of the working tree is as it should be: commit it" if told.mended else "`lian lock` mends it"
    return f"{NAME} of {_revision(told)}: {lacking} lacking, {unused} unused, {told.kept} in use; {end}"


def _revision(told: LockReport) -> str:
    return f"revision {short(told.revision)}"
