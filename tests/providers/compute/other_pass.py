"""A pass in a process of its own, for tests that kill one: rents a lease, says `ready`, builds or waits, returns.

`python -m tests.providers.compute.other_pass STATE LEASE [CONTEXT]`, on this machine, or with LIAN_TEST_DOCKER in the
Docker whose socket that is, from LIAN_TEST_IMAGE.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

from reconciler.ports.compute import LeaseRequest
from reconciler.providers.builder.binaries import find_part
from reconciler.providers.builder.buildctl import BuildctlBuilder
from tests.providers.compute.docker_world import docker_compute
from tests.providers.workshop import TIER, Bench, local_compute


async def _pass(state: Path, lease: str, context: Path | None) -> None:
    socket = os.environ.get("LIAN_TEST_DOCKER")
    compute = docker_compute(Path(socket), state, os.environ["LIAN_TEST_IMAGE"]) if socket else local_compute(state)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with compute.rent(LeaseRequest("fleet", "other", lease, TIER, deadline=60.0)) as runner:
        print("ready", flush=True)
        if context is None:
            await asyncio.Event().wait()
        else:
            buildctl = find_part("buildctl")
            assert buildctl is not None
            bench = Bench(context.parent, compute, BuildctlBuilder(buildctl), runner)
            await bench.build(bench.request(context))


if __name__ == "__main__":
    asyncio.run(_pass(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]) if len(sys.argv) > 3 else None))
