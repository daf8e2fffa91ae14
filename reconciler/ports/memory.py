"""Port: what this machine remembers of earlier passes. It may always forget: a CI machine that starts empty loses
nothing but the warning that most of what was there is gone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.model.reference import Repository


class Memory(Protocol):
    """The repositories whose images an earlier pass saw in sync."""

    async def recall(self) -> frozenset[str]:
        """As they were last kept; empty if nothing is known."""
        ...

    async def keep(self, repositories: Collection[Repository]) -> None:
        """From now on these. What cannot be kept is forgotten."""
        ...
