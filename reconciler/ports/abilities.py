"""Port: what registries can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from reconciler.model.reference import Repository


@dataclass(frozen=True, slots=True)
class Able:
    """What a registry can do beyond what every registry can; None: not known, since only a write would tell."""

    referrers: bool | None = None
    """It keeps the lists of referrers by itself (distribution-spec 1.1, "Listing Referrers")."""
    search: bool | None = None
    """It tells all repositories, tags and digests in one request."""
    deletes: bool | None = None


class Abilities(Protocol):
    """Knows what registries can do."""

    async def of(self, repository: Repository) -> Able:
        """Of the registry that the repository is on, found out with no more than pull; more can be told of one that
        is there. Raises LianError if it cannot be asked."""
        ...
