"""What registries can do beyond what every registry can. Nothing is written to find out."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from reconciler.model.digest import Digest
from reconciler.ports.abilities import Able
from reconciler.providers.registry.distribution.calls import ABSENT_CODES, ACCEPT, path
from reconciler.providers.registry.distribution.zot_search import ZotSearch
from reconciler.providers.registry.http.transport import Call

if TYPE_CHECKING:
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.connections import Connections
    from reconciler.providers.registry.http.transport import Transport

ON_DISK = Able(referrers=True, search=False, deletes=True)
_NOBODY = Digest.of(b"the subject of no referrer")


class RoutedAbilities:
    """The port Abilities over many registries."""

    def __init__(self, connections: Connections) -> None:
        self._connections = connections

    async def of(self, repository: Repository) -> Able:
        """See the port. Whether a server deletes only a deletion would tell, and that may be forbidden here."""
        if self._connections.layout_root(repository):
            return ON_DISK
        transport = self._connections.transport(repository.host)
        return Able(await _lists_referrers(transport, repository), await _searches(transport, repository))


async def _lists_referrers(transport: Transport, repository: Repository) -> bool | None:
    """Asked for what refers to something that is not there, a registry with the API answers with an empty index; None
    if it answers that there is no such repository."""
    target = path(repository, "referrers", str(_NOBODY))
    reply = await transport.send(Call("GET", target, repository.path, headers=ACCEPT, follow=False, optional=True))
    if reply.status == 404 and ABSENT_CODES.intersection(reply.codes):
        return None
    try:
        return reply.status == 200 and isinstance(json.loads(reply.body)["manifests"], list)
    except (ValueError, TypeError, KeyError, RecursionError):
        return False


async def _searches(transport: Transport, repository: Repository) -> bool:
    async with transport.lane() as lane:
        return lane is not None and await ZotSearch(transport, lane, repository.path).offered()
