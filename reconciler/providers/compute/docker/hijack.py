"""A connection to Docker that becomes the input and output of a process (Engine API, "attach" and "exec start").

HTTP ends with the answer to the request; from there on bytes go both ways. What the process writes comes in frames:
one byte for the stream, three of nothing, the length in four, and the content.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from asyncio import StreamReader, StreamWriter
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path
    from typing import Self

BUFFER = 1 << 18
"""Bytes that are read ahead."""
MAX_REFUSAL = 1 << 16
OUTPUT, ERRORS = 1, 2
"""The numbers of a process's streams."""


@dataclass(slots=True)
class Connection:
    """What a process writes is read here, and what it reads is written. Leaving the block ends it."""

    reader: StreamReader
    writer: StreamWriter
    refusal: bytes = b""
    """The answer, where it is no connection."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End it at once: what is still to be sent is of no use to anybody, and who does not read holds nobody up."""
        self.writer.transport.abort()
        with contextlib.suppress(OSError):  # it is given up; how it ends makes no difference
            await self.writer.wait_closed()

    async def frames(self) -> AsyncIterator[tuple[int, bytes]]:
        """What the process writes, each with the number of its stream. Raises asyncio.IncompleteReadError or OSError
        if the connection ends in the middle."""
        while True:
            try:
                header = await self.reader.readexactly(8)
            except asyncio.IncompleteReadError as error:
                if not error.partial:
                    return
                raise
            yield header[0], await self.reader.readexactly(int.from_bytes(header[4:]))


async def hijack(socket: Path, path: str, document: Mapping[str, Any] | None) -> tuple[int, Connection]:
    """Send a POST; the status of the answer, and the connection. With another status than 101 and 200 it is of no use,
    and `refusal` is filled in. Raises OSError or asyncio.IncompleteReadError if there is no answer."""
    body = b"" if document is None else json.dumps(document).encode()
    head = [
        f"POST {path} HTTP/1.1",
        "Host: docker",
        "Connection: Upgrade",
        "Upgrade: tcp",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    ]
    reader, writer = await asyncio.open_unix_connection(str(socket), limit=BUFFER)
    connection = Connection(reader, writer)
    try:
        writer.write("\r\n".join([*head, "", ""]).encode("ascii") + body)
        await writer.drain()
        status, length = _parsed(await reader.readuntil(b"\r\n\r\n"))
        if status not in {101, 200}:
            connection.refusal = await reader.readexactly(min(length, MAX_REFUSAL))
    except asyncio.LimitOverrunError as error:
        await connection.close()
        raise OSError("the answer's head is too long") from error
    except BaseException:
        await connection.close()
        raise
    return status, connection


def _parsed(head: bytes) -> tuple[int, int]:
    """The status of an answer and the length of its content. Raises OSError for what is no answer."""
    first, *lines = head.decode("latin-1").split("\r\n")
    words = first.split(" ")
    if len(words) < 2 or not words[0].startswith("HTTP/1.") or not words[1].isdecimal():
        raise OSError(f"not an answer in HTTP: {first[:100]!r}")
    fields = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    length = fields.get("content-length", "")
    return int(words[1]), int(length) if length.isdecimal() else 0
