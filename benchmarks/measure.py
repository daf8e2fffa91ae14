"""Run a command as a whole process and see what it took."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall time, and the peak resident memory in MiB of the process itself."""

    seconds: float
    peak_rss_mib: float
    code: int


def cost(command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Cost:
    """One run; its output is thrown away."""
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    return Cost(time.perf_counter() - start, usage.ru_maxrss / 1024, process.returncode)


def paired(
    subject: Sequence[str],
    baseline: Sequence[str],
    runs: int,
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> tuple[Cost, Cost]:
    """Both commands in turn after a warm-up of each; the medians of their times and the highest memory."""
    cost(subject, cwd=cwd, env=env)
    cost(baseline, cwd=cwd, env=env)
    pairs = [(cost(subject, cwd=cwd, env=env), cost(baseline, cwd=cwd, env=env)) for _ in range(runs)]
    return _median([a for a, _ in pairs]), _median([b for _, b in pairs])


def _median(costs: Sequence[Cost]) -> Cost:
    seconds = statistics.median(c.seconds for c in costs)
    return Cost(seconds, max(c.peak_rss_mib for c in costs), max(c.code for c in costs))


def row(name: str, n: int, subject: Cost, baseline: Cost) -> dict[str, object]:
    """One line of the table."""
    return {
        "name": name,
        "n": n,
        "seconds": round(subject.seconds, 3),
        "baseline_seconds": round(baseline.seconds, 3),
        "ratio": round(subject.seconds / baseline.seconds, 2),
        "peak_rss_mib": round(subject.peak_rss_mib, 1),
    }
