"""Builds through lian's own compute and builder against buildkitd and buildctl run by hand.

Each figure is the median of a few rounds in which both sides take turns, on contexts that differ in one file, with
the same output options. A time is from nothing running to nothing left.
"""

from __future__ import annotations

import asyncio
import os
import resource
import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.apply.leasing import Leasing
from reconciler.model.platform import Platform
from reconciler.model.tier import Tier
from reconciler.ports.builder import BuildRequest
from reconciler.ports.compute import LeaseRequest
from reconciler.ports.publisher import WriteLayout
from reconciler.providers.builder.arguments import csv_record, output_fields
from reconciler.providers.builder.binaries import find_part
from reconciler.providers.builder.buildctl import BuildctlBuilder
from reconciler.providers.compute.local import LocalCompute
from reconciler.record.leases import LeaseFiles

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

ROUNDS = 5
TWENTY = 20
TIER = Tier(2, 4.0, 30)
DOCKERFILE = """FROM scratch
COPY busybox /bin/busybox
COPY busybox /bin/sh
COPY data /data
RUN cat /data /data > /twice
"""
EPOCH = 1_600_000_000


def rows(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """One row for each comparison: name, n builds, seconds, baseline_seconds, ratio, peak_rss_mib (lian's process)."""
    with tempfile.TemporaryDirectory(prefix="lian-bench-") as folder:
        shop = Workshop(Path(folder))
        return [
            _row("one cold build / by hand", 1, shop.lian, shop.by_hand, rounds),
            _row("twenty builds, one runner / by hand", TWENTY, shop.lian, shop.by_hand, max(1, rounds // 2)),
            _row("twenty builds, one runner / a runner each", TWENTY, shop.lian, shop.runner_each, 1),
        ]


def _row(
    name: str, n: int, measured: Callable[[int], None], baseline: Callable[[int], None], rounds: int
) -> dict[str, Any]:
    ours, theirs = [], []
    measured(1)  # programs and contexts come from the page cache on both sides
    for _ in range(rounds):
        ours.append(_seconds(measured, n))
        theirs.append(_seconds(baseline, n))
    seconds, baseline_seconds = statistics.median(ours), statistics.median(theirs)
    return {
        "name": name,
        "n": n,
        "seconds": round(seconds, 3),
        "baseline_seconds": round(baseline_seconds, 3),
        "ratio": round(seconds / baseline_seconds, 3),
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
    }


def _seconds(work: Callable[[int], None], n: int) -> float:
    began = time.perf_counter()
    work(n)
    return time.perf_counter() - began


class Workshop:
    """Contexts, and both ways to build them. Raises LookupError if a program is missing."""

    def __init__(self, folder: Path) -> None:
        found = {name: find_part(name) for name in ("buildkitd", "buildctl", "runc")}
        self._programs = {name: path for name, path in found.items() if path is not None}
        if missing := sorted(found.keys() - self._programs.keys()):
            raise LookupError(f"missing: {', '.join(missing)}")
        self._folder = folder
        self._used = 0
        self._contexts = [self._context(number) for number in range(TWENTY)]

    def lian(self, n: int) -> None:
        """All on one leased runner."""
        asyncio.run(self._lease(self._contexts[:n]))

    def runner_each(self, n: int) -> None:
        """One lease for each."""
        for context in self._contexts[:n]:
            asyncio.run(self._lease([context]))

    def by_hand(self, n: int) -> None:
        """A daemon with its defaults, buildctl for each context, then all removed."""
        root = self._fresh("by-hand")
        root.mkdir()
        address = f"unix://{root}/socket"
        words = [f"--root={root}/root", f"--addr={address}", "--containerd-worker=false", "--oci-worker-net=host"]
        daemon = subprocess.Popen([self._programs["buildkitd"], *words], stderr=subprocess.DEVNULL)
        try:
            self._wait_by_hand(root / "socket")
            for context in self._contexts[:n]:
                self._build_by_hand(address, context)
        finally:
            daemon.terminate()
            daemon.wait()
            shutil.rmtree(root)

    async def _lease(self, contexts: Sequence[Path]) -> None:
        provider = LocalCompute(self._programs.get, self._folder / "state")
        ledger = LeaseFiles(self._folder / "rented")
        compute = Leasing({"local": lambda: provider}, ledger, time.time, lambda: "local")
        builder = BuildctlBuilder(self._programs["buildctl"])
        async with compute.rent(LeaseRequest("bench", "bench", self._fresh("lease").name, TIER, 600.0)) as runner:
            for context in contexts:
                request = BuildRequest(
                    artifact="bench/image",
                    platform=Platform("linux", "amd64"),
                    context=context,
                    dockerfile=context / "Dockerfile",
                    log=self._folder / "log",
                    tier=TIER,
                    destination=WriteLayout(self._fresh("out")),
                )
                await builder.build(runner, request, lambda step: None)

    def _build_by_hand(self, address: str, context: Path) -> None:
        output = csv_record(output_fields(WriteLayout(self._fresh("out"))))
        words = ["--frontend=dockerfile.v0", f"--local=context={context}", f"--local=dockerfile={context}"]
        words += ["--opt", "build-arg:SOURCE_DATE_EPOCH=0", "--output", output]
        words += ["--metadata-file", str(self._folder / "metadata.json"), "--progress=plain"]
        command: list[str | Path] = [self._programs["buildctl"], "--addr", address, "build", *words]
        subprocess.run(command, stderr=subprocess.DEVNULL, check=True)

    @staticmethod
    def _wait_by_hand(socket: Path) -> None:
        """As a script does; buildctl itself then waits until the daemon serves."""
        while not socket.exists():
            time.sleep(0.005)

    def _fresh(self, name: str) -> Path:
        self._used += 1
        return self._folder / f"{name}-{self._used}"

    def _context(self, number: int) -> Path:
        context = self._fresh("context")
        context.mkdir()
        busybox = shutil.which("busybox")
        if busybox is None:
            raise LookupError("missing: busybox")
        shutil.copy(busybox, context / "busybox")
        (context / "Dockerfile").write_text(DOCKERFILE)
        (context / "data").write_text(f"{number:08}\n")
        os.utime(context / "data", ns=(EPOCH * 10**9 + number, EPOCH * 10**9 + number))
        os.utime(context / "busybox", (EPOCH, EPOCH))
        return context


if __name__ == "__main__":
    for row in rows():
        print(row)
