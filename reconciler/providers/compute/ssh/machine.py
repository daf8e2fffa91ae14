"""A leased machine: what its supervisor is asked, over one connection after another.

lian is heard of there every BEAT_SECONDS. While nothing can reach the machine, a build is neither failed nor done; once
it is certain that the supervisor has ended everything for want of a heartbeat, it is declared lost (ADR 062).
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import asyncssh

from reconciler.finishing import to_its_end
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.compute import Usage
from reconciler.providers.compute.ssh import script
from reconciler.providers.compute.ssh.connection import Connection, Done, Lost, Room
from reconciler.providers.compute.ssh.workplace import SshWorkplace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from reconciler.model.host import Host

T = TypeVar("T")

BEAT_SECONDS = 5.0
SILENCE_SECONDS = 30
"""Whole seconds without a heartbeat after which the supervisor ends a lease."""
SLACK_SECONDS = 10.0
"""What may come on top, until nothing of it runs: clocks in whole seconds, a tick of the supervisor, the ending."""
AGAIN_SECONDS = 0.3
"""Before a host that could not be reached is tried again."""


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
        """What builds have used so far. Raises LianError `builder-lost`."""
        done = await self.ask("usage")
        try:
            needed, nanoseconds, killed = (_number(word) for word in done.output.decode().split())
        except ValueError as error:
            raise LianError(self.gone(done.cause or "it does not tell what is used there")) from error
        peaks = [peak for peak in (needed, self.used.peak_memory) if peak is not None]
        seconds = None if nanoseconds is None else nanoseconds / 1e9
        self.used = Usage(max(peaks, default=None), seconds, killed)
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


def _number(word: str) -> int | None:
    """One of the answer to `usage`. Raises ValueError."""
    return None if word == script.NOTHING else int(word)
