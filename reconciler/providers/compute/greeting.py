"""Whether a daemon serves: it answers in the protocol of its clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from asyncio import StreamWriter

_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
"""The HTTP/2 connection preface with empty SETTINGS (RFC 9113, 3.4); a server answers with its own at once."""
_SETTINGS = 4


class Reader(Protocol):
    """What is read from: asyncio.StreamReader, or what looks like one."""

    async def readexactly(self, n: int) -> bytes:
        """Raises asyncio.IncompleteReadError at the end."""
        ...


async def greeted(reader: Reader, writer: StreamWriter) -> bool:
    """Greet it, and wait for the answer: True if it serves, False if the connection ends instead."""
    try:
        writer.write(_HELLO)
        frame = await reader.readexactly(9)
        return frame[3] == _SETTINGS
    except (asyncio.IncompleteReadError, ConnectionError):
        return False
