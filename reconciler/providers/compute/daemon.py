"""An ephemeral buildkitd: its configuration, its command, its start and its end.

The daemon lives in a mount and a pid namespace of its own, with runc's state on a tmpfs in there. So it is ended by
one SIGKILL to its first process: the kernel then kills every step it was running, and the mounts go with the last of
them. There is nothing to save, and a polite SIGTERM would wait for running steps without end.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Next, Problem
from reconciler.programs import outward
from reconciler.providers.compute.greeting import greeted
from reconciler.providers.compute.processes import only_child, tied

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.providers.compute.lease_folders import LeaseFolder

START_SECONDS = 30.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.002
LOG_LINES = 12

_SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_NAMESPACES = "unshare --mount --pid --fork --kill-child=KILL --mount-proc --propagation private"
_OWN_RUNC_STATE = 'mkdir -p /run/runc && mount -t tmpfs none /run/runc && exec "$@"'
_REFUSED = re.compile(r"^(unshare|mount): .*(not permitted|denied)", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Programs:
    """What a daemon is made of."""

    buildkitd: Path
    runc: Path


def command(programs: Programs, folder: LeaseFolder) -> list[str]:
    """The daemon in its namespaces, killed when this process dies."""
    daemon = [
        str(programs.buildkitd),
        f"--root={folder.root}",
        f"--addr=unix://{folder.socket}",
        f"--otel-socket-path={folder.trace_socket}",
        f"--oci-worker-binary={programs.runc}",
        "--oci-worker-net=host",
        "--config",
        str(folder.config),
    ]
    return tied([*_NAMESPACES.split(), "sh", "-c", _OWN_RUNC_STATE, "sh", *daemon])


def environment(folder: LeaseFolder, inherited: Mapping[str, str]) -> dict[str, str]:
    """Nothing of the caller's but the way to the outside: proxies and certificate authorities."""
    return outward(inherited) | {"PATH": _SEARCH_PATH, "HOME": str(folder.temporary), "TMPDIR": str(folder.temporary)}


async def start(programs: Programs, folder: LeaseFolder) -> Process:
    """Start the daemon; its folders and configuration exist. Returned at once, ready or not."""
    with folder.log.open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *command(programs, folder),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=folder.path,
            env=environment(folder, os.environ),
            start_new_session=True,  # a Ctrl-C at the terminal is for lian alone
        )


async def ready(process: Process, folder: LeaseFolder) -> None:
    """Return as soon as the daemon serves. Raises LianError if it ends before that, or takes too long."""
    try:
        async with asyncio.timeout(START_SECONDS):
            while not await _serves(folder.socket):
                if process.returncode is not None:
                    raise LianError(_failed_start(folder, f"it ended with status {process.returncode}"))
                await asyncio.sleep(POLL_SECONDS)
    except TimeoutError as error:
        raise LianError(_failed_start(folder, f"it did not serve within {START_SECONDS:.0f} s")) from error


async def _serves(socket: Path) -> bool:
    """The socket exists before the daemon serves it, so that a connection alone proves nothing."""
    try:
        reader, writer = await asyncio.open_unix_connection(str(socket))
    except (FileNotFoundError, ConnectionRefusedError):
        return False
    try:
        return await greeted(reader, writer)
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


async def stop(process: Process) -> None:
    """End the daemon and every step it is running; they are gone when this returns."""
    if process.returncode is None:
        first = only_child(process.pid)
        with contextlib.suppress(ProcessLookupError):
            # `unshare` ends when its child, the first process of the namespace, and with it all others have ended
            os.kill(first if first is not None else process.pid, signal.SIGKILL)
    try:
        await asyncio.wait_for(process.wait(), STOP_SECONDS)
    except TimeoutError:
        process.kill()


def _failed_start(folder: LeaseFolder, how: str) -> Problem:
    log = folder.log.read_text(errors="replace").splitlines()
    cause = "\n".join([f"buildkitd: {how}", *log[-LOG_LINES:]])
    if "no space left on device" in cause.lower():
        return Problem("disk-full", "no space is left for the builder's state", cause=cause, next=Next.RETRY)
    if _REFUSED.search(cause):
        return Problem(
            "compute-unavailable",
            "this machine does not let lian make the namespaces that a build needs",
            cause=cause,
            hint="run lian as root with CAP_SYS_ADMIN (in a container: privileged), or choose another compute",
        )
    return Problem("builder-start-failed", "the builder did not start", cause=cause, next=Next.RETRY)
