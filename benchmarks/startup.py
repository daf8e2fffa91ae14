"""`lian --help` against `python -c pass`."""

from __future__ import annotations

import sys
from pathlib import Path

from benchmarks.measure import paired, row


def rows() -> list[dict[str, object]]:
    """Fifteen pairs."""
    lian = str(Path(sys.executable).parent / "lian")
    return [row("lian --help / python -c pass", 1, *paired([lian, "--help"], [sys.executable, "-c", "pass"], 15))]
