"""Run a command as a whole process and see what it took."""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
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


_RUNNER = """
import json, os, sys, time
start = time.perf_counter()
null = os.open(os.devnull, os.O_RDWR)
streams = [(os.POSIX_SPAWN_DUP2, null, number) for number in (0, 1, 2)]
pid = os.posix_spawnp(sys.argv[1], sys.argv[1:], os.environ, file_actions=streams)
_, status, usage = os.wait4(pid, 0)
seconds = time.perf_counter() - start
print(json.dumps([seconds, usage.ru_maxrss / 1024, os.waitstatus_to_exitcode(status)]))
"""


def cost(command: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Cost:
    """One run; its output is thrown away.

    A small process in between starts the command: Linux counts what the starting process holds as the child's peak.
    Python may keep its bytecode, as that of an installed package is kept, whatever the caller's environment says.
    """
    kept = {k: v for k, v in (os.environ if env is None else env).items() if k != "PYTHONDONTWRITEBYTECODE"}
    runner = [sys.executable, "-S", "-c", _RUNNER, *command]
    done = subprocess.run(runner, cwd=cwd, env=kept, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    return Cost(*json.loads(done.stdout))


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


def row(
    name: str, n: int, subject: Cost, baseline: Cost, target: str = "", target_mib: int | None = None
) -> dict[str, object]:
    """One line of the table; `target` is what the ratio is to reach, `target_mib` the memory."""
    return {
        "name": name,
        "n": n,
        "seconds": round(subject.seconds, 3),
        "baseline_seconds": round(baseline.seconds, 3),
        "ratio": round(subject.seconds / baseline.seconds, 2),
        "target": target,
        "peak_rss_mib": round(subject.peak_rss_mib, 1),
        "target_mib": f"<= {target_mib}" if target_mib else "",
    }


def not_run(name: str, n: int, why: str) -> dict[str, object]:
    """The line of what could not be measured here."""
    return {"name": name, "n": n, "note": f"not run: {why}"}


def timed(
    name: str, n: int, seconds: float, baseline: float, target: str, note: str = "", ratio: float | None = None
) -> dict[str, object]:
    """One row for a comparison that this process has made itself; `ratio` is that of the times unless it is given."""
    return {
        "name": name,
        "n": n,
        "seconds": round(seconds, 3),
        "baseline_seconds": round(baseline, 3),
        "ratio": round(seconds / baseline if ratio is None else ratio, 2),
        "target": target,
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "note": note,
    }
