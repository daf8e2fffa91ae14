"""`make bench`: every benchmark as one table, and as JSON under benchmarks/results/."""

from __future__ import annotations

import importlib
import json
import platform
import sys
import time
from pathlib import Path

BENCHMARKS = (
    "startup",
    "evaluation",
    "observation",
    "plans",
    "passes",
    "others",
    "converge",
    "builds",
    "runners",
    "order",
    "caches",
    "ssh",
)
RESULTS = Path(__file__).parent / "results"
COLUMNS = ("name", "n", "seconds", "baseline_seconds", "ratio", "target", "peak_rss_mib", "target_mib", "note")


def main(names: list[str]) -> int:
    """Run the named benchmarks, all without names; 1 for an unknown name."""
    unknown = set(names) - set(BENCHMARKS)
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}", file=sys.stderr)
        return 1
    rows: list[dict[str, object]] = []
    for name in names or BENCHMARKS:
        print(f"bench: {name} …", file=sys.stderr, flush=True)
        rows += importlib.import_module(f"benchmarks.{name}").rows()
    RESULTS.mkdir(exist_ok=True)
    file = RESULTS / f"{time.strftime('%Y%m%dT%H%M%S')}.json"
    machine = {"python": platform.python_version(), "machine": platform.machine(), "system": platform.platform()}
    file.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2) + "\n")
    print(table(rows))
    print(f"also as JSON: {file}", file=sys.stderr)
    return 0


def table(rows: list[dict[str, object]]) -> str:
    """The rows as aligned columns."""
    cells = [COLUMNS, *(tuple(str(row.get(column, "")) for column in COLUMNS) for row in rows)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(COLUMNS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in {"name", "note"} else cell.rjust(width)
            for column, cell, width in zip(COLUMNS, line, widths, strict=True)
        ).rstrip()
        for line in cells
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
