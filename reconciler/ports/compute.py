"""Port: compute. Everything rented is returned (axiom A1, ephemeral-builds).

`Provider` is a slot (axiom A2): it rents, describes, takes back and lists. `Compute` is what a pass is given: a
provider whose leases are written down before anything is rented (apply/leasing.py)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from reconciler.model.lease import Lease
from reconciler.model.problem import LianError

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from reconciler.model.problem import Problem
    from reconciler.model.reference import Repository
    from reconciler.model.tier import Tier
    from reconciler.ports.access import Route
    from reconciler.ports.machine import Machine

NOT_REMOVED = "lease-not-removed"
"""Code of the problem of something rented that could not be returned."""
NO_MORE = "quota-exceeded"
"""Code of the problem of a provider that has no more runners for this fleet until one is returned."""
TAKEN = "lease-taken"
"""Code of the problem of a lease that someone else has under this name."""


class NothingRented(LianError):
    """A runner could not be had, and none was asked for where runners are made: nothing can come of it later."""


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
    purpose: str = ""
    """What is built there, for people."""
    frontends: frozenset[Repository] = frozenset()
    """The only images that may read Dockerfiles there, beside BuildKit itself."""

    def at(self, moment: float) -> Lease:
        """The lease, if it is asked for at this moment (Unix seconds)."""
        return Lease(self.lease, self.fleet, self.pass_id, moment, moment + self.deadline, self.purpose, self.tier.name)


@dataclass(frozen=True, slots=True)
class Runner:
    """A rented build environment: `address` as buildctl takes it, `scratch` a folder of this machine
    that goes with the lease."""

    lease: str
    address: str
    scratch: Path
    builder: str
    """What builds there, e.g. `buildkit v0.33.1`."""
    machine: Machine | None = None
    """Where the builder's client has to run; None where it can be this machine."""


@dataclass(frozen=True, slots=True)
class Usage:
    """What the builds on a runner have used since it began; None where that is not known. `peak_memory` is the most in
    bytes at one time, without what the kernel could have taken back: the pages of files. `oom_kills` is how many
    processes of steps the kernel has ended for want of memory; their steps may have gone on without them."""

    peak_memory: int | None = None
    cpu_seconds: float | None = None
    oom_kills: int | None = None


class RentalState(StrEnum):
    """How something rented stands."""

    STARTING = "starting"
    READY = "ready"
    ENDED = "ended"
    """It builds nothing more, and something of it is still there."""


@dataclass(frozen=True, slots=True)
class Rental:
    """Something rented, as its provider tells it."""

    lease: Lease
    state: RentalState


@dataclass(frozen=True, slots=True)
class Listing:
    """What a provider lists, and where it could not look."""

    rentals: tuple[Rental, ...] = ()
    problems: tuple[Problem, ...] = ()


class Keeper(StrEnum):
    """Who has a lease."""

    ALIVE = "alive"
    """A pass on this machine, which lives."""
    GONE = "gone"
    """One on this machine that died, or could not return it."""
    ELSEWHERE = "elsewhere"
    """One that this machine knows nothing of."""


@dataclass(frozen=True, slots=True)
class Outstanding:
    """A lease that is out. `lease` is None and `provider` empty if what is noted of it cannot be read; `state` is None
    where its provider has nothing of that name (not yet, or not any more), or does not tell."""

    name: str
    provider: str
    lease: Lease | None
    state: RentalState | None
    keeper: Keeper


@dataclass(frozen=True, slots=True)
class Swept:
    """The leases that a sweep has returned, in order of names, what could not be returned, and where it could not
    look."""

    leases: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()
    unseen: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """The leases that are out, in order of names, and what could not be found out of them."""

    leases: tuple[Outstanding, ...] = ()
    problems: tuple[Problem, ...] = ()


class Provider(Protocol):
    """A kind of machines to build on."""

    @property
    def shared(self) -> bool:
        """True where others rent too: then a fleet is told from others by its name alone."""
        ...

    async def rent(self, request: LeaseRequest, lease: Lease) -> Runner:
        """A runner that is ready, with the lease written on it. A second call for the same lease gives the same runner,
        and never a second one. Raises LianError if none can be had; what is there of it all the same, `give_back`
        removes. When cancelled, likewise. Raises NothingRented where that is known to be nothing, now and later."""
        ...

    async def describe(self, lease: str) -> Rental | None:
        """What there is under this name; None if there is nothing. Raises LianError if that is not known."""
        ...

    async def give_back(self, lease: str) -> None:
        """Nothing of the lease is there any more when this returns; what is gone already is fine. Raises LianError
        NOT_REMOVED naming what could not be removed."""
        ...

    async def owned_by(self, fleet: str) -> Listing:
        """All that is rented for this fleet, by any pass. What others rent, and what nothing says the owner of on
        machines that others use, is left out. Raises LianError if nothing of it is known."""
        ...

    async def usage(self, runner: Runner) -> Usage:
        """What builds have used on this runner so far; nothing is known of one that was given back. Raises LianError if
        it cannot be asked: the machine may be gone, or out of breath."""
        ...


class Compute(Protocol):
    """Rents runners and takes them back."""

    def rent(self, request: LeaseRequest) -> AbstractAsyncContextManager[Runner]:
        """A runner that is ready; returned when the block is left, however it is left, also when its own set-up
        fails. Raises LianError if none can be had."""
        ...

    async def sweep(self, fleet: str | None = None) -> Swept:
        """Return what passes that no longer live have left behind: those of this machine, and of the `fleet` wherever
        they ran once their deadline is over; never those of a living pass. What fails is told, and stops nothing
        else."""
        ...

    async def outstanding(self, fleet: str | None = None) -> Standing:
        """What is rented: by passes of this machine, and by the `fleet` wherever they run. What fails is told, and
        stops nothing else."""
        ...

    async def usage(self, runner: Runner) -> Usage:
        """See Provider."""
        ...
