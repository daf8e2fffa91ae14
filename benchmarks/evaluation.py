"""Evaluating directives in batches and from the cache, against one file at a time."""

from __future__ import annotations

import asyncio
import hashlib
import resource
import sys
import tempfile
import time
from pathlib import Path

from reconciler.desired import packaged
from reconciler.desired.nickel import driver, engine
from reconciler.desired.nickel.evaluate import evaluate
from reconciler.desired.nickel.pool import Status, Worker
from reconciler.desired.nickel.scratch import Scratch
from reconciler.desired.nickel.settings import BUILD_DIRECTIVES, EvaluatorSettings, Kind, SourceFile

SIZES = (10, 1_000, 10_000)
SAMPLE = 200
"""Files that are evaluated one at a time; the baseline for n files is n times their mean."""

_DIRECTIVE = """# what team {i} ships
let lian = import "defaults/build_directives.ncl" in
lian.make_build_directives {{
  workspace = "team-{i}",
  artifacts.api = lian.make_artifact {{
    image = "team-{i}/api",
    tags = ["1.{i}", "stable"],
    context = {{ path = ".", include = ["services/api-{i}", "libs"] }},
    dockerfile = "services/api-{i}/Dockerfile",
    target = "runtime",
    args = {{ VERSION = "1.{i}" }},
    checks = ["test"],
    language = "go",
    max_age = "7d",
  }},
}}
"""


class Directives:
    """A commit of n directives, in memory."""

    called = "the commit"

    def __init__(self, count: int) -> None:
        self.blobs: dict[str, bytes] = {}
        self.files: list[SourceFile] = []
        for i in range(count):
            data = _DIRECTIVE.format(i=i).encode()
            blob = hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
            self.blobs[blob] = data
            self.files.append(SourceFile(f"directives/team-{i}.ncl", blob))
        self._known = {file.path: ("100644", file.blob) for file in self.files}

    def lookup(self, path: str) -> tuple[str, str] | None:
        return self._known.get(path)

    def read(self, blob: str) -> bytes:
        return self.blobs[blob]


def one_at_a_time(directives: Directives, kind: Kind) -> float:
    """Mean seconds for one file by itself, in a warm worker."""

    async def run() -> float:
        chosen = await engine.choose(EvaluatorSettings(kind=kind))
        limits = EvaluatorSettings().limits
        sample = directives.files[:SAMPLE]
        with Scratch(packaged.find(), directives.read) as scratch:
            scratch.put((file.path, file.blob) for file in sample)
            worker = Worker(scratch.root, chosen.command, limits)
            try:
                await worker.ask("1", [], None, 30)
                start = time.perf_counter()
                for file in sample:
                    expression = driver.checked([file.path], BUILD_DIRECTIVES)
                    reply = await worker.ask(expression, [f"../{driver.PACKAGED}"], [driver.key(file.path)], 30)
                    assert reply.status is Status.OK, reply
                return (time.perf_counter() - start) / len(sample)
            finally:
                await worker.close()

    return asyncio.run(run())


def batched(directives: Directives, how: EvaluatorSettings) -> float:
    """Seconds for all of them through `evaluate`."""
    start = time.perf_counter()
    results = asyncio.run(evaluate(directives, directives.files, BUILD_DIRECTIVES, how))
    seconds = time.perf_counter() - start
    assert len(results) == len(directives.files)
    assert all(result.value for result in results.values())
    return seconds


def rows(sizes: tuple[int, ...] = SIZES, kind: Kind = Kind.AUTO) -> list[dict[str, object]]:
    """One cold and one cached row for each size. Memory is that of this process, which only grows from row to row."""
    table: list[dict[str, object]] = []
    for n in sizes:
        directives = Directives(n)
        alone = one_at_a_time(directives, kind) * n
        with tempfile.TemporaryDirectory() as folder:
            how = EvaluatorSettings(cache=Path(folder) / "evaluation.sqlite", kind=kind)
            for name in ("cold", "cached"):
                seconds = batched(directives, how)
                table.append(
                    {
                        "name": f"evaluation {name}",
                        "n": n,
                        "seconds": round(seconds, 3),
                        "baseline_seconds": round(alone, 3),
                        "ratio": round(seconds / alone, 4),
                        "peak_rss_mib": round(_peak()),
                    }
                )
    return table


def _peak() -> float:
    """The most memory this process has had, in MiB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    for row in rows(kind=Kind(sys.argv[1]) if len(sys.argv) > 1 else Kind.AUTO):
        print(row)
