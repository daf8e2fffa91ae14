"""How large a runner a build gets, and why; and what the desired repo should say of sizes."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from reconciler.cli.views.patch import patch
from reconciler.cli.views.problems import blocks
from reconciler.cli.views.text import Writer, notes, size
from reconciler.model.wording import count
from reconciler.sizing.choose import Rule
from reconciler.sizing.evidence import HEADROOM, Statistic

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.audit.sizing import Explanation, Suggestions
    from reconciler.cli.views.text import Part
    from reconciler.model.run import Run
    from reconciler.sizing.choose import Field, Sizing

SHOWN_RUNS = 5
"""Of an artifact, in its story."""


def show(told: Explanation, stream: IO[str]) -> None:
    """The tier and its price, each limit with the rule behind it, the ladder, then the runs that count."""
    writer = Writer(stream)
    sizing = told.sizing
    writer.line((str(told.artifact), "bold"), "  ", (sizing.tier.words, "green"), f", {_minutes(sizing)}")
    if told.hourly is not None:
        writer.line("  ", ("price ", "dim"), f"{told.hourly:g} {told.ladder.currency or ''} an hour".replace("  ", " "))
    for name, field, unit in (
        ("cpu", sizing.cpu, ""),
        ("memory", sizing.memory, " GiB"),
        ("time", sizing.time, " min"),
    ):
        lead: list[Part] = [f"  {name:<8}", (f"{field.given:g}{unit}  ", "bold")]
        writer.wrapped(lead, _because(told, field, unit), indent=12)
    if told.ladder.tiers:
        writer.wrapped(["  ", ("ladder  ", "dim")], _ladder(told), indent=10)
    runs_of(sizing.evidence.runs, writer, f"runs of {', '.join(sizing.evidence.artifacts)}")
    blocks(told.wanted.holds, writer, word="held", style="yellow")


def runs_of(runs: Sequence[Run], writer: Writer, title: str, shown: int | None = None) -> None:
    """A line for each run, the newest first."""
    if not runs:
        return
    writer.line((title, "bold"))
    for run in runs[:shown]:
        writer.wrapped([f"  {run.started[:16].replace('T', ' ')}  "], _run(run), indent=4)
    if shown is not None and len(runs) > shown:
        writer.line(f"  and {len(runs) - shown} before them")


def _run(run: Run) -> str:
    """`12.3 s, 1.2 GiB, 20.0 cpu s, 37 B sent, 2 of 7 steps cached, medium (4 cpu, 8 GiB)`."""
    peak = "memory ?" if run.peak_memory is None else size(run.peak_memory)
    cpu = "cpu ?" if run.cpu_seconds is None else f"{run.cpu_seconds:.1f} cpu s"
    cached = f"{run.hits} of {count(run.steps, 'step')} cached"
    alone = [] if run.alone else ["not alone"]
    return ", ".join([f"{run.seconds:.1f} s", peak, cpu, f"{size(run.sent)} sent", cached, run.tier.words, *alone])


def _minutes(sizing: Sizing) -> str:
    return f"{sizing.tier.time_budget} min"


def _because(told: Explanation, field: Field, unit: str) -> str:
    spec = told.wanted.spec
    short = f"; it needs {field.needed:.3g}{unit}, and this is the largest tier" if field.short else ""
    match field.rule:
        case Rule.DIRECTIVE:
            return f"the directive says so ({told.wanted.artifact.place.file})"
        case Rule.BUILD_SPEC:
            return f"{spec.file if spec else 'the build spec'} says so"
        case Rule.TIER:
            return f"the fleet's tier {told.sizing.tier.name} says so"
        case Rule.EARLIER_RUNS:
            return _measured(told, field, unit) + short
        case Rule.LANGUAGE:
            language = told.sizing.language
            return (f"the default of the language {language}" if language else "the default of no language") + short


def _measured(told: Explanation, field: Field, unit: str) -> str:
    measure = field.measure
    if measure is None:
        return "earlier runs say so"
    what = "P95" if measure.statistic is Statistic.P95 else "maximum"
    alone = "" if measure.alone else ", none of which was alone on its runner"
    whose = "" if told.sizing.evidence.artifacts == (str(told.artifact),) else " of others in the workspace"
    used = measure.used * HEADROOM
    floor = f", raised to {measure.needed:g}{unit}" if measure.needed > used else ""
    return (
        f"{what} of {count(measure.runs, 'run')}{whose}{alone} is {measure.used:.3g}{unit}, "
        f"× {HEADROOM:g} is {used:.3g}{unit}{floor}"
    )


def _ladder(told: Explanation) -> str:
    """The one that is rented in brackets."""
    steps = (
        f"[{tier.name} {tier.cpu}/{tier.memory_gb:g}]" if tier == told.sizing.machine else
        f"{tier.name} {tier.cpu}/{tier.memory_gb:g}" for tier in told.ladder.tiers
    )  # fmt: skip
    return " → ".join(steps)


# -- suggest


def patches(told: Suggestions) -> dict[str, str]:
    """File -> its patch."""
    return {one.file: patch(one.file, one.old, one.new) for one in told.suggestions}


def show_patch(told: Suggestions, stream: IO[str]) -> None:
    """Nothing but what `git apply` takes."""
    stream.write("".join(patches(told).values()))


def show_beside(told: Suggestions, stream: IO[str]) -> None:
    """What a patch cannot say, for a person."""
    notes(told.notes, stream)
    writer = Writer(stream)
    for one in told.suggestions:
        _told(
            writer, one.file, f"{_from_to(one.wish.now.words, one.wish.then.words)}, by {count(one.wish.runs, 'run')}"
        )
    for file, wish in told.by_hand:
        said = ", ".join(_wanted(wish.cpu, wish.memory_gb))
        _told(writer, file, f"is more than a plain record: have it say {said} yourself", "yellow")
    for advice in told.advice:
        change = _from_to(advice.now.words, advice.then.words)
        _told(writer, advice.artifact, f"{change}: its directive says the size, change `runner` there", "yellow")
    blocks(told.unread, writer, word="unknown", style="yellow")
    if not (told.suggestions or told.by_hand or told.advice):
        writer.line(("no size that is written down should be another one", "dim"))


def _told(writer: Writer, what: str, text: str, style: str | None = None) -> None:
    writer.wrapped([(what, "bold"), "  "], text, style, indent=2)


def _from_to(now: str, then: str) -> str:
    return f"{now} → {then}"


def _wanted(cpu: int | None, memory_gb: float | None) -> Iterable[str]:
    if cpu is not None:
        yield f"cpu = {cpu}"
    if memory_gb is not None:
        yield f"memory_gb = {memory_gb:g}"
