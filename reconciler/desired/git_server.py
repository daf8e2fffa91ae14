"""What holds for every git server that is spoken to: how long it may take, who it is, and where a login for it goes."""

from __future__ import annotations

from urllib.parse import urlsplit

import pygit2

_CONNECT_MS, _IDLE_MS = 15_000, 30_000
"""How long a server may take until it answers, and then between two of its answers."""


class ServerCallbacks(pygit2.RemoteCallbacks):
    """Those of a talk with a server that is who it says it is by the system's authorities or the user's known_hosts."""

    def certificate_check(self, certificate: None, valid: bool, host: bytes) -> bool:
        """`valid` is libgit2's own verdict; left to pygit2, any key of an ssh server is good."""
        del certificate, host
        return valid


def limit_waits() -> None:
    """No server is waited for without end. To be called before one is: libgit2 keeps it for the whole process."""
    pygit2.settings.server_connect_timeout, pygit2.settings.server_timeout = _CONNECT_MS, _IDLE_MS


def same_server(one: str, other: str) -> bool:
    """Whether two URLs are of one server, which knows the same credentials."""
    try:
        first, second = ((parts.scheme, parts.hostname, parts.port) for parts in (urlsplit(one), urlsplit(other)))
    except ValueError:
        return False
    return first == second or "://" not in one + other
