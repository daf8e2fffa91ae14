"""A build's client on a leased machine: it runs under the lease's supervisor, which keeps what it writes, so that a
connection that breaks ends no build."""

from __future__ import annotations

import contextlib
import re
import signal
from typing import TYPE_CHECKING

import asyncssh

from reconciler.model.problem import LianError, Next, Problem
from reconciler.providers.compute.ssh import script
from reconciler.providers.compute.ssh.connection import Lost

if TYPE_CHECKING:
    from reconciler.providers.compute.ssh.machine import SshMachine

CHUNK = 1 << 16


class SshRunning:
    """The port Running: the client's output, read over one connection after another."""

    def __init__(self, machine: SshMachine, identity: str, handed: bytes) -> None:
        self._machine, self._id = machine, identity
        self._handed: bytes | None = handed
        self._channel: asyncssh.SSHClientProcess[bytes] | None = None
        self._received, self._held = 0, b""
        self._end = re.compile(rb"\nlian-ended " + identity.encode() + rb" (\d+) (\d+)\n")
        self._status: int | None = None
        self._size = 0
        """Bytes that it wrote in all, once it has ended."""
        self._failure: LianError | None = None

    @property
    def ended(self) -> bool:
        """See the port."""
        return self._failure is not None or (self._status is not None and self._received >= self._size)

    async def read(self) -> bytes:
        """See the port."""
        while not self.ended:
            try:
                chunk = await self._chunk()
            except Lost as error:
                await self._drop(str(error))
                continue
            if chunk := self._told(chunk):
                return chunk
        if self._failure is not None:
            raise self._failure
        rest, self._held = self._held, b""
        return rest

    async def wait(self) -> int:
        """See the port."""
        while await self.read():
            pass
        assert self._status is not None
        return self._status if self._status <= 128 else 128 - self._status

    async def terminate(self) -> None:
        """See the port. One that was not started yet is not."""
        if self._handed is not None:
            self._handed, self._status = None, 128 + signal.SIGTERM
        await self._signal("TERM")

    async def kill(self) -> None:
        """See the port."""
        await self._signal("KILL")

    async def close(self) -> None:
        """Read no more."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
            await channel.wait_closed()

    async def _chunk(self) -> bytes:
        """Some more of its output. Raises Lost."""
        if self._channel is None:
            self._channel = await self._opened()
        try:
            chunk = await self._channel.stdout.read(CHUNK)
        except (asyncssh.Error, OSError) as error:
            raise Lost(str(error)) from error
        if not chunk:
            await self._explain(self._channel)
        return chunk

    async def _opened(self) -> asyncssh.SSHClientProcess[bytes]:
        """The first time it is started, later it is followed from where we were. Raises Lost."""
        with await self._machine.room() as room:
            handed, self._handed = self._handed, None
            verb = ["build"] if handed is not None else ["follow"]
            verb += [self._machine.lease, self._id, str(self._received)]
            channel = await room.start(script.leased(self._machine.state, *verb))
        try:
            with contextlib.suppress(BrokenPipeError):  # it has ended already; reading tells why
                channel.stdin.write(handed or b"")
                await channel.stdin.drain()
        except BaseException as error:
            channel.close()
            if isinstance(error, asyncssh.Error | OSError):
                raise Lost(str(error)) from error
            raise
        return channel

    async def _explain(self, channel: asyncssh.SSHClientProcess[bytes]) -> None:
        """Why there is no more output although it has not ended. Raises Lost if it is for the connection alone."""
        await channel.wait_closed()
        status = channel.exit_status
        if status is None or channel.exit_signal is not None:
            raise Lost("the connection was closed")
        errors = (await channel.stderr.read()).decode(errors="replace").strip()
        if script.is_full(errors):
            message = f"nothing can be written on {self._machine.host}"
            hint = "make room there, in /var/lib/lian and in memory"
            self._failure = LianError(Problem("disk-full", message, cause=errors, hint=hint, next=Next.RETRY))
        elif status == script.UNKNOWN:
            self._failure = LianError(self._machine.gone("the lease has ended there, or the build was never started"))
        elif status != 0:
            self._failure = LianError(self._machine.gone(errors or f"it ended with status {status}"))
        else:
            raise Lost("what reads the build's output has ended")

    async def _drop(self, cause: str) -> None:
        """This channel is of no more use. Once the lease is lost, so is the build."""
        channel, self._channel = self._channel, None
        if channel is not None:
            channel.close()
        self._held = b""
        try:
            await self._machine.pause(cause)
        except LianError as error:
            self._failure = error

    def _told(self, chunk: bytes) -> bytes:
        """What of it is output. The line that tells of its end may stand anywhere in it, and come in pieces."""
        text = self._held + chunk
        if (match := self._end.search(text)) is not None:
            self._status, self._size = int(match[1]), int(match[2])
            text = text[: match.start()] + text[match.end() :]
        if self._status is not None:
            self._received += len(text)
            self._held = b""
            return text
        cut = text.rfind(b"\n")
        out, self._held = (text, b"") if cut < 0 else (text[:cut], text[cut:])
        self._received += len(out)
        return out

    async def _signal(self, name: str) -> None:
        if not self.ended:
            with contextlib.suppress(LianError):
                await self._machine.ask("signal", self._id, name)
