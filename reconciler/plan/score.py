"""What was expected beside what it took."""

from __future__ import annotations

from statistics import median
from typing import TYPE_CHECKING

from reconciler.model.forecast import Accuracy, Score
from reconciler.model.outcome import Status
from reconciler.model.plan import Action

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.forecast import Expected
    from reconciler.model.outcome import Outcome
    from reconciler.model.plan import Plan

_WELL = {Status.DONE, Status.NONE}


def score(plan: Plan, outcome: Outcome) -> Score | None:
    """Of a pass; None if nothing was to be built. Its time is only held against what was expected if all builds went
    well, and something was known of each."""
    told = plan.forecast
    if told is None:
        return None
    builds = {change.artifact for change in plan.changes if change.action is Action.BUILD}
    whole = all(result.status in _WELL for result in outcome.results if result.artifact in builds)
    pairs = [(r.forecast, r.build_seconds) for r in outcome.results if r.forecast and r.build_seconds is not None]
    comparable = whole and told.known == told.builds
    return Score(outcome.seconds, told.wall if comparable else None, accuracy(pairs))


def accuracy(pairs: Iterable[tuple[Expected, float]]) -> Accuracy:
    """Of builds: what was expected, and the seconds that each took."""
    told = list(pairs)
    errors = [abs(took - expected.p50) / took for expected, took in told if took > 0]
    return Accuracy(
        len(told),
        sum(took <= expected.p50 for expected, took in told),
        sum(took <= expected.p95 for expected, took in told),
        median(errors) if errors else None,
    )
