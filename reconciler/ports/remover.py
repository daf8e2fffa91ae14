"""Port: taking away from registries, apart from writing to them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository


class Remover(Protocol):
    """Takes things away. Every call is idempotent: what is not there is gone."""

    async def untag(self, repository: Repository, tag: str) -> None:
        """Remove one tag; what it pointed at stays, with its other tags. Raises LianError `registry-refused` where
        the registry does not let itself be deleted from."""
        ...

    async def delete(self, repository: Repository, digest: Digest) -> None:
        """Remove a manifest, and with it all tags that point at it; the entry of a referrer in the fallback list
        goes with it. Raises LianError as `untag` does."""
        ...
