"""Looking at what is rented, and returning what passes that died have left of it: see apply/leasing.py."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.finishing import all_of
from reconciler.model.problem import LianError
from reconciler.ports.compute import Keeper, Outstanding, Standing, Swept

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.apply.leasing import Leasing
    from reconciler.model.lease import Lease
    from reconciler.model.problem import Problem
    from reconciler.ports.compute import Provider, Rental
    from reconciler.ports.leases import Intent

AT_ONCE = 8
"""Leases that are asked for, or returned, at a time."""
CLOCK_GRACE = 300.0
"""Seconds by which another machine's clock may be behind ours: so long after its deadline another pass's lease is left
alone."""


@dataclass(slots=True)
class _Look:
    """At what is noted here, and at what the provider lists."""

    leasing: Leasing
    fleet: str | None
    problems: list[Problem] = field(default_factory=list)
    unseen: list[Problem] = field(default_factory=list)
    """Why not all that is listed is known."""
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def _both(self) -> tuple[Sequence[Intent], Sequence[Rental]]:
        """What is noted, and what is listed beside it. Listing first: what is asked for in between is noted before it
        is listed."""
        listed: tuple[Rental, ...] = ()
        try:
            listing = await self.leasing.listed(self.fleet)
            listed, self.unseen = listing.rentals, [*listing.problems]
        except LianError as error:
            self.unseen = [*error.problems]
        try:
            intents = await self.leasing.leases.intents()
        except LianError as error:  # whose that is which is listed is not known then
            self.problems += error.problems
            return (), ()
        noted = {intent.name for intent in intents}
        return intents, [rental for rental in listed if rental.lease.name not in noted]

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """What fails is told, and stops nothing else."""
        try:
            yield
        except LianError as error:
            self.problems += error.problems


@dataclass(slots=True)
class Survey(_Look):
    """What is out."""

    async def run(self) -> Standing:
        """All that can be found out."""
        intents, beside = await self._both()
        here = await all_of(self._described(intent) for intent in intents)
        where = self.leasing.chosen()
        there = [Outstanding(one.lease.name, where, one.lease, one.state, Keeper.ELSEWHERE) for one in beside]
        return Standing(tuple(sorted([*here, *there], key=lambda one: one.name)), (*self.problems, *self.unseen))

    async def _described(self, intent: Intent) -> Outstanding:
        keeper = Keeper.ALIVE if intent.alive else Keeper.GONE
        state = None
        async with self._gate:
            with self._going_on():
                for provider in self.leasing.providers_of(intent):
                    rental = await self.leasing.described(provider, intent.name)
                    state = rental.state if rental else state
        return Outstanding(intent.name, intent.provider, intent.lease, state, keeper)


@dataclass(slots=True)
class Sweep(_Look):
    """What is noted here is returned if its pass is dead; what a provider lists and nobody has noted, once its deadline
    is over."""

    _swept: set[str] = field(default_factory=set)

    async def run(self) -> Swept:
        """All that can be returned."""
        intents, beside = await self._both()
        await all_of(
            [
                *(self._abandoned(intent) for intent in intents if not intent.alive),
                *(self._forgotten(rental.lease) for rental in beside if self._is_over(rental.lease)),
            ]
        )
        return Swept(tuple(sorted(self._swept)), tuple(self.problems), tuple(self.unseen))

    def _is_over(self, lease: Lease) -> bool:
        return lease.fleet == self.fleet and lease.deadline + CLOCK_GRACE < self.leasing.clock()

    async def _abandoned(self, intent: Intent) -> None:
        async with self._gate:
            with self._going_on():
                async with self.leasing.leases.claim(intent.name) as ours:
                    if not ours:
                        return
                    gone = [await self._gave_back(one, intent.name) for one in self.leasing.providers_of(intent)]
                    if all(gone):
                        await self.leasing.leases.forget(intent.name)

    async def _forgotten(self, lease: Lease) -> None:
        async with self._gate:
            await self._gave_back(self.leasing.provider(self.leasing.chosen()), lease.name)

    async def _gave_back(self, provider: Provider, name: str) -> bool:
        """Whatever it says that there is, or does not say; only what there was is told."""
        there = None
        with suppress(LianError):
            there = await self.leasing.described(provider, name)
        gone = False
        with self._going_on():
            await self.leasing.give_back(provider, name)
            gone = True
            if there is not None:
                self._swept.add(name)
        return gone
