"""Port: how registries are reached, and as whom, for those who reach them in lian's place (compute and builders)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.model.secret import Secret


@dataclass(frozen=True, slots=True)
class Identity:
    """A client certificate and its key, both PEM."""

    certificate: str
    key: Secret


@dataclass(frozen=True, slots=True)
class Route:
    """How one registry host is reached."""

    host: str
    """As in model.reference.Repository, or a mirror's host."""
    plain: bool = False
    """Plain HTTP."""
    insecure: bool = False
    """HTTPS without looking at the certificate."""
    authorities: tuple[str, ...] = ()
    """PEM certificates that are trusted besides the machine's own."""
    identity: Identity | None = None
    mirrors: tuple[str, ...] = ()
    """Where images of this host are looked for first, as HOST or HOST/PATH; each of these hosts has its own route."""


class Access(Protocol):
    """Knows the fleet's registries as their settings and the machine's configuration describe them."""

    async def routes(self, hosts: Collection[str]) -> tuple[Route, ...]:
        """A route for each host and for each of its mirrors, in order of hosts. Raises LianError for a host whose
        certificates cannot be used."""
        ...

    async def logins(self, hosts: Collection[str]) -> Secret:
        """The content of a Docker `config.json` with the credentials for these hosts and their mirrors, and no others.
        Raises LianError if one that is named cannot be had."""
        ...
