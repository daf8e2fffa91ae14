"""How one kind of registry speaks where it differs from the specification."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.fleet import RegistryProvider
from reconciler.providers.registry import problems

if TYPE_CHECKING:
    from reconciler.model.problem import Problem
    from reconciler.providers.registry.http.reply import Reply
    from reconciler.providers.registry.refusal import Account, Refusal


class Dialect:
    """The specification itself: what `distribution` and `zot` speak. Others override what is different."""

    explains_get: bool = False
    """Why a HEAD is refused stands in the body of the same GET, and is worth that request."""

    def read(self, host: str, repository: str, reply: Reply, account: Account | None) -> Reply:
        """A final answer in the specification's words. `account`: whose login there is, None for an anonymous reader.

        Raises LianError for an answer that only looks like one of the specification's.
        """
        del host, repository, account
        return reply

    def denied(self, refusal: Refusal) -> Problem:
        """The problem of a 401 or 403, from the registry or its token service."""
        return problems.denied(refusal)


def dialect_of(provider: RegistryProvider | None, host: str) -> Dialect:
    """The dialect of a slot; a host that no settings describe (a base image's) is known by its name alone."""
    match provider or (RegistryProvider.GHCR if host == "ghcr.io" else None):
        case RegistryProvider.HARBOR:
            from reconciler.providers.registry.http.harbor import Harbor

            return Harbor()
        case RegistryProvider.GHCR:
            from reconciler.providers.registry.http.ghcr import Ghcr

            return Ghcr()
        case _:
            return Dialect()
