"""What builds are expected to take, and how that turned out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cli.views.text import roughly, share
from reconciler.model.forecast import Basis, Span, Warmth
from reconciler.model.wording import count
from reconciler.sizing.evidence import ENOUGH

if TYPE_CHECKING:
    from reconciler.cli.views.text import Writer
    from reconciler.model.forecast import BuildForecast, PassForecast, Score
    from reconciler.model.plan import Plan

PATH_SHOWN = 6
"""Artifacts of the longest path; of more, those in the middle are counted."""
MEDIAN_OF = 3
"""Builds from which on the median of anything is worth telling."""
_INDENT = 10
_LEAST_PRICE = 0.005
"""What is less cannot be told in hundredths."""
_NOTHING_LIKE_IT = "nothing like it was built before"
_CACHES = {Warmth.WARM: "a warm cache", Warmth.COLD: "no cache", Warmth.UNKNOWN: "a cache perhaps"}


def of_pass(told: PassForecast, writer: Writer) -> None:
    """One line, and another for the longest path where builds stand on builds."""
    writer.wrapped([("forecast", "dim"), "  "], _in_sum(told), indent=_INDENT)
    if len(told.longest) > 1:
        text = f"{_path(told)}, {roughly(told.longest_seconds)}"
        writer.wrapped([("longest", "dim"), "   "], text, indent=_INDENT)


def of_build(told: BuildForecast, currency: str | None, *, conditional: bool) -> str:
    """`about 12 s (P95 20 s) by 7 runs, a warm cache, medium (4 cpu, 8 GiB), about 0.02 EUR`."""
    parts = [_time(told, conditional=conditional), _CACHES[told.warmth], told.tier.words]
    if told.cost is not None:
        parts.append(_price(Span(told.cost, told.cost, told.cost), currency))
    return ", ".join(parts)


def in_short(plan: Plan) -> str:
    """`, about 4 min (P95 7 min)`; empty where not all of it is known."""
    told = plan.forecast
    return f", {_span(told.wall)}" if told and told.known == told.builds else ""


def scored(told: Score) -> str:
    """`took 4 min, expected about 4 min (P95 7 min); 3 of 4 builds within P95, median error 12%`; empty where
    nothing had been expected."""
    parts = []
    if told.wall and told.builds.builds:
        parts.append(f"took {roughly(told.took)}, expected {_span(told.wall)}")
    if told.builds.builds:
        error = told.builds.median_error
        few = error is None or told.builds.builds < MEDIAN_OF
        wrong = "" if few else f", median error {share(error or 0.0, 1)}"
        parts.append(f"{told.builds.within_p95:,} of {count(told.builds.builds, 'build')} within P95{wrong}")
    return "; ".join(parts)


def _in_sum(told: PassForecast) -> str:
    if not told.known:
        return f"unknown: {_NOTHING_LIKE_IT}"
    parts = [f"{_span(told.wall)} with {count(told.jobs, 'job')}"]
    if told.fewest < ENOUGH:
        parts.append(f"by {count(told.fewest, 'run')} {'or more each' if told.known > 1 else ''}".rstrip())
    if unknown := told.builds - told.known:
        parts.append(f"and {unknown:,} of {count(told.builds, 'build')} of unknown time")
    if told.warm:
        one = told.builds == 1
        parts.append("from a warm cache" if one else f"{told.warm:,} of {told.builds:,} from warm caches")
    if told.cost is not None:
        parts.append(_price(told.cost, told.currency))
    return ", ".join(parts)


def _span(span: Span) -> str:
    """`about 4 min (P95 7 min)`, `about 1 to 4 min …`, `at most about 4 min …` where nothing is certain."""
    least, most, p95 = map(roughly, (span.least, span.most, span.p95))
    if least == most:
        told = _about(span.most)
    elif not span.least:
        told = f"at most {_about(span.most)}"
    else:
        same = least.partition(" ")[2] == most.partition(" ")[2]
        told = f"{_about(span.least).rpartition(' ')[0] if same else _about(span.least)} to {most}"
    return f"{told} (P95 {p95})"


def _about(seconds: float) -> str:
    """`about 4 min`; `under 1 s` is as rough as it is."""
    told = roughly(seconds)
    return told if told.startswith("under ") else f"about {told}"


def _time(told: BuildForecast, *, conditional: bool) -> str:
    time = told.time
    if time is None:
        return f"time unknown, {_NOTHING_LIKE_IT}"
    most = "at most " if conditional or told.at_most else ""
    others = " of others in the workspace" if time.basis is Basis.WORKSPACE else ""
    return f"{most}{_about(time.p50)} (P95 {roughly(time.p95)}) by {count(time.runs, 'run')}{others}"


def _path(told: PassForecast) -> str:
    names = list(map(str, told.longest))
    if len(names) > PATH_SHOWN:
        half = PATH_SHOWN // 2
        names[half:-half] = [f"{len(names) - PATH_SHOWN:,} more"]
    return " → ".join(names)


def _price(cost: Span, currency: str | None) -> str:
    least, most = (f"{value:,.2f}" for value in (cost.least, cost.most))
    if cost.most < _LEAST_PRICE:
        told = "under 0.01"
    elif cost.least < _LEAST_PRICE:
        told = f"at most about {most}"
    else:
        told = f"about {most}" if least == most else f"about {least} to {most}"
    return f"{told} {currency or ''}".rstrip()
