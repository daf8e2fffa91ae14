"""Talks with git servers, each in a process of its own, which ends when it is told to, takes too long, or is too large.

libgit2 looks up from a talk only where a pack arrives. While a server tells its refs, or what it has, nothing calls it
off: one that sends a byte a second holds a thread for ever, with the lock of the folder that it fetches into. A thread
like that could be left behind; it would keep lock, socket and half a pack, one more in each pass of `lian watch`. A
process can be killed: all of that ends with it, and what it left in the folder is swept by whoever has the lock next.
That costs a tenth of a second for each repository that is asked. Besides, the memory of a process can be bounded, and
git's configuration be left out of it, which libgit2 does for whole processes.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import reconciler
from reconciler.desired.git_remote import Failed, Login, Why
from reconciler.finishing import to_its_end
from reconciler.model.problem import LianError, Next, Problem
from reconciler.programs import ended, outward

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import Awaitable, Callable, Mapping

LoginOf: TypeAlias = "Callable[[], Awaitable[Login | None]]"
"""What gives the login, once the server asks for one and not before. It may raise LianError."""

_PROGRAM = "import sys; sys.path.append(sys.argv[2]); from reconciler.desired.git_work import main; main()"
_HANDED_ON = ("HOME", "LANG", "LC_ALL", "PATH", "SSH_AUTH_SOCK", "TMPDIR", "XDG_CONFIG_HOME")
"""Variables of the process, beside those that lead outside: where known_hosts lies, and the ssh agent."""
_LONGEST = 64 << 20
"""Bytes of a line: a million refs."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a server may take: seconds until it has told its refs, which half a million of them do not take; seconds in
    all, which are enough for a gigabyte at ten megabits; bytes of one fetch, four times what forges advise for a whole
    repository; bytes of memory, where a file of some hundred megabytes can be put together from its deltas."""

    listing: float = 60.0
    whole: float = 900.0
    received: int = 4 << 30
    memory: int = 2 << 30


async def no_login() -> None:
    """Where none is bound."""


async def done(kind: str, url: str, folder: Path, login: LoginOf, limits: Limits, **more: Any) -> dict[str, Any]:
    """What a job gives (git_work). Raises Failed; LianError for what is wrong with the folder, and what `login` raises.
    However this ends, the process has ended."""
    job = {"kind": kind, "url": url, "user": None, "folder": str(folder), "most": limits.received, "revs": {}} | more
    process = await _start(limits)
    try:
        return _result(await _conversation(process, job, login, limits))
    finally:
        await to_its_end(ended(process))


async def _start(limits: Limits) -> Process:
    settings = {"parent": os.getpid(), "seconds": int(limits.whole) + 60, "memory": limits.memory}
    package = str(Path(reconciler.__file__).resolve().parent.parent)
    environ = {name: os.environ[name] for name in _HANDED_ON if name in os.environ}
    try:
        return await asyncio.create_subprocess_exec(
            sys.executable, "-I", "-X", "utf8", "-c", _PROGRAM, json.dumps(settings), package,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env=environ | outward(os.environ), start_new_session=True, limit=_LONGEST,
        )  # fmt: skip
    except OSError as error:
        raise Failed(Why.UNREACHABLE, f"{sys.executable} cannot be run: {error.strerror}") from error


async def _conversation(process: Process, job: Mapping[str, Any], login: LoginOf, limits: Limits) -> dict[str, Any]:
    """The last thing that it says."""
    loop = asyncio.get_running_loop()
    end, listing = loop.time() + limits.whole, False
    try:
        async with asyncio.timeout_at(end) as waiting:
            await _tell(process, job)
            while True:
                said = await _said(process)
                if "asks" in said:
                    await _tell(process, _as_json(await login()))
                elif "at" in said:
                    listing = said["at"] == "listing"
                else:
                    return said
                waiting.reschedule(min(end, loop.time() + limits.listing) if listing else end)
    except TimeoutError:
        cause = f"it did not tell its branches and tags within {limits.listing:.0f} s"
        raise Failed(Why.UNREACHABLE, cause if listing else f"it took longer than {limits.whole:.0f} s") from None


async def _tell(process: Process, what: object) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(what).encode() + b"\n")
        await process.stdin.drain()
    except ConnectionError:
        pass  # why it has ended is seen where it is listened to


async def _said(process: Process) -> dict[str, Any]:
    assert process.stdout is not None
    try:
        line = await process.stdout.readline()
    except ValueError:
        raise Failed(Why.UNREACHABLE, f"it tells more than {_LONGEST >> 20} MiB of branches and tags") from None
    if not line.endswith(b"\n"):
        raise Failed(Why.UNREACHABLE, f"the process that talked with it ended with {await process.wait()}")
    said: dict[str, Any] = json.loads(line)
    return said


def _as_json(login: Login | None) -> dict[str, Any] | None:
    return None if login is None else {"secret": login.secret.reveal(), "user": login.user, "is_key": login.is_key}


def _result(said: Mapping[str, Any]) -> dict[str, Any]:
    if "failed" in said:
        why, cause = said["failed"]
        raise Failed(Why(why), cause)
    if "problems" in said:
        raise LianError(map(as_problem, said["problems"]))
    result: dict[str, Any] = said["done"]
    return result


def as_problem(document: Mapping[str, Any]) -> Problem:
    """A problem as the process tells it."""
    return Problem(**{**document, "next": Next(document["next"])})
