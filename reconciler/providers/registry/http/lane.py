"""One keep-alive connection for many small requests in a row.

A HEAD costs 0.7 ms of processor time through an httpx client and a fifth of that here; for thousands of references that
is the difference. Reading is all that is done here: uploads, other hosts and proxies are left to httpx (ADR 050).
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import h11

from reconciler.providers.registry.http.plain import head_answer, request_head
from reconciler.providers.registry.http.reply import Broken, Reply

if TYPE_CHECKING:
    from collections.abc import Iterable
    from ssl import SSLContext
    from types import TracebackType

_CHUNK = 1 << 16
_MOST_HEADERS = 100 << 10
"""Bytes of status line and headers: a Location may carry a long signature."""
_NEXT_ADDRESS = 0.25
"""Seconds until another address of the host is tried beside the first (RFC 8305)."""
SMALL_BODY = 1 << 16
"""Bytes of an error body that are read; more is not worth it here."""


class Lane:
    """A connection to `host:port`; opened at the first request, opened again when the server closed it meanwhile.

    Seconds: `connect` for a new connection, `read` for the longest silence, and unless a request says otherwise for a
    whole exchange.
    """

    def __init__(
        self, host: str, port: int, tls: SSLContext | None, *, connect: float = 5.0, read: float = 15.0
    ) -> None:
        self._address = (host, port)
        self._tls = tls
        self._connect, self._read = connect, read
        self._streams: tuple[_Reader, asyncio.StreamWriter] | None = None
        self._parser = _parser()

    async def __aenter__(self) -> Lane:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def open(self) -> bool:
        """True for a connection that may take another request: the server has not closed it, nor said more than it was
        asked, which would be taken for the answer to what is asked next."""
        return self._streams is not None and not self._streams[0].at_eof() and not self._streams[0].unread

    async def aclose(self) -> None:
        """End the connection, if there is one."""
        streams, self._streams = self._streams, None
        if streams:
            streams[1].transport.abort()
            with contextlib.suppress(OSError):
                await streams[1].wait_closed()

    async def exchange(
        self,
        method: str,
        target: str,
        headers: list[tuple[str, str]],
        *,
        content: bytes | None = None,
        limit: int = SMALL_BODY,
        otherwise: int | None = None,
        seconds: float | None = None,
    ) -> Reply:
        """One request that may be sent twice. Of the body of a 200 at most `limit` bytes are read, of any other
        `otherwise`, if that is not as many; it may take `seconds` as a whole. Raises Broken; a connection the server
        closed while idle is no failure."""
        if content is not None:
            headers = [*headers, ("content-length", str(len(content)))]
        question = _Question(
            method,
            target,
            headers,
            content,
            limit,
            limit if otherwise is None else otherwise,
            self._read if seconds is None else seconds,
        )
        if self._streams is not None and not self.open:
            await self.aclose()
        if self._streams is not None:
            try:
                return await self._once(question)
            except Broken as error:
                if error.silent:
                    raise
        return await self._once(question)

    async def _once(self, question: _Question) -> Reply:
        try:
            reader, writer = self._streams or await self._open()
            plain = question.plain()
            writer.write(plain or self._told(question))
            reply = await self._answer(reader, question, plain=plain is not None)
        except TimeoutError:
            await self.aclose()
            raise Broken("no answer in time", silent=True) from None
        except (OSError, h11.ProtocolError) as error:
            await self.aclose()
            raise Broken(str(error) or type(error).__name__) from error
        except BaseException:
            await self.aclose()
            raise
        if self._parser.our_state is h11.IDLE:  # it was so plain that the parser has heard nothing of it
            return reply
        if self._parser.our_state is h11.DONE and self._parser.their_state is h11.DONE and not self._more():
            self._parser.start_next_cycle()
        else:
            await self.aclose()
        return reply

    def _more(self) -> bool:
        """True if the server said more than it was asked: that is no answer to what is asked next."""
        return bool(self._parser.trailing_data[0])

    def _told(self, question: _Question) -> bytes:
        """The bytes of the request, which the parser takes note of."""
        request = h11.Request(method=question.method, target=question.target, headers=question.headers)
        events = [request, *([h11.Data(data=question.content)] if question.content else []), h11.EndOfMessage()]
        return b"".join(self._parser.send(event) or b"" for event in events)

    async def _answer(self, reader: _Reader, question: _Question, *, plain: bool) -> Reply:
        now = asyncio.get_running_loop().time
        end = now() + question.seconds
        async with asyncio.timeout_at(min(end, now() + self._read)) as patience:
            if plain:
                data = await reader.read(_CHUNK)
                if reply := head_answer(data):
                    return reply
                self._told(question)
                self._parser.receive_data(data)
            status, headers, body, limit = 0, {}, bytearray(), question.limit
            while True:
                event = self._parser.next_event()
                if event is h11.NEED_DATA:
                    self._parser.receive_data(await reader.read(_CHUNK))
                    patience.reschedule(min(end, now() + self._read))
                elif isinstance(event, h11.Response):
                    status, headers = event.status_code, _joined(event.headers)
                    limit = question.limit if status == 200 else question.otherwise
                elif isinstance(event, h11.Data):
                    body += event.data
                    if len(body) > limit:
                        return Reply(status, headers, truncated=True)
                elif isinstance(event, h11.EndOfMessage):
                    return Reply(status, headers, bytes(body))
                elif isinstance(event, h11.ConnectionClosed):
                    raise Broken("the connection was closed without an answer")

    async def _open(self) -> tuple[_Reader, asyncio.StreamWriter]:
        host, port = self._address
        loop = asyncio.get_running_loop()
        reader = _Reader(loop=loop)
        try:
            async with asyncio.timeout(self._connect):
                transport, protocol = await loop.create_connection(
                    lambda: asyncio.StreamReaderProtocol(reader, loop=loop),
                    host,
                    port,
                    ssl=self._tls,
                    server_hostname=host if self._tls else None,
                    happy_eyeballs_delay=None if _is_address(host) else _NEXT_ADDRESS,
                )
        except TimeoutError:
            raise Broken("no connection in time", silent=True) from None
        except (ValueError, OverflowError) as error:  # no name that can be looked up, or no port
            raise Broken(f"{host}:{port} is no address: {error}") from error
        self._streams = reader, asyncio.StreamWriter(transport, protocol, reader, loop)
        self._parser = _parser()
        return self._streams


class _Reader(asyncio.StreamReader):
    """One that tells how many bytes have come that nobody has read."""

    unread = 0

    def feed_data(self, data: bytes) -> None:  # type: ignore[override]
        super().feed_data(data)
        self.unread += len(data)

    async def read(self, n: int = -1) -> bytes:
        data = await super().read(n)
        self.unread -= len(data)
        return data


def _is_address(host: str) -> bool:
    """True for one that needs no look-up, so that there is no second address to try."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class _Question:
    """One request, and what its answer may take: `limit` bytes of a 200, of any other status `otherwise`."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    content: bytes | None
    limit: int
    otherwise: int
    seconds: float

    def plain(self) -> bytes | None:
        """The bytes of a HEAD, None for what is not as plain as that."""
        return (
            request_head("HEAD", self.target, self.headers) if (self.method, self.content) == ("HEAD", None) else None
        )


def _parser() -> h11.Connection:
    return h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST_HEADERS)


def _joined(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """A header that comes several times is a list (RFC 9110, 5.3): registries challenge so."""
    found: dict[str, str] = {}
    for raw, value in headers:
        name = raw.decode("latin-1")
        found[name] = f"{found[name]}, {value.decode('latin-1')}" if name in found else value.decode("latin-1")
    return found
