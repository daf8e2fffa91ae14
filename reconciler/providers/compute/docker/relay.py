"""A socket on this machine behind which a builder in a container serves.

Each connection is one process `buildctl dial-stdio` in the container, reached through Docker's own socket: no port is
opened, nothing of the container's file system has to be on this machine (on macOS it cannot be), and who may connect is
decided by the folder that the socket lies in.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError
from reconciler.providers.compute.docker.container import DIAL
from reconciler.providers.compute.docker.hijack import ERRORS, OUTPUT

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self

    from reconciler.providers.compute.docker.engine import Engine
    from reconciler.providers.compute.docker.hijack import Connection

CHUNK = 1 << 16
END_SECONDS = 5.0
"""How long the process in the container may go on writing when nothing more is said to it."""


class Relay:
    """`told` is given what the processes in the container say of errors, and what Docker does."""

    def __init__(self, engine: Engine, container: str, told: Callable[[bytes], None]) -> None:
        self._engine, self._container, self._told = engine, container, told
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, socket: Path) -> Self:
        """From now on. Raises OSError if the socket cannot be made."""
        self._server = await asyncio.start_unix_server(self._connected, path=str(socket), limit=CHUNK)
        return self

    async def close(self) -> None:
        """End all connections."""
        if self._server is not None:
            self._server.close()
        for task in self._connections:
            task.cancel()
        if self._connections:
            await asyncio.wait(self._connections)

    async def _connected(self, reader: StreamReader, writer: StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        try:
            async with await self._engine.running(self._container, DIAL) as connection:
                await self._pass_on(reader, writer, connection)
            writer.close()
            with contextlib.suppress(OSError):  # whoever connected has gone
                await writer.wait_closed()
        except LianError as error:
            self._told(f"{error}\n".encode())
        except asyncio.CancelledError:
            return  # by `close` alone; a task of asyncio's own server would tell of it
        finally:
            writer.transport.abort()
            self._connections.discard(task)

    async def _pass_on(self, reader: StreamReader, writer: StreamWriter, connection: Connection) -> None:
        """Both ways, until the process in the container has ended, or nobody here listens any more."""
        there = asyncio.create_task(_send(reader, connection.writer))
        back = asyncio.create_task(self._receive(connection, writer))
        try:
            await asyncio.wait({there, back}, return_when=asyncio.FIRST_COMPLETED)
            if not back.done():
                await asyncio.wait({back}, timeout=END_SECONDS)
        finally:
            for task in (there, back):
                task.cancel()
            for end in await asyncio.gather(there, back, return_exceptions=True):
                if isinstance(end, Exception):
                    self._told(f"the connection to the builder ended: {end}\n".encode())

    async def _receive(self, connection: Connection, writer: StreamWriter) -> None:
        async for stream, content in connection.frames():
            if stream == OUTPUT:
                writer.write(content)
                await writer.drain()
            elif stream == ERRORS:
                self._told(content)


async def _send(reader: StreamReader, writer: StreamWriter) -> None:
    while content := await reader.read(CHUNK):
        writer.write(content)
        await writer.drain()
    writer.write_eof()
