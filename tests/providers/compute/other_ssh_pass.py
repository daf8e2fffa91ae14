"""Another process that holds a lease on a host: `HOST_AND_KEY KEY_FILE STATE FOLDER LEASE SILENCE [CONTEXT]`. It says
`ready`, builds the context if there is one, and otherwise waits to be killed."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path

from reconciler.model.host import Host
from reconciler.ports.compute import LeaseRequest
from reconciler.providers.builder.buildctl import BuildctlBuilder
from tests.ports.leasing import leasing_of
from tests.providers.compute.ssh_stands import QUICK, compute_at
from tests.providers.workshop import TIER, Bench


async def main() -> None:
    """See above."""
    host, key, state, folder, lease, silence, *context = sys.argv[1:]
    provider = compute_at(Host.parse(host), Path(key), Path(state), Path(folder), replace(QUICK, silence=int(silence)))
    compute = leasing_of(provider, Path(folder) / "rented", name="Ssh")
    async with compute.rent(LeaseRequest("fleet", "other-pass", lease, TIER, deadline=60.0)) as runner:
        print("ready", flush=True)
        if context:
            bench = Bench(Path(context[0]).parent, compute, BuildctlBuilder(Path("none")), runner)
            await bench.build(bench.request(Path(context[0])))
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
