"""The plan."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from reconciler.cli.views.problems import blocks
from reconciler.cli.views.reasons import sentence
from reconciler.cli.views.text import Writer, count
from reconciler.model.plan import Action

if TYPE_CHECKING:
    from reconciler.model.plan import Change, Plan

SIGNS = {
    Action.BUILD: ("+", "green"),
    Action.RETAG: ("~", "yellow"),
    Action.PRUNE: ("-", "red"),
    Action.HOLD: ("!", "red"),
    Action.NONE: ("=", "dim"),
}
_SUMMARY = {
    Action.BUILD: "to build",
    Action.RETAG: "to retag",
    Action.PRUNE: "to prune",
    Action.HOLD: "held",
    Action.NONE: "in sync",
}


def show(plan: Plan, stream: IO[str], *, detailed: bool = False) -> None:
    """What would happen, and why; artifacts in sync are counted, and listed with `detailed`."""
    writer = Writer(stream)
    for change in plan.changes:
        if detailed or change.action is not Action.NONE:
            _change(change, writer, detailed)
    blocks((problem for change in plan.changes for problem in change.holds), writer, word="held", style="yellow")
    if any(change.action is not Action.NONE for change in plan.changes) or (detailed and plan.changes):
        writer.line()
    last = ", ".join([summary(plan), *([count(len(plan.problems), "problem")] if plan.problems else [])])
    writer.line((f"revision {plan.revision[:12]}", "dim"), ": ", (last, "bold"))


def summary(plan: Plan) -> str:
    """`2 to build, 1 held, 9 in sync`, or that there is nothing to do."""
    if not plan.changes:
        return "no artifacts"
    counts = plan.summary
    if counts[Action.NONE] == len(plan.changes):
        return f"{count(len(plan.changes), 'artifact')} in sync, nothing to do"
    return ", ".join(f"{counts[action]:,} {words}" for action, words in _SUMMARY.items() if counts[action])


def summary_word(action: Action) -> str:
    """`to build`, `in sync`, …"""
    return _SUMMARY[action]


def _change(change: Change, writer: Writer, detailed: bool) -> None:
    sign, style = SIGNS[change.action]
    tags = ",".join(change.tags)
    writer.line(
        (f"{sign} {change.action:<6}", style), (f"{change.artifact}", "bold"), (f"  {_image(change)}:{tags}", "dim")
    )
    if detailed and change.key:
        writer.line("           ", ("key ", "dim"), change.key)
    if detailed and change.digest:
        writer.line("           ", ("digest ", "dim"), str(change.digest))
    for reason in change.reasons:
        writer.line("           ", sentence(reason, detailed=detailed, conditional=change.conditional))


def _image(change: Change) -> str:
    return change.image.path if change.image.layout else str(change.image)
