"""The plan."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from reconciler.cli.views import forecast
from reconciler.cli.views.problems import blocks, number
from reconciler.cli.views.reasons import place, sentence, sentences
from reconciler.cli.views.text import Writer
from reconciler.model.plan import Action
from reconciler.model.wording import count, short, some
from reconciler.plan.causes import grouped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.cli.views.text import Part
    from reconciler.model.plan import Change, Plan
    from reconciler.plan.causes import Group

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


_INDENT = " " * 11
TOLD_TOGETHER = 4
"""From so many artifacts of one cause on."""
NAMES_SHOWN = 6
ORPHANS_SHOWN = 10
TAGS_SHOWN = 3
NOTHING_DIFFERS = "no artifact differs"
"""Of a part of what a commit asks for, chosen by what has changed."""
_NO_LONGER = {False: "no commit wants it any more", True: "not wanted once this is merged"}
"""Whether a merge is shown -> what is said of what is left over."""
_BEHIND = "each unless what it stands on comes out identical"
_BEHIND_HELD = {True: "held with them", False: "behind what changed"}
"""Whether something is held that has the cause itself -> what is said of what has it by what it stands on."""


def show(plan: Plan, stream: IO[str], *, detailed: bool = False) -> None:
    """What would happen, and why: what many have as their cause is told once. Artifacts in sync are counted; with
    `detailed` every artifact is told by itself."""
    writer = Writer(stream)
    changes(plan, writer, detailed=detailed)
    if any(change.action is not Action.NONE for change in plan.changes) or plan.orphans or (detailed and plan.changes):
        writer.line()
    if plan.forecast:
        forecast.of_pass(plan.forecast, writer)
    last = ", ".join([summary(plan), *([number(plan.problems)] if plan.problems else [])])
    writer.wrapped([(f"{_about(plan)}: ", "dim")], last, "bold", indent=2)


def changes(plan: Plan, writer: Writer, *, detailed: bool) -> None:
    """The same without the line that sums up."""
    if detailed:
        currency = plan.forecast.currency if plan.forecast else None
        for change in plan.changes:
            _change(change, writer, detailed)
            if change.forecast:
                told = forecast.of_build(change.forecast, currency, conditional=change.conditional)
                writer.wrapped([_INDENT], told, "dim", indent=len(_INDENT) + 2)
    else:
        for group in grouped(plan):
            _group(group, writer)
    _orphans(plan, writer, detailed)
    already = set(plan.problems)  # told by themselves, before the plan
    held = (problem for change in plan.whole for problem in change.holds if problem not in already)
    blocks(held, writer, word="held", style="yellow")


def _about(plan: Plan) -> str:
    if plan.merge is None:
        return f"revision {short(plan.revision)}"
    merge = plan.merge
    return f"merging {_named(merge.head_called, merge.head)} into {_named(merge.base_called, merge.base)}"


def _named(called: str, commit: str) -> str:
    return short(commit) if commit.startswith(called) else f"{called} ({short(commit)})"


def summary(plan: Plan) -> str:
    """`2 to build, 1 held, 9 in sync, 1 orphaned`, or that there is nothing to do: of some artifacts, or because the
    commit has none."""
    if not plan.whole:
        return NOTHING_DIFFERS if plan.others else "no artifacts"
    left = sum(change.action is Action.NONE for change in plan.orphans)
    orphaned = f", {left:,} orphaned" if left else ""
    counts = {**plan.summary, Action.NONE: plan.summary[Action.NONE] - left}
    if not plan.changes and left == len(plan.whole):
        return f"nothing to build{orphaned}"
    if counts[Action.NONE] == len(plan.changes) == len(plan.whole) - left:
        return f"{count(len(plan.changes), 'artifact')} in sync, nothing to do{orphaned}"
    return ", ".join(f"{counts[action]:,} {words}" for action, words in _SUMMARY.items() if counts[action]) + orphaned


def summary_word(action: Action) -> str:
    """`to build`, `in sync`, …"""
    return _SUMMARY[action]


def _change(change: Change, writer: Writer, detailed: bool) -> None:
    sign, style = SIGNS[change.action]
    _headed(change, writer, (f"{sign} {change.action:<6}", style), detailed=detailed)
    if detailed and change.key:
        writer.line(_INDENT, ("key ", "dim"), change.key)
    if detailed and change.digest:
        writer.wrapped([_INDENT, ("digest ", "dim")], str(change.digest), indent=len(_INDENT))
    for told in sentences(change, detailed=detailed):
        writer.wrapped([_INDENT], told, indent=len(_INDENT) + 2)


def _headed(change: Change, writer: Writer, *sign: Part, detailed: bool) -> None:
    """Which artifact, and where it goes: on a line of its own if the two are too long for one."""
    tags = change.tags if detailed else change.tags[:TAGS_SHOWN]
    more = f" and {len(change.tags) - len(tags)} more" if len(tags) < len(change.tags) else ""
    where = f"{place(change.image)}:{','.join(tags)}{more}"
    name = (*sign, (str(change.artifact), "bold"))
    if writer.fits(*name, "  ", where):
        writer.line(*name, (f"  {where}", "dim"))
    else:
        writer.line(*name)
        writer.wrapped([_INDENT], where.replace(",", ", "), "dim", indent=len(_INDENT) + 2)


def _group(group: Group, writer: Writer) -> None:
    """A few artifacts one by one; many by what is at their root."""
    if len(group.changes) < TOLD_TOGETHER:
        for change in group.changes:
            _change(change, writer, detailed=False)
        return
    sign, style = SIGNS[group.action]
    writer.line((f"{sign} {group.action:<6}", style), (count(len(group.changes), "artifact"), "bold"))
    for cause in group.causes:
        writer.wrapped([_INDENT], sentence(cause, conditional=group.waits), indent=len(_INDENT) + 2)
    if group.own:
        told = f"{_BEHIND}: " if not group.waits and all(change.conditional for change in group.own) else ""
        writer.wrapped([_INDENT, told], _names(group.own), "bold", indent=len(_INDENT))
    if group.behind:
        what = _BEHIND_HELD[bool(group.own)] if group.action is Action.HOLD else _BEHIND
        told = f"and {len(group.behind):,} behind, {what}: " if group.own else f"{what}: "
        writer.wrapped([_INDENT], told + _names(group.behind), indent=len(_INDENT) + 2)


def _names(changes: Sequence[Change]) -> str:
    return some([change.artifact for change in changes], NAMES_SHOWN)


def _orphans(plan: Plan, writer: Writer, detailed: bool) -> None:
    """A line for each artifact that is not wanted any more; its tags in full with `detailed`."""
    orphans, why = plan.orphans, _NO_LONGER[plan.merge is not None]
    shown = orphans if detailed else orphans[:ORPHANS_SHOWN]
    for change in shown:
        sign, style = SIGNS[change.action] if change.action is not Action.NONE else ("?", "yellow")
        word = "orphan" if change.action is Action.NONE else change.action
        _headed(change, writer, (f"{sign} {word:<6} ", style), detailed=detailed)
        writer.line(_INDENT, why)
    if more_orphans := len(orphans) - len(shown):
        writer.line(f"  and {more_orphans:,} more like that (--detailed lists them)")
