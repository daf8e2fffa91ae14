"""Returning what passes that died have left: see apply/leasing.py."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.finishing import all_of
from reconciler.model.problem import LianError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.apply.leasing import Leasing
    from reconciler.model.lease import Lease
    from reconciler.model.problem import Problem
    from reconciler.ports.compute import Provider, Rental
    from reconciler.ports.leases import Intent

AT_ONCE = 8
"""Leases that are returned at a time."""
CLOCK_GRACE = 300.0
"""Seconds by which another machine's clock may be behind ours: so long after its deadline another pass's lease is left
alone."""


@dataclass(slots=True)
class Sweep:
    """One sweep: what is noted here is returned if its pass is dead; what a provider lists and nobody has noted, once
    its deadline is over."""

    leasing: Leasing
    fleet: str | None
    swept: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(AT_ONCE))

    async def run(self) -> None:
        """Listing first: what is asked for in between is noted before it is listed."""
        listed: Sequence[tuple[Provider, Rental]] = []
        with self._going_on():
            listed = await self.leasing.listed(self.fleet)
        with self._going_on():
            intents = await self.leasing.leases.intents()
            noted = {intent.name for intent in intents}
            over = [(provider, rental.lease) for provider, rental in listed if rental.lease.name not in noted]
            await all_of(
                [
                    *(self._abandoned(intent) for intent in intents if not intent.alive),
                    *(self._forgotten(provider, lease) for provider, lease in over if self._is_over(lease)),
                ]
            )

    def _is_over(self, lease: Lease) -> bool:
        return lease.fleet == self.fleet and lease.deadline + CLOCK_GRACE < self.leasing.clock()

    async def _abandoned(self, intent: Intent) -> None:
        async with self._gate:
            with self._going_on():
                async with self.leasing.leases.claim(intent.name) as ours:
                    if ours:
                        for provider in self.leasing.providers_of(intent):
                            await self._give_back(provider, intent.name)
                        await self.leasing.leases.forget(intent.name)

    async def _forgotten(self, provider: Provider, lease: Lease) -> None:
        async with self._gate:
            with self._going_on():
                await self._give_back(provider, lease.name)

    async def _give_back(self, provider: Provider, name: str) -> None:
        """Whatever it says that there is; only what there was is told."""
        there = await self.leasing.described(provider, name)
        await self.leasing.give_back(provider, name)
        if there is not None:
            self.swept.add(name)

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """What fails is told, and stops nothing else."""
        try:
            yield
        except LianError as error:
            self.problems += error.problems
