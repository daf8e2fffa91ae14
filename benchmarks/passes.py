"""A pass that has nothing to do, against the bare look-ups it needs, on disk and on docker-registry."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from benchmarks.fleet import LIAN, Fleet, fill
from benchmarks.measure import paired, row
from tests.servers.registry import run_registry

SIZES = (10, 1_000, 10_000)


def rows() -> list[dict[str, object]]:
    """One row for each size and registry."""
    found = []
    for n in SIZES:
        with tempfile.TemporaryDirectory(prefix="lian-bench-") as scratch:
            folder = Path(scratch)
            layout = folder / "layout"
            fleet = fill(folder / "disk", n, f"oci-layout:{layout}")
            found.append(_row("no-op pass, oci-layout / bare look-ups", n, fleet, str(layout)))
            with run_registry(folder / "server") as server:
                fleet = fill(folder / "http", n, f"http://{server.host}")
                found.append(_row("no-op pass, docker-registry / bare HEADs", n, fleet, server.host))
    return found


def _row(name: str, n: int, fleet: Fleet, where: str) -> dict[str, object]:
    bare = [sys.executable, "-m", "benchmarks.bare_heads", where, str(fleet.heads)]
    runs = 9 if n <= 10 else 5 if n <= 1_000 else 3
    subject, baseline = paired([LIAN, "reconcile", "--once"], bare, runs, env=fleet.environment)
    if subject.code or baseline.code:
        raise RuntimeError(f"a run failed: lian {subject.code}, bare {baseline.code}")
    return row(name, n, subject, baseline)
