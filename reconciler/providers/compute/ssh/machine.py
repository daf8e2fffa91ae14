"""A leased machine as a build sees it: its client runs there under the lease's supervisor, which keeps what it writes,
so that a connection that breaks ends no build.

lian is heard of there every BEAT_SECONDS. While nothing can reach the machine, a build is neither failed nor done; once
it is certain that the supervisor has ended everything for want of a heartbeat, it is declared lost (ADR 062).
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import shlex
import signal
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import asyncssh

from reconciler.finishing import all_of, to_its_end
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.compute import Usage
from reconciler.providers.compute.ssh import script, transfer
from reconciler.providers.compute.ssh.connection import Connection, Done, Lost, Room

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from reconciler.model.host import Host
    from reconciler.model.secret import SecretBytes

T = TypeVar("T")

BEAT_SECONDS = 5.0
SILENCE_SECONDS = 30
"""Whole seconds without a heartbeat after which the supervisor ends a lease."""
SLACK_SECONDS = 10.0
"""What may come on top, until nothing of it runs: clocks in whole seconds, a tick of the supervisor, the ending."""
AGAIN_SECONDS = 0.3
"""Before a host that could not be reached is tried again."""
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Timing:
    """How long a machine may be out of reach, in seconds."""

    beat: float = BEAT_SECONDS
    silence: int = SILENCE_SECONDS
    slack: float = SLACK_SECONDS


@dataclass(slots=True, eq=False)
class SshMachine:
    """The port Machine: one lease on one host. `dial` opens a connection to it; `state` is the folder of leases there;
    `fleet` keeps what was sent apart from what other fleets have sent."""

    host: Host
    lease: str
    fleet: str
    state: str
    dial: Callable[[], Awaitable[Connection]]
    timing: Timing = field(default_factory=Timing)
    began: float = field(default_factory=lambda: asyncio.get_running_loop().time())
    """Of the event loop's clock: not later than the supervisor began to count."""
    sent: dict[str, list[str]] = field(default_factory=dict)
    """By role (script.slot), where what was sent last lies."""
    used: Usage = field(default_factory=Usage)
    """As it was told last."""
    _connections: list[Connection] = field(default_factory=list)
    _dialing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _attending: asyncio.Task[None] | None = None
    _heard: float = 0.0
    """When lian may have been heard of last."""
    _lost: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def folder(self) -> str:
        """The lease's, there."""
        return f"{self.state}/leases/{self.lease}"

    def attend(self) -> None:
        """Be heard of there from now on, until `close`."""
        if self._attending is None:
            self._attending = asyncio.create_task(self._attend(), name=f"heartbeat of {self.lease}")

    async def close(self) -> None:
        """Nothing is heard of lian there any more, and no connection is left."""
        self._lost.set()
        if self._attending is not None:
            while not self._attending.done():  # a cancellation may be lost in a dial that ends in that moment
                self._attending.cancel()
                await asyncio.wait({self._attending}, timeout=1.0)
        async with self._dialing:
            for connection in self._connections:
                await connection.close()
            self._connections.clear()

    async def ask(self, verb: str, *arguments: str, given: bytes = b"") -> Done:
        """One question to the supervisor; asked again if the connection breaks, so it must not matter how often it is.
        Raises LianError `builder-lost`."""
        words = script.leased(self.state, verb, self.lease, *arguments)
        return await self.until_done(lambda room: room.run(words, given))

    async def usage(self) -> Usage:
        """What builds have used so far; nothing once the lease is gone."""
        try:
            done = await self.ask("usage")
            needed, nanoseconds, killed = done.output.decode().split()
        except (LianError, ValueError):
            return Usage()
        if needed != script.NOTHING:
            self.used = replace(self.used, peak_memory=max(int(needed), self.used.peak_memory or 0))
        if nanoseconds != script.NOTHING:
            self.used = replace(self.used, cpu_seconds=int(nanoseconds) / 1e9)
        if killed != script.NOTHING:
            self.used = replace(self.used, killed=max(int(killed), self.used.killed or 0))
        return self.used

    async def until_done(self, work: Callable[[Room], Awaitable[T]]) -> T:
        """Do it over a connection, and again over another if that breaks. Raises LianError `builder-lost` once the
        lease has ended for want of one, or what the work raises."""
        while True:
            try:
                with await self.room() as room:
                    return await work(room)
            except Lost as error:
                await self.pause(str(error))

    async def room(self) -> Room:
        """For one more channel: on a connection that has it, or else on a new one. Raises Lost, or LianError
        `builder-lost`."""
        async with self._dialing:
            if self._lost.is_set():
                raise LianError(self.gone("nothing reaches the machine any more"))
            for connection in list(self._connections):
                if connection.has_room:
                    return connection.take()
                if connection.is_closed:
                    self._connections.remove(connection)
            try:
                self._connections.append(await self.dial())
            except LianError as error:
                raise Lost(str(error)) from error
            return self._connections[-1].take()

    async def first(self) -> Room:
        """On the first connection. Raises LianError saying why there is none."""
        connection = await self.dial()
        self._connections.append(connection)
        return connection.take()

    async def pause(self, cause: str) -> None:
        """Before the next try. Raises LianError `builder-lost` if there can be none."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(AGAIN_SECONDS):
                await self._lost.wait()
        if self._lost.is_set():
            raise LianError(self.gone(cause))

    def gone(self, cause: str) -> Problem:
        """What a build is told whose machine is lost."""
        return Problem(
            "builder-lost",
            f"the builder on {self.host} went away while it was building",
            cause=cause,
            hint="what was running there has been ended; look at the machine if it happens again",
            next=Next.RETRY,
        )

    @asynccontextmanager
    async def workplace(self, scratch: Path) -> AsyncIterator[SshWorkplace]:
        """See the port."""
        place = SshWorkplace(self, secrets.token_hex(8))
        try:
            yield place
        finally:
            await to_its_end(place.forget())

    async def _attend(self) -> None:
        """Until the lease is lost: it is gone there, or must be."""
        clock = asyncio.get_running_loop().time
        self._heard = clock()
        while not self._lost.is_set() and clock() < self._heard + self.timing.silence + self.timing.slack:
            with contextlib.suppress(Lost, LianError), await self.room() as room:
                if await self._beat(room) == script.UNKNOWN:
                    break
            await asyncio.sleep(AGAIN_SECONDS)
        self._lost.set()

    async def _beat(self, room: Room) -> int | None:
        """As long as its connection holds; returns the status that the other side ends with. Raises Lost."""
        clock = asyncio.get_running_loop().time
        channel = await room.start(script.leased(self.state, "attend", self.lease))
        ended = asyncio.ensure_future(channel.wait_closed())
        try:
            while not ended.done():
                self._heard = clock()
                with contextlib.suppress(BrokenPipeError):
                    channel.stdin.write(b"%d\n" % int(self._heard - self.began))
                await asyncio.wait({ended}, timeout=self.timing.beat)
        except (asyncssh.Error, OSError) as error:
            raise Lost(str(error)) from error
        finally:
            channel.close()
            await asyncio.wait({ended})
        return channel.exit_status


class SshWorkplace:
    """The port Workplace: folders of one build's own in those of the lease."""

    def __init__(self, machine: SshMachine, identity: str) -> None:
        self._machine, self._id = machine, identity
        self.folder = Path(f"{machine.folder}/builds/{identity}")
        self.private = Path(f"{machine.folder}/private/{identity}")
        self._files: dict[str, bytes] = {}
        self._expected: dict[Path, str] = {}
        self._running: SshRunning | None = None

    async def send(self, folder: Path, role: str) -> Path:
        """See the port. What was sent in this role last, to this lease or the one before it, is what it is compared
        with."""
        machine = self._machine
        slot = script.slot(machine.fleet, role)
        there = f"{machine.folder}/contexts/{slot}.{self._id}"
        like = [f"{machine.state}/contexts/{slot}/tree", *machine.sent.get(slot, ())]
        await machine.until_done(lambda room: transfer.send(room, folder, there, like))
        machine.sent[slot] = [there]
        return Path(there)

    async def expect(self, folder: Path) -> Path:
        """See the port."""
        there = self._expected.setdefault(folder, f"{self.folder}/out-{len(self._expected)}")
        return Path(there)

    async def fetch(self) -> None:
        """See the port."""
        fetches = (self._fetch(there, folder) for folder, there in self._expected.items())
        await all_of(fetches)

    async def _fetch(self, there: str, folder: Path) -> None:
        await self._machine.until_done(lambda room: transfer.fetch(room, there, folder))

    async def write(self, name: str, content: bytes) -> Path:
        """See the port: it goes there with the client's words."""
        self._files[name] = content
        return self.private / name

    async def lend(self, name: str, secret: SecretBytes) -> Path:
        """See the port: it goes there in the same way."""
        return await self.write(name, secret.reveal())

    async def read(self, name: str) -> bytes:
        """See the port."""
        done = await self._machine.ask("take", self._id, name)
        if done.status == script.TAKEN:
            raise FileNotFoundError(name)
        if done.status != 0:
            raise LianError(self._machine.gone(done.cause or "the lease has ended"))
        return done.output

    async def start(self, words: Sequence[str], environ: Mapping[str, str]) -> SshRunning:
        """See the port. It is the supervisor that starts it, once: a connection that breaks now is no reason to do it
        again."""
        contents = {**self._files, "start": _start(words, environ)}
        self._running = SshRunning(self._machine, self._id, script.handed(contents))
        return self._running

    async def forget(self) -> None:
        """Nothing of the build is left there. If nobody can be told, the lease's end is its end."""
        if self._running is not None:
            await self._running.close()
        with contextlib.suppress(LianError):
            await self._machine.ask("forget", self._id)


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


def _start(words: Sequence[str], environ: Mapping[str, str]) -> bytes:
    """A script that becomes the client. Of the machine's own environment it has what leads outside."""
    own = [f"{name}={value}" for name, value in environ.items()]
    lines = [
        f"set -- {shlex.join(own)}",
        "for name in HTTP_PROXY HTTPS_PROXY NO_PROXY ALL_PROXY http_proxy https_proxy no_proxy all_proxy \\",
        "    SSL_CERT_FILE SSL_CERT_DIR; do",
        '    eval "value=\\${$name-}"; [ -z "$value" ] || set -- "$@" "$name=$value"',
        "done",
        f'exec env -i PATH="$PATH" "$@" buildctl {shlex.join(words)}',
    ]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")
