"""What a build needed on its runner, out of two looks at what was used there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from reconciler.apply.record import rfc3339
from reconciler.model.run import Run

if TYPE_CHECKING:
    from reconciler.apply.building import Building
    from reconciler.model.forecast import Expected
    from reconciler.ports.compute import Usage


def run_of(
    work: Building,
    began: tuple[float, float],
    before: Usage,
    after: Usage,
    *,
    alone: bool,
    expected: Expected | None = None,
) -> Run:
    """The run of a build that has just ended, which began then (as the clock and as a stopwatch say it), and was
    `expected` to take so long."""
    steps = [step for solves in work.solves.values() for built in solves for step in built.steps]
    return Run(
        started=rfc3339(began[0]),
        seconds=round(time.monotonic() - began[1], 3),
        tier=work.tier,
        peak_memory=_own_peak(before.peak_memory, after.peak_memory),
        cpu_seconds=_spent(before.cpu_seconds, after.cpu_seconds),
        sent=work.parcel.sent,
        hits=sum(step.hit for step in steps),
        steps=len(steps),
        alone=alone,
        forecast=expected,
    )


def _own_peak(before: int | None, after: int | None) -> int | None:
    """A peak that was there before is an earlier build's: this one needed less, and how much less nobody knows."""
    return after if after is not None and after > (before or 0) else None


def _spent(before: float | None, after: float | None) -> float | None:
    """None if a runner does not count, or began to count in between."""
    return round(after - before, 3) if before is not None and after is not None and after >= before else None
