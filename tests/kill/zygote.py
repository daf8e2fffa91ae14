"""Lives of leases that end by SIGKILL at a chosen point: a process that forks one for each line it reads.

`python -m tests.kill.zygote PROVIDER FOLDER`, then lines of `LIFE POINT`; it answers `killed`, or `ended` for one that
has fewer points than that. A point is a call that lian makes and that leaves something: what is opened, made, renamed,
removed, locked, started or connected to (PEP 578 tells of each before it is done). A write has none: a file that
is there without its content is seen by tests of who reads it. None of it depends on how fast the machine is. What a
provider does when it has been asked is between two points: `LIFE 250ms` ends a life after so long, wherever it is then.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.finishing import all_of
from tests.kill.worlds import compute_of
from tests.ports.provider_suite import request
from tests.providers.compute.docker_world import NAME as DOCKER_LOCAL
from tests.providers.compute.docker_world import runner_image

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from reconciler.ports.compute import Compute, LeaseRequest

POINTS = frozenset(
    {
        "open",
        "os.mkdir",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.link",
        "os.symlink",
        "fcntl.flock",
        "subprocess.Popen",
        "socket.connect",
        "os.kill",
    }
)


async def one(compute: Compute) -> None:
    """Rent, use, return."""
    await _use(compute, request())


async def three(compute: Compute) -> None:
    """Three at a time."""
    await all_of(_use(compute, request(f"lease-{n}")) for n in range(3))


async def fail(compute: Compute) -> None:
    """The block raises."""
    try:
        async with compute.rent(request()):
            raise KeyError
    except KeyError:
        return


async def cancel(compute: Compute) -> None:
    """The pass is cancelled with its runner."""
    held = asyncio.Event()

    async def hold() -> None:
        async with compute.rent(request()):
            held.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(hold())
    await held.wait()
    task.cancel()
    await asyncio.wait({task})


async def sweep(compute: Compute) -> None:
    """Return what a pass that died has left, then rent."""
    await compute.sweep("fleet")
    await one(compute)


async def tidy(compute: Compute) -> None:
    """Return what a pass that died has left, and rent nothing."""
    await compute.sweep("fleet")


LIVES: Mapping[str, Callable[[Compute], Awaitable[None]]] = {
    life.__name__: life for life in (one, three, fail, cancel, sweep)
}


async def _use(compute: Compute, wanted: LeaseRequest) -> None:
    async with compute.rent(wanted) as runner:
        (runner.scratch / "file").write_text("of this lease")


def _live(life: str, point: str, provider: str, folder: Path) -> None:
    """In a process of its own. A timer ends it as abruptly as SIGKILL does."""
    timed = point.endswith("ms")
    left = -1 if timed else int(point)

    def hook(event: str, arguments: object) -> None:
        nonlocal left
        if event in POINTS:
            left -= 1
            if left == -1:  # the call below is one, too
                os.kill(os.getpid(), signal.SIGKILL)

    async def run() -> None:
        compute = compute_of(provider, folder)
        sys.addaudithook(hook)
        if timed:
            signal.setitimer(signal.ITIMER_REAL, max(float(point.removesuffix("ms")), 0.01) / 1000)
        await {**LIVES, "tidy": tidy}[life](compute)

    asyncio.run(run())


def main() -> None:
    """Until there are no more lines."""
    provider, folder = sys.argv[1], Path(sys.argv[2])
    if provider == DOCKER_LOCAL:
        runner_image()
    for line in sys.stdin:
        life, point = line.split()
        pid = os.fork()
        if pid == 0:
            sys.stdin = open(os.devnull)  # noqa: SIM115, PTH123 - the lines are the parent's
            try:
                _live(life, point, provider, folder)
            except BaseException as error:  # noqa: BLE001 - told to whoever waits
                sys.stderr.write(f"{error!r}\n")
                os._exit(1)
            os._exit(0)
        _, status = os.waitpid(pid, 0)
        killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) in {signal.SIGKILL, signal.SIGALRM}
        print("killed" if killed else f"ended {os.waitstatus_to_exitcode(status)}", flush=True)


if __name__ == "__main__":
    main()
