"""A proxy in front of a real registry, that fails on command in all the ways a FaultyRegistry does."""

from __future__ import annotations

import contextlib
import http.client
from typing import TYPE_CHECKING

from tests.servers.faulty_registry import Answer, FaultyRegistry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.servers.faulty_registry import Seen
    from tests.servers.running import RegistryServer

_OWN = {"connection", "transfer-encoding", "keep-alive"}
"""Headers of one connection, which a proxy does not hand on (RFC 9110, 7.6.1)."""
SECONDS = 20.0


class FaultyProxy(FaultyRegistry):
    """The right answer is what the registry behind it says. It sends the client's Host header on, so that the registry
    names the proxy in its locations."""

    def __init__(self, upstream: RegistryServer) -> None:
        super().__init__()
        self.upstream = upstream

    def mend(self) -> None:
        """No fault any more; what was asked is forgotten."""
        self.faults.clear()
        self.requests.clear()
        self.lost = self.interrupted = None

    def _right(self, seen: Seen, data: bytes) -> Answer:
        connection = http.client.HTTPConnection(self.upstream.host, timeout=SECONDS)
        try:
            headers = {name: value for name, value in seen.headers.items() if name not in _OWN}
            connection.request(seen.method, seen.path, body=data or None, headers=headers)
            got = connection.getresponse()
            kept = {name: value for name, value in got.getheaders() if name.lower() not in _OWN}
            return Answer(got.status, kept, got.read())
        finally:
            connection.close()


@contextlib.contextmanager
def proxied(upstream: RegistryServer) -> Iterator[FaultyProxy]:
    """A proxy without faults."""
    with FaultyProxy(upstream).running() as proxy:
        yield proxy
