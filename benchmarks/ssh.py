"""Builds on a machine that is reached by SSH: OpenSSH's server on the loopback, in a mount namespace of its own.

A context that did not change is sent to a new lease each time, so it is compared with what the one before was sent. The
changed layer is that of `caches`, with both sides on that machine.
"""

from __future__ import annotations

import asyncio
import os
import resource
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.caches import Shop
from benchmarks.measure import not_run, timed
from reconciler.model.tier import Tier
from reconciler.ports.compute import LeaseRequest
from reconciler.providers.compute.ssh.connection import Identity
from reconciler.providers.compute.ssh.provider import SshCompute
from tests.servers.registry import run_registry
from tests.servers.sshd import Sshd, machine

ROUNDS = 5
FILES, FILE_BYTES = 2_000, 100_000
"""200 MB in all."""


def rows(rounds: int = ROUNDS) -> list[dict[str, Any]]:
    """One row for each figure: name, n, seconds, target, and for comparisons baseline_seconds and ratio."""
    with (
        tempfile.TemporaryDirectory(prefix="lian-bench-") as name,
        machine(Path(name) / "sshd", network=False) as server,
    ):
        return [_unchanged(Path(name), server, rounds), _changed_layer(Path(name), server, rounds)]


def _unchanged(folder: Path, server: Sshd, rounds: int) -> dict[str, Any]:
    context = folder / "context"
    context.mkdir()
    for number in range(FILES):
        (context / f"{number}.bin").write_bytes(os.urandom(FILE_BYTES))
    first, *again = asyncio.run(_sent(folder, server, context, rounds + 1))
    return {
        "name": "over ssh: an unchanged context of 200 MB is sent",
        "n": FILES,
        "seconds": round(statistics.median(again), 3),
        "target": "<= 1 s",
        "peak_rss_mib": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        "note": f"{first:.1f} s the first time",
    }


async def _sent(folder: Path, server: Sshd, context: Path, times: int) -> list[float]:
    """Seconds of each time."""
    compute = SshCompute([server.host], Identity(server.key), folder / "scratch")
    seconds = []
    for number in range(times):
        wanted = LeaseRequest("bench", "bench", f"bench-{number}", Tier(2, 4.0, 30), 600.0)
        try:
            runner = await compute.rent(wanted, wanted.at(time.time()))
            assert runner.machine is not None
            async with runner.machine.workplace(runner.scratch) as place:
                began = time.perf_counter()
                await place.send(context, "bench/image context")
                seconds.append(time.perf_counter() - began)
        finally:
            await compute.give_back(wanted.lease)
    return seconds


def _changed_layer(folder: Path, server: Sshd, rounds: int) -> dict[str, Any]:
    name = "over ssh: one changed layer, fresh runner and registry cache / warm daemon"
    settings = f'{{ compute = {{ provider = \'Ssh, hosts = ["{server.host} {server.host.key}"] }} }}'
    with run_registry(folder / "registry") as registry:
        shop = Shop(folder / "shop", registry.url, settings=settings, ssh_key=str(server.key))
        try:
            fresh, warm = asyncio.run(shop.measured(rounds))
        except LookupError as error:
            return not_run(name, 1, str(error))
    return timed(name, 1, statistics.median(fresh), statistics.median(warm), "<= 1.5")
