"""What a builder and compute are told of registries, said by a test."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.ports.access import Route
from reconciler.providers.registry.http.docker_config import Credential, rendered

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.secret import Secret


@dataclass
class Told:
    """Fills ports.access.Access. Knows `credentials` and `ways` by host; `asked` are the hosts of each question for
    credentials."""

    credentials: Mapping[str, Credential] = field(default_factory=dict)
    ways: Mapping[str, Route] = field(default_factory=dict)
    asked: list[frozenset[str]] = field(default_factory=list)

    async def routes(self, hosts: Collection[str]) -> tuple[Route, ...]:
        """See the port."""
        return tuple(self.ways.get(host, Route(host)) for host in sorted(hosts))

    async def logins(self, hosts: Collection[str]) -> Secret:
        """See the port."""
        self.asked.append(frozenset(hosts))
        return rendered({host: login for host, login in self.credentials.items() if host in hosts})
