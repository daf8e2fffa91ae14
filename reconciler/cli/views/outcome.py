"""What a pass did."""

from __future__ import annotations

import shlex
from typing import IO, TYPE_CHECKING

from reconciler.cli.views import cache_use, forecast
from reconciler.cli.views.problems import ARTIFACTS_SHOWN, blocks, in_common, number
from reconciler.cli.views.reasons import place
from reconciler.cli.views.text import Writer
from reconciler.cli.views.tries import sentences
from reconciler.model.outcome import Status
from reconciler.model.plan import Action
from reconciler.model.wording import built_from

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.cli.views.text import Part
    from reconciler.model.outcome import Outcome, Result
    from reconciler.model.plan import Plan
    from reconciler.model.problem import Problem
    from reconciler.model.reference import Repository

_STYLE = {
    Status.DONE: "green",
    Status.NONE: "dim",
    Status.FAILED: "red",
    Status.SKIPPED: "yellow",
    Status.HELD: "yellow",
}


_TOLD_BELOW = {Status.FAILED, Status.HELD}
"""Their problems are told whole after all lines."""


def show(
    outcome: Outcome,
    stream: IO[str],
    repeat: Sequence[str] | None,
    plan: Plan | None = None,
    *,
    all_of_them: bool = False,
) -> None:
    """A line for each artifact that was not simply in sync, or for `all_of_them`; then the failures in full, then one
    line of counts.

    `repeat` is the command line that would run this pass again; a failure shows it narrowed to its artifact. `plan`
    tells where copies came from. The pass's own problems have been told: no artifact's end tells them again.
    """
    writer = Writer(stream)
    sources = {change.artifact: change.source for change in plan.changes} if plan else {}
    for result in outcome.results:
        if all_of_them or _worth_a_line(result):
            told = _detail(result) + _copied(result, sources.get(result.artifact))
            writer.wrapped(_headed(result), told, indent=11)
            for tried in sentences(result.tries):
                writer.wrapped(["  ", ("tried: ", "yellow")], tried, indent=4)
            for complaint in (c for use in result.caches.values() for c in cache_use.complaints(use)):
                writer.wrapped(["  ", ("cache: ", "yellow")], complaint, indent=4)
    held = (problem for result in outcome.results if result.status is Status.HELD for problem in result.problems)
    known = set(outcome.problems)
    blocks((problem for problem in held if problem not in known), writer, word="held", style="yellow")
    for those in _by_problem(outcome.results):
        writer.line()
        blocks([problem.of(str(result.artifact)) for result in those for problem in result.problems], writer)
        if repeat is not None and any(result.action is Action.BUILD for result in those):
            named = those if len(those) <= ARTIFACTS_SHOWN else ()
            only = [word for result in named for word in ("--only", str(result.artifact))]
            writer.line("  ", ("again: ", "dim"), shlex.join([*repeat, *only]))
    uses = [use for result in outcome.results for use in result.caches.values()]
    if told := cache_use.in_sum(uses):
        writer.wrapped([("cache", "dim"), ": "], told, indent=2)
    if outcome.forecast and (told := forecast.scored(outcome.forecast)):
        writer.wrapped([("forecast", "dim"), ": "], told, indent=2)
    problems = [number(outcome.problems)] if outcome.problems else []
    chosen_none = plan is not None and plan.others and not outcome.results
    last = ", ".join(["nothing to do" if chosen_none else summary(outcome), *problems])
    writer.wrapped([(built_from(outcome.revision), "dim"), ": "], last, "bold", indent=2)


def _by_problem(results: Iterable[Result]) -> Iterable[list[Result]]:
    """What has failed, by what is wrong: with many artifacts it may be one thing."""
    found: dict[tuple[Problem, ...], list[Result]] = {}
    for result in results:
        if result.problem and result.status is Status.FAILED:
            found.setdefault(tuple(map(in_common, result.problems)), []).append(result)
    return found.values()


def _headed(result: Result) -> tuple[Part, ...]:
    """How it ended, and what."""
    return ((f"{words(result):<9}", _STYLE[result.status]), (str(result.artifact), "bold"), "  ")


def _copied(result: Result, source: Repository | None) -> str:
    """What may not be copied is built after all."""
    if source is None or result.action is not Action.RETAG or result.status is not Status.DONE:
        return ""
    return f", copied from {place(source)}"


def words(result: Result) -> str:
    """`built`, `retagged`, `signed`, `in sync`, `failed`, …"""
    if result.status is Status.DONE:
        return {Action.BUILD: "built", Action.NONE: "signed", Action.PRUNE: "pruned"}.get(result.action, "retagged")
    return {Status.NONE: "in sync"}.get(result.status, result.status.value)


def summary(outcome: Outcome) -> str:
    """`2 built, 1 failed, 9 in sync`."""
    counts: dict[str, int] = {}
    for result in outcome.results:
        counts[words(result)] = counts.get(words(result), 0) + 1
    order = ("built", "retagged", "signed", "pruned", "failed", "skipped", "held", "in sync")
    return ", ".join(f"{counts[word]:,} {word}" for word in order if word in counts) or "no artifacts"


def _worth_a_line(result: Result) -> bool:
    """What was in sync from the start needs no line; what a build order found identical does."""
    return not (result.status is Status.NONE and result.seconds == 0 and result.action is Action.NONE)


def _detail(result: Result) -> str:
    if result.status in {Status.DONE, Status.NONE}:
        seconds = f" in {result.seconds:.1f} s" if result.seconds else ""
        if told := cache_use.in_short(result.caches.values()):
            seconds += f", {told}"
        return f"{result.digest.algorithm}:{result.digest.short}{seconds}" if result.digest else seconds.strip()
    if result.status in _TOLD_BELOW and result.problem:
        return result.problem.code
    return result.problem.message.split("\n")[0] if result.problem else ""
