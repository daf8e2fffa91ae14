"""Port: which leases were asked for on this machine. What it holds is there before anything is rented."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager

    from reconciler.model.lease import Lease


@dataclass(frozen=True, slots=True)
class Intent:
    """A lease that was asked for. `provider` is where; it is empty, and `lease` None, if what is noted cannot be read.
    It is `alive` while the pass that asked for it lives and has not abandoned it."""

    name: str
    provider: str
    lease: Lease | None
    alive: bool


class Leases(Protocol):
    """Remembers across a kill -9 and a power cut. Every call raises LianError `leases-unusable` if the memory cannot be
    written or read."""

    async def intend(self, lease: Lease, provider: str) -> None:
        """It is durable when this returns, and this process's until it is forgotten. Raises LianError `lease-taken` if
        there is one of this name. When cancelled, nothing is noted."""
        ...

    async def forget(self, name: str) -> None:
        """Nothing of it is rented any more. What is not there is forgotten already."""
        ...

    async def abandon(self, name: str) -> None:
        """This process could not return it, and leaves it to whoever sweeps next, itself perhaps."""
        ...

    async def intents(self) -> Sequence[Intent]:
        """All, in order of names."""
        ...

    def claim(self, name: str) -> AbstractAsyncContextManager[bool]:
        """For one that is not alive: True if it is this block's alone to return and forget; False if it lives, another
        one has claimed it, or it is gone."""
        ...
