"""What builds took, and how good forecasts of that were."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING

from reconciler.cli.views import tables
from reconciler.cli.views.tables import Table
from reconciler.cli.views.text import Writer, measured, share, size

if TYPE_CHECKING:
    from reconciler.audit.stats import Figures, Stats
    from reconciler.model.forecast import Accuracy

_BUILDS = ("workspace", "artifacts", "builds", "median", "P95", "peak memory", "steps cached")
_FORECASTS = ("workspace", "forecasts", "within P50", "within P95", "median error")
_SLOWEST = ("artifact", "builds", "median", "P95")


def show(told: Stats, stream: IO[str]) -> None:
    """By workspace, then how good forecasts were, then the slowest artifacts; what nothing is known of is left out."""
    rows = list(told.workspaces.items())
    if len(rows) > 1:
        rows.append(("all", told.all))
    if not told.all.builds:
        Writer(stream).line("nothing is known of any build: no build record holds runs")
        return
    found = [Table("builds", _BUILDS, tuple((name, *_figures(one)) for name, one in rows))]
    if told.all.forecasts.builds:
        shown = ((name, *_accuracy(one.forecasts)) for name, one in rows if one.forecasts.builds)
        found.append(Table("forecasts", _FORECASTS, tuple(shown)))
    slow = ((str(one.artifact), f"{one.builds:,}", measured(one.p50), measured(one.p95)) for one in told.slowest)
    found.append(Table("slowest", _SLOWEST, tuple(slow)))
    tables.show(found, stream)


def _figures(one: Figures) -> tuple[str, ...]:
    return (
        f"{one.built:,} of {one.artifacts:,}",
        f"{one.builds:,}",
        "-" if one.p50 is None else measured(one.p50),
        "-" if one.p95 is None else measured(one.p95),
        "-" if one.peak_memory is None else size(one.peak_memory),
        share(one.hits, one.steps),
    )


def _accuracy(one: Accuracy) -> tuple[str, ...]:
    error = "-" if one.median_error is None else share(one.median_error, 1)
    return f"{one.builds:,}", share(one.within_p50, one.builds), share(one.within_p95, one.builds), error
