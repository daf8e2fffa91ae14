"""Folders to and from a machine: rsync, speaking over a channel of a connection that is there already.

rsync starts a program to reach the other side. Here that is a few words of shell that say what is to be run there, and
then pass on what comes: so keys, their checks and keepalives are the connection's, and there is no second client with a
configuration of its own. What is the same is told by checksum, never by size and time (equal sizes and times hide a
difference: seen); links are sent as links, and nothing is written through one.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shlex
import signal
from typing import TYPE_CHECKING

import asyncssh

from reconciler.finishing import to_its_end
from reconciler.model.problem import LianError, Next, Problem
from reconciler.providers.compute.ssh.connection import Lost
from reconciler.providers.compute.ssh.script import is_full

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Sequence
    from pathlib import Path

    from reconciler.providers.compute.ssh.connection import Room

CHUNK = 1 << 17
CLOSE_SECONDS = 2.0
"""For what runs there to end when nobody hears it any more. What does not has its channel until the lease ends."""

_SENT = "--blocking-io --recursive --links --perms --times --checksum --delete --no-whole-file"
_FETCHED = "--blocking-io --recursive --perms --times --checksum --no-whole-file --no-links"
_AROUND = 'exec 8<&0 9>&1 </dev/null >/dev/null; exec "$@"'
"""rsync's own stdin and stdout become those of what it starts."""
_RELAY = 'shift; printf "%s\\n" "$*" >&9; exec 3<&0; cat <&3 >&9 & exec 3<&- 9>&-; exec cat <&8'
_VANISHED = {23, 24}
"""What was compared with has gone meanwhile, perhaps."""


async def send(room: Room, folder: Path, there: str, like: Sequence[str]) -> None:
    """Make `there` exactly this folder. What folders `like` it there have already is linked from them, if not a bit of
    it differs. Raises Lost, or LianError `disk-full`, `not-sent`."""
    words = ["rsync", *_SENT.split(), f"{folder}/", f"machine:{there}/"]
    for attempt in (like, ()):
        status, errors = await _run(room, [*words[:-2], *(f"--link-dest={one}" for one in attempt), *words[-2:]])
        if status not in _VANISHED or not attempt:
            break
    if status != 0:
        raise LianError(_failed("not-sent", f"{folder} could not be sent to {room.host}", status, errors))


async def fetch(room: Room, there: str, folder: Path) -> None:
    """Bring the files of a folder there into this one; links there are left out. Raises as `send`, `not-fetched`."""
    folder.mkdir(parents=True, exist_ok=True)
    status, errors = await _run(room, ["rsync", *_FETCHED.split(), f"machine:{there}/", f"{folder}/"])
    if status != 0:
        message = f"what was built on {room.host} could not be brought back"
        raise LianError(_failed("not-fetched", message, status, errors))


async def _run(room: Room, words: Sequence[str]) -> tuple[int, str]:
    """Raises Lost."""
    relay = f"sh -c {shlex.quote(_RELAY)} relay"
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", _AROUND, "sh", words[0], f"--rsh={relay}", *words[1:]),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C"},
        start_new_session=True,
    )
    assert process.stderr is not None
    complaints = asyncio.create_task(process.stderr.read())
    try:
        told = await _relayed(process, room)
        status = await _ended(process)
        return status, (await complaints + told).decode(errors="replace")
    finally:
        await to_its_end(_gone(process, complaints))


async def _relayed(process: Process, room: Room) -> bytes:
    """Run there what rsync asks for, pass everything on, and return what it complains of, or that it was killed: then
    rsync here fails, too. Raises Lost."""
    assert process.stdout is not None
    asked = (await process.stdout.readline()).decode("utf-8", "surrogateescape").strip()
    if not asked.startswith("rsync --server "):
        return b""  # it has ended, and said why
    channel = await room.shell(asked)
    try:
        up = asyncio.create_task(_up(process, channel))
        try:
            await _down(process, channel)
            told = await channel.stderr.read()
        finally:
            up.cancel()
            await to_its_end(asyncio.wait({up}))
    except (asyncssh.Error, OSError) as error:
        raise Lost(str(error)) from error
    finally:
        channel.close()
        closed = asyncio.ensure_future(channel.wait_closed())
        await to_its_end(asyncio.wait({closed}, timeout=CLOSE_SECONDS))
    if channel.exit_status is None:
        raise Lost("the connection was closed")
    return told + _killed(channel)


def _killed(channel: asyncssh.SSHClientProcess[bytes]) -> bytes:
    """A line that says so; empty if it ended by itself."""
    if channel.exit_signal is None:
        return b""
    return f"rsync there was ended by signal {channel.exit_signal[0]}\n".encode()


async def _ended(process: Process) -> int:
    """Whatever it still wants to say to the other side is of no more use, and must not keep it."""
    assert process.stdout is not None
    while await process.stdout.read(CHUNK):
        pass
    return await process.wait()


async def _up(process: Process, channel: asyncssh.SSHClientProcess[bytes]) -> None:
    assert process.stdout is not None
    with contextlib.suppress(asyncssh.Error, OSError):  # what reads there says why it has ended
        while chunk := await process.stdout.read(CHUNK):
            channel.stdin.write(chunk)
            await channel.stdin.drain()
        channel.stdin.write_eof()


async def _down(process: Process, channel: asyncssh.SSHClientProcess[bytes]) -> None:
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # rsync has ended, and says why
        while chunk := await channel.stdout.read(CHUNK):
            process.stdin.write(chunk)
            await process.stdin.drain()
    process.stdin.close()


async def _gone(process: Process, complaints: asyncio.Task[bytes]) -> None:
    """The whole session: what passes on is in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    assert process.stdin is not None
    process.stdin.close()
    await _ended(process)
    await asyncio.wait({complaints})


def _failed(code: str, message: str, status: int, errors: str) -> Problem:
    cause = "\n".join([f"rsync: status {status}", *errors.strip().splitlines()[-8:]])
    if is_full(errors):
        return Problem("disk-full", message, cause=cause, hint="make room on the machine", next=Next.RETRY)
    hint = "try it again, and see what rsync says if it fails again; it has to be 3.2 or newer on both sides"
    return Problem(code, message, cause=cause, hint=hint, next=Next.RETRY)
