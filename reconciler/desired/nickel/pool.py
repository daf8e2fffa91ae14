"""Worker processes: started, asked, timed, replaced, and gone when the pool closes."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import reconciler
from reconciler.desired.nickel.engine import WorkerStartError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from reconciler.desired.nickel.settings import Limits

_START = 20.0
"""Seconds a worker may take until it is ready; 0.05 is usual."""
_FAREWELL = 2.0
"""Seconds a worker may take to end the command that it runs."""
_REQUESTS = 300
_PEAK = 600 << 10
"""KiB. The wheel keeps about 50 KB of each request for ever, so a worker is replaced after so many or so much."""
_PROGRAM = "import sys; sys.path.append(sys.argv[2]); from reconciler.desired.nickel.worker import main; main()"
_HEADER = 1 << 20
_MEMORY = re.compile(r"memory allocation of|out of memory|MemoryError|Cannot allocate memory")


class Status(StrEnum):
    """How an evaluation ended."""

    OK = "ok"
    ERROR = "error"
    """Nickel refused; the error text says why."""
    OUTPUT = "output"
    """More JSON than the limit for a reply."""
    DEPTH = "depth"
    """JSON nested deeper than can be read back."""
    TIME = "time"
    MEMORY = "memory"
    CRASH = "crash"


@dataclass(frozen=True, slots=True)
class Reply:
    """`texts` are the values asked for, as JSON, when OK (None: that one is too large); `error` is Nickel's text."""

    status: Status
    texts: tuple[bytes | None, ...] = ()
    error: str = ""


class Worker:
    """One slot: a process that is started when first needed and replaced after it broke or served its time."""

    def __init__(self, root: Path, command: str | None, limits: Limits) -> None:
        """`root` is the scratch folder; `command` a nickel executable, None for the wheel."""
        self._root = root
        self._command = command
        self._limits = limits
        self._process: asyncio.subprocess.Process | None = None
        self._served = 0
        self._complaint = b""
        self._listener: asyncio.Task[None] | None = None
        self.ready: dict[str, Any] = {}
        """What the process said of its confinement."""

    async def ask(self, expression: str, imports: Sequence[str], keys: Sequence[str] | None, seconds: float) -> Reply:
        """Evaluate within `seconds`. A process that breaks is gone when this returns. Raises WorkerStartError."""
        process = await self._running()
        request = {"expression": expression, "imports": list(imports), "keys": keys, "seconds": seconds}
        try:
            async with asyncio.timeout(seconds):
                reply = await self._exchange(process, json.dumps(request).encode() + b"\n")
        except TimeoutError:
            await self.close()
            return Reply(Status.TIME)
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError, ValueError):
            return await self._post_mortem(process)
        except BaseException:
            await self.close()
            raise
        self._served += 1
        if reply.status is Status.CRASH or self._served >= _REQUESTS:
            await self.close()
        return reply

    async def close(self) -> None:
        """End the process and whatever it started; returns when they are gone. Never raises for one already gone."""
        process, self._process = self._process, None
        if process is None:
            return
        await asyncio.shield(self._end(process))
        if process.stdout:
            await process.stdout.read()  # to its end, or the transport stays open
        if self._listener:
            await self._listener
        if process.stdin:
            process.stdin.close()

    async def _end(self, process: asyncio.subprocess.Process) -> None:
        if self._command and process.returncode is None:
            process.terminate()  # it ends and reaps the command that it runs, so that no zombie falls to init
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), _FAREWELL)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()

    async def _running(self) -> asyncio.subprocess.Process:
        if self._process is None:
            self._process = await self._start()
        return self._process

    async def _start(self) -> asyncio.subprocess.Process:
        settings = {
            "root": str(self._root), "command": self._command, "parent": os.getpid(),
            "memory": self._limits.memory, "output": self._limits.output, "reply": self._limits.reply,
        }  # fmt: skip
        package = str(Path(reconciler.__file__).resolve().parent.parent)
        try:
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-X", "utf8", "-c", _PROGRAM, json.dumps(settings), package,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
                env={}, start_new_session=True, limit=_HEADER,
            )  # fmt: skip
        except OSError as error:
            raise WorkerStartError(f"{sys.executable} cannot be run: {error.strerror}") from error
        self._process, self._served, self._complaint = process, 0, b""
        assert process.stdout and process.stderr
        self._listener = asyncio.create_task(self._listen(process.stderr))
        try:
            async with asyncio.timeout(_START):
                line = await process.stdout.readline()
        except BaseException:
            await self.close()
            raise
        self.ready = json.loads(line) if line.startswith(b"{") else {}
        if self.ready.get("status") != "ok":
            await self.close()
            raise WorkerStartError(str(self.ready.get("error") or self._complaint.decode("utf-8", "replace")[-2000:]))
        return process

    async def _exchange(self, process: asyncio.subprocess.Process, request: bytes) -> Reply:
        assert process.stdin and process.stdout
        process.stdin.write(request)
        await process.stdin.drain()
        header = json.loads(await process.stdout.readuntil(b"\n"))
        status, sizes = Status(header["status"]), [int(size) for size in header["sizes"]]
        if sum(max(size, 0) for size in sizes) > self._limits.reply + _HEADER:
            raise ValueError("a reply beyond the limit")
        if header["peak"] > _PEAK:
            self._served = _REQUESTS
        if status is Status.OK:
            texts = [None if size < 0 else await process.stdout.readexactly(size) for size in sizes]
            return Reply(status, tuple(texts))
        error = (await process.stdout.readexactly(sum(sizes))).decode("utf-8", "replace")
        if status is Status.CRASH and _MEMORY.search(error):
            return Reply(Status.MEMORY)
        return Reply(status, (), error)

    async def _post_mortem(self, process: asyncio.subprocess.Process) -> Reply:
        """Why a process ended that should have answered."""
        await self.close()
        complaint = self._complaint.decode("utf-8", "replace")
        if process.returncode == -signal.SIGXCPU:
            return Reply(Status.TIME)
        if _MEMORY.search(complaint):
            return Reply(Status.MEMORY)
        return Reply(Status.CRASH, (), f"exit status {process.returncode}")

    async def _listen(self, stream: asyncio.StreamReader) -> None:
        """Keep the last of what the process says on stderr."""
        while data := await stream.read(4096):
            self._complaint = (self._complaint + data)[-4096:]


class Pool:
    """A fixed number of workers, handed out one task at a time."""

    def __init__(self, workers: Sequence[Worker]) -> None:
        self._workers = workers
        self._idle: asyncio.LifoQueue[Worker] = asyncio.LifoQueue()
        for worker in workers:
            self._idle.put_nowait(worker)

    @contextlib.asynccontextmanager
    async def worker(self) -> AsyncIterator[Worker]:
        """A worker of one's own for the block; waits until one is idle."""
        worker = await self._idle.get()
        try:
            yield worker
        finally:
            self._idle.put_nowait(worker)

    async def close(self) -> None:
        """End every worker."""
        await asyncio.gather(*(worker.close() for worker in self._workers))
