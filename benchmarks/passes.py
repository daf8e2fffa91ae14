"""A pass that has nothing to do, against the bare look-ups it needs: on disk, by HEAD, and by a registry's own list.

Both commands that a person would call such a pass are measured: `reconcile --once`, and `diff`, which also looks for
what no commit wants any more. Each subject and its baseline take turns in the same run.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.fleet import LIAN, Fleet
from benchmarks.measure import Cost, not_run, paired, row
from benchmarks.stock import as_distribution, as_layout
from reconciler.providers.builder.binaries import locate
from tests import programs
from tests.servers.distribution_v3 import run_distribution_v3
from tests.servers.registry import PROGRAM, run_registry
from tests.servers.zot import VARIABLE, run_zot

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SIZES = (10, 1_000, 10_000)
SUBJECTS = {"no-op pass": [LIAN, "reconcile", "--once"], "diff in sync": [LIAN, "diff"]}
MOST = "<= 1.5"
"""Of a thousand images, over the network."""
MOST_GROWTH, MOST_MIB = "<= 10", 300
"""Of ten thousand images."""
WHERE = ("oci-layout", "docker-registry", "distribution v3", "zot")
BASELINES = {"oci-layout": "bare look-ups", "zot": "one GraphQL request + evaluation cache"}


def rows(sizes: Sequence[int] = SIZES, where: Sequence[str] = WHERE) -> list[dict[str, object]]:
    """One row for each size, registry and command, then how time grows from the second size to the last."""
    found: list[dict[str, object]] = []
    costs: dict[tuple[str, int], Cost] = {}
    for n in sizes:
        with tempfile.TemporaryDirectory(prefix="lian-bench-") as scratch:
            fleet = Fleet.make(Path(scratch) / "fleet", n)
            for registry in where:
                if why := missing(registry):
                    found.append(not_run(f"no-op pass, {registry}", n, why))
                    continue
                with holding(registry, Path(scratch) / "server", fleet) as url:
                    for verb, command in SUBJECTS.items():
                        name = f"{verb}, {registry} / {BASELINES.get(registry, 'bare HEADs')}"
                        subject, baseline = _costs(command, _bare(registry, url, fleet), fleet.environment(url), n)
                        costs[name, n] = subject
                        found.append(row(name, n, subject, baseline, _most(registry, n), _memory(n)))
    return found + _growth(costs, sizes)


def missing(registry: str) -> str | None:
    """Why a registry cannot be run here, None if it can."""
    match registry:
        case "docker-registry":
            return locate(PROGRAM).why
        case "distribution v3":
            return programs.find("registry").why
        case "zot" if not os.environ.get(VARIABLE) and shutil.which("zot") is None:
            return f"zot is not on PATH, nor named by {VARIABLE}"
    return None


@contextlib.contextmanager
def holding(registry: str, folder: Path, fleet: Fleet) -> Iterator[str]:
    """A registry that holds the fleet, as --registry takes it; its files are gone afterwards."""
    try:
        match registry:
            case "oci-layout":
                fleet.fill(folder, as_layout)
                yield f"oci-layout:{folder}"
            case "zot":
                with run_zot(folder) as server:
                    fleet.push(server.host)
                    yield server.url
            case _:
                fleet.fill(folder / "storage", as_distribution)
                with (run_registry if registry == "docker-registry" else run_distribution_v3)(folder) as server:
                    yield server.url
    finally:
        shutil.rmtree(folder)


def _bare(registry: str, url: str, fleet: Fleet) -> list[str]:
    python = [sys.executable, "-m"]
    if registry == "zot":
        return [*python, "benchmarks.bare_list", url.removeprefix("http://"), str(fleet.cache / "evaluations.sqlite")]
    return [*python, "benchmarks.bare_heads", url.removeprefix("oci-layout:").removeprefix("http://"), str(fleet.heads)]


def _costs(command: list[str], bare: list[str], environment: dict[str, str], n: int) -> tuple[Cost, Cost]:
    runs = 9 if n <= 10 else 5 if n <= 1_000 else 3
    subject, baseline = paired(command, bare, runs, env=environment)
    if subject.code or baseline.code:
        raise RuntimeError(f"a run failed: lian {subject.code}, bare {baseline.code}")
    return subject, baseline


def _most(registry: str, n: int) -> str:
    return MOST if n == 1_000 and registry != "oci-layout" else ""


def _memory(n: int) -> int | None:
    return MOST_MIB if n >= 10_000 else None


def _growth(costs: dict[tuple[str, int], Cost], sizes: Sequence[int]) -> list[dict[str, object]]:
    if len(sizes) < 2:
        return []
    few, many = sizes[-2:]
    names = dict.fromkeys(name for name, _ in costs)
    return [
        row(f"{name.partition(' / ')[0]}: {many:,} / {few:,}", many, costs[name, many], costs[name, few], MOST_GROWTH)
        for name in names
    ]
