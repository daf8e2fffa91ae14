"""The runners that the builds of one share have at a time, and which of them the next build gets. It knows nothing of
renting: `runners.py` does what is decided here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Sequence

    from reconciler.model.fleet import Fleet
    from reconciler.model.problem import LianError, Problem
    from reconciler.model.reference import Repository
    from reconciler.ports.compute import Runner


@dataclass(frozen=True, slots=True)
class Room:
    """How many runners the builds of one share may have at a time, and whether each build has one for itself, as it
    must where runners are machines of the size that one build needs."""

    runners: int = 1
    apart: bool = False

    @classmethod
    def of(cls, fleet: Fleet, jobs: int) -> Room:
        """Machines that are rented have the size of one build: each has its own. On a machine that is there anyway a
        second runner would have none of the first one's layers (ADR 063)."""
        if fleet.compute.provider.rents_sizes:
            return cls(jobs, apart=True)
        return cls(max(1, min(jobs, len(fleet.compute.hosts))))


@dataclass(slots=True, eq=False)
class Rented:
    """A runner that is there or on its way; `task` holds its lease until `release` is set. `until` is when the lease is
    over, by the event loop's clock, and `back` how many had gone back when it was asked for."""

    runner: asyncio.Future[Runner]
    release: asyncio.Event
    task: asyncio.Task[None]
    until: float
    back: int = 0
    stays: list[Stay] = field(default_factory=list)
    """Of the builds that are on it now, or wait for it."""
    tainted: bool = False
    """Whether a step may have left something there that is not complete, which other builds would be given."""

    @property
    def ready(self) -> bool:
        """True from when builds can go on it."""
        return self.runner.done() and self.runner.exception() is None

    def enter(self, share: str) -> Stay:
        """A build comes."""
        stay = Stay(share, self)
        self.stays.append(stay)
        if len(self.stays) > 1:
            for each in self.stays:
                each.alone = False
        return stay


@dataclass(slots=True, eq=False)
class Stay:
    """One build's time on a runner. `alone` as long as no other build has been there at the same time."""

    share: str
    rented: Rented
    alone: bool = True

    @property
    def runner(self) -> Runner:
        """Where it is; only once that is there."""
        return self.rented.runner.result()


@dataclass(slots=True)
class Pool:
    """Of one share. `expected` artifacts of it have not ended, and may still ask for a runner. What is returned by
    methods here is not in the pool any more: it is to be released."""

    room: Room
    expected: int
    hosts: frozenset[str] = frozenset()
    """The registry hosts that its builds speak to."""
    purpose: str = ""
    """What is built there, for people."""
    frontends: frozenset[Repository] = frozenset()
    """The images that read its Dockerfiles, where that is not BuildKit itself."""
    asked: int = 0
    """Runners that were asked for."""
    lost: int = 0
    """Of these, the ones that were given up, or could not be had."""
    refused: tuple[Problem, ...] = ()
    """Why no runner can be had; what a build is told that asks, until someone has it forgotten."""
    _open: list[Rented] = field(default_factory=list)
    _leaving: list[Rented] = field(default_factory=list)
    """They take no more builds, while some are still on them."""
    _most: int = 0
    _away: int = 0
    """Artifacts that have left for a share of their own and have not ended."""

    def __post_init__(self) -> None:
        self._most = self.room.runners

    @property
    def empty(self) -> bool:
        """True if it has no runner, on which builds are or may go."""
        return not self._open and not self._leaving

    @property
    def may_grow(self) -> bool:
        """True if it may have one runner more."""
        return len(self._open) < self._most

    def add(self, rented: Rented) -> None:
        """One that was asked for."""
        self._open.append(rented)

    def has(self, rented: Rented) -> bool:
        """True as long as it takes builds."""
        return rented in self._open

    def idle(self) -> Rented | None:
        """One that nobody is on; one that is there rather than one on its way."""
        idle = [rented for rented in self._open if not rented.stays]
        return min(idle, key=lambda rented: not rented.ready, default=None)

    def least(self) -> Rented | None:
        """The one that the fewest builds are on; None where each build has its own."""
        return None if self.room.apart else min(self._open, key=lambda rented: len(rented.stays), default=None)

    def retire(self, until: float) -> Sequence[Rented]:
        """Those whose lease is over before this moment take no more builds."""
        for rented in [rented for rented in self._open if rented.until < until]:
            self._open.remove(rented)
            self._leaving.append(rented)
        return self._empty()

    def leave(self, stay: Stay) -> Sequence[Rented]:
        """A build has ended. Leaving twice is leaving once. A tainted runner takes no more of them."""
        if stay in stay.rented.stays:
            stay.rented.stays.remove(stay)
        if stay.rented.tainted:
            self._set_aside(stay.rented)
        return self._empty()

    def lose(self, stay: Stay) -> Sequence[Rented]:
        """A build has ended, and its runner takes no more of them. It goes back at once if nobody is on it, else with
        the last of them, for their builds may well end."""
        self.lost += self._set_aside(stay.rented)
        return self.leave(stay)

    def refuse(self, rented: Rented, error: LianError) -> None:
        """This one could not be had."""
        if rented in self._open:
            self._open.remove(rented)
            self.lost += 1
        if not self._open:
            self.refused = error.problems

    def bound(self, rented: Rented) -> bool:
        """This one could not be had because there is no more: the others of the share, if there are any, are all that
        it gets. False if there are none."""
        if rented in self._open:
            self._open.remove(rented)
        self._most = len(self._open) or self.room.runners
        return bool(self._open)

    def widen(self) -> None:
        """One of this pass has gone back, so there may be more again."""
        self._most = self.room.runners

    def leaves(self) -> Sequence[Rented]:
        """One of its artifacts goes on in a share of its own, and ends there: `done` is still called for it once."""
        self._away += 1
        return self._one_less()

    def done(self) -> Sequence[Rented]:
        """One of its artifacts has ended: what is idle now, and is not needed by the others, goes back."""
        if self._away:
            self._away -= 1
            return ()
        return self._one_less()

    def _one_less(self) -> Sequence[Rented]:
        self.expected -= 1
        needed = max(0, self.expected - sum(len(rented.stays) for rented in self._open))
        idle = sorted((one for one in self._open if not one.stays), key=lambda rented: not rented.ready)
        return self._without(idle[needed:])

    def spare(self) -> Sequence[Rented]:
        """Those that nobody is on: other shares need the room that they take."""
        return self._without([rented for rented in self._open if not rented.stays])

    def close(self) -> Sequence[Rented]:
        """All that there are."""
        leases, self._open, self._leaving = [*self._open, *self._leaving], [], []
        return leases

    def _set_aside(self, rented: Rented) -> bool:
        """It takes no more builds; false if it took none any more."""
        if rented not in self._open:
            return False
        self._open.remove(rented)
        self._leaving.append(rented)
        return True

    def _without(self, leases: Sequence[Rented]) -> Sequence[Rented]:
        self._open = [rented for rented in self._open if rented not in leases]
        return leases

    def _empty(self) -> Sequence[Rented]:
        empty = [rented for rented in self._leaving if not rented.stays]
        self._leaving = [rented for rented in self._leaving if rented.stays]
        return empty
