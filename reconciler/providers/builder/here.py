"""The machine that lian itself runs on: BuildKit's client is a child process, and folders are where they are."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import signal
import sys
import tempfile
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.finishing import to_its_end
from reconciler.model.problem import LianError, Next, Problem
from reconciler.programs import outward
from reconciler.providers.builder.lending import Lent

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    from reconciler.model.secret import SecretBytes

CHUNK = 1 << 16

_TIED = ("setpriv", "--pdeathsig", "KILL") if sys.platform == "linux" else ()
"""Elsewhere the builder is reached through a socket of this process alone (docker-local), and goes with it."""
_TIE = '[ "$PPID" = "$0" ] && exec "$@"'


class LocalMachine:
    """The port Machine, with this client."""

    def __init__(self, buildctl: Path) -> None:
        self._buildctl = buildctl

    @asynccontextmanager
    async def workplace(self, scratch: Path) -> AsyncIterator[LocalWorkplace]:
        """See the port: a folder in `scratch`."""
        with _own_folder(scratch) as own, Lent(own) as lent:
            yield LocalWorkplace(self._buildctl, own, lent)


class LocalWorkplace:
    """The port Workplace: one folder of the build's own, and what is lent to its client."""

    def __init__(self, buildctl: Path, folder: Path, lent: Lent) -> None:
        self._buildctl, self._lent = buildctl, lent
        self.folder = self.private = folder

    async def send(self, folder: Path, role: str) -> Path:
        """See the port: it is there."""
        return folder

    async def expect(self, folder: Path) -> Path:
        """See the port: likewise."""
        return folder

    async def fetch(self) -> None:
        """See the port: likewise."""

    async def write(self, name: str, content: bytes) -> Path:
        """See the port: for its owner alone, in a folder that is so too."""
        path = self.private / name
        try:
            _write(path, content)
        except OSError as error:
            raise LianError(_unwritable(f"the build's folder {self.private}", error)) from error
        return path

    async def lend(self, name: str, secret: SecretBytes) -> Path:
        """See the port."""
        return Path(self._lent.lend(name, secret))

    async def read(self, name: str) -> bytes:
        """See the port."""
        return (self.folder / name).read_bytes()

    async def start(self, words: Sequence[str], environ: Mapping[str, str]) -> LocalRunning:
        """See the port: a cancellation in that moment ends it again."""
        starting = asyncio.create_task(self._start(words, environ))
        try:
            return LocalRunning(await asyncio.shield(starting))
        except asyncio.CancelledError:
            await to_its_end(_abandon(starting))
            raise

    async def _start(self, words: Sequence[str], environ: Mapping[str, str]) -> Process:
        """In a session of its own (a Ctrl-C at the terminal is for lian alone), killed when this process dies."""
        command = [*_TIED, "sh", "-c", _TIE, str(os.getpid()), str(self._buildctl), *words]
        try:
            return await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.PIPE,
                env=_outward(os.environ) | dict(environ),
                start_new_session=True,
                pass_fds=self._lent.descriptors,
            )
        except OSError as error:
            code = "argument-too-long" if error.errno == errno.E2BIG else "builder-unavailable"
            raise LianError(Problem(code, "BuildKit's client could not be started", cause=error.strerror)) from error


class LocalRunning:
    """The port Running: a process, the first of its session."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @property
    def ended(self) -> bool:
        """See the port."""
        return self._process.returncode is not None

    async def read(self) -> bytes:
        """See the port."""
        assert self._process.stderr is not None
        return await self._process.stderr.read(CHUNK)

    async def wait(self) -> int:
        """See the port."""
        return await self._process.wait()

    async def terminate(self) -> None:
        """See the port."""
        self._signal(signal.SIGTERM)

    async def kill(self) -> None:
        """See the port."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)


async def _abandon(starting: asyncio.Task[Process]) -> None:
    """End what was about to start, if it did; it has begun nothing yet."""
    await asyncio.wait({starting})
    if starting.exception() is None:
        running = LocalRunning(starting.result())
        await running.kill()
        while await running.read():  # a full pipe would keep it from ending
            pass
        await running.wait()


def _outward(inherited: Mapping[str, str]) -> dict[str, str]:
    """Only what leads outside. buildctl would take SOURCE_DATE_EPOCH and BUILDKIT_* from the caller's environment, and
    a configuration of the user's with credentials that this build does not need."""
    return outward(inherited) | {name: inherited[name] for name in ("PATH",) if name in inherited}


@contextlib.contextmanager
def _own_folder(scratch: Path) -> Iterator[Path]:
    """For what belongs to one build."""
    try:
        folder = tempfile.TemporaryDirectory(prefix="build-", dir=scratch, ignore_cleanup_errors=True)
    except OSError as error:
        raise LianError(_unwritable(f"the runner's folder {scratch}", error)) from error
    with folder as own:
        yield Path(own)


def _write(path: Path, content: bytes) -> None:
    with open(path, "xb", opener=lambda name, flags: os.open(name, flags, 0o600)) as file:
        file.write(content)


def _unwritable(where: str, error: OSError) -> Problem:
    code = "disk-full" if error.errno == errno.ENOSPC else "builder-lost"
    return Problem(code, f"nothing can be written in {where}", cause=error.strerror, next=Next.RETRY)
