"""Port: compute. Everything rented is returned (axiom A1, ephemeral-builds)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from reconciler.model.tier import Tier
    from reconciler.ports.access import Route


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """Who rents, for what. `fleet` and `pass_id` are the owner, written on everything rented; `lease` is unique
    (`[a-z0-9-]`, at most 40 characters) and makes creation idempotent; `deadline` is in seconds from now."""

    fleet: str
    pass_id: str
    lease: str
    tier: Tier
    deadline: float
    parallelism: int = 1
    hosts: frozenset[str] = frozenset()
    """Registry hosts that the builds there speak to."""
    routes: tuple[Route, ...] = ()
    """How each of them is reached, and each of their mirrors: whoever joins compute with registries fills this in."""


@dataclass(frozen=True, slots=True)
class Runner:
    """A rented build environment: `address` as buildctl takes it, `scratch` a folder that goes with the lease."""

    lease: str
    address: str
    scratch: Path
    builder: str
    """What builds there, e.g. `buildkit v0.33.1`."""
    private: Path | None = None
    """A folder for what should reach no disk, such as credentials and secrets: in memory, and gone with the lease. None
    where there is no such place; then `scratch` has to do."""


class Compute(Protocol):
    """Rents runners and takes them back."""

    def rent(self, request: LeaseRequest) -> AbstractAsyncContextManager[Runner]:
        """A runner that is ready; returned when the block is left, however it is left, also when its own set-up
        fails. Raises LianError if none can be had."""
        ...

    async def sweep(self) -> Sequence[str]:
        """Remove what passes that no longer live have left behind. Returns the leases removed, and never touches
        those of a living pass. Raises LianError naming what could not be removed."""
        ...

    async def peak_memory(self, runner: Runner) -> int | None:
        """The most memory in bytes that builds on this runner have used at one time so far, if it is known."""
        ...
