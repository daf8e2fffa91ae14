"""Renting so that nothing is lost: a lease is written down before anything is rented, and struck out when nothing of it
is left. What a pass that died has left, the next one finds there, and what it does not find there, the provider lists
(design section 6; crossplane's external-create-pending, and GARM's two-way consolidation, are the same idea)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.finishing import to_its_end
from reconciler.model.fleet import UNNAMED
from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence

    from reconciler.model.lease import Lease
    from reconciler.ports.clock import Clock
    from reconciler.ports.compute import LeaseRequest, Provider, Rental, Runner
    from reconciler.ports.leases import Intent, Leases

PAUSES = (0.5, 2.0)
"""Seconds before each further try to return something."""
CLOCK_GRACE = 300.0
"""Seconds by which another machine's clock may be behind ours: so long after its deadline another pass's lease is left
alone."""


@dataclass(slots=True)
class Leasing:
    """The port Compute: by name, the providers that there are; of these, `chosen` tells the one that rents."""

    providers: Mapping[str, Callable[[], Provider]]
    leases: Leases
    clock: Clock
    chosen: Callable[[], str]
    pauses: Sequence[float] = PAUSES
    _made: dict[str, Provider] = field(default_factory=dict)

    @asynccontextmanager
    async def rent(self, request: LeaseRequest) -> AsyncIterator[Runner]:
        """See the port. Raises LianError `lease-taken`, `leases-unusable`, or what the provider raises."""
        name = self.chosen()
        provider = self.provider(name)
        lease = request.at(self.clock())
        await self.leases.intend(lease, name)
        try:
            yield await provider.rent(request, lease)
        except BaseException as error:
            try:
                await to_its_end(self._return(provider, lease.name))
            except LianError as left:
                error.add_note(str(left))
            raise
        else:
            await to_its_end(self._return(provider, lease.name))

    async def sweep(self, fleet: str | None = None) -> Sequence[str]:
        """See the port."""
        sweep = _Sweep(self, fleet)
        await sweep.run()
        if sweep.problems:
            raise LianError(sweep.problems)
        return sorted(sweep.swept)

    async def peak_memory(self, runner: Runner) -> int | None:
        """See the port."""
        return await self.provider(self.chosen()).peak_memory(runner)

    def provider(self, name: str) -> Provider:
        """The one of this name, made at the first call. Raises LianError `compute-unsupported` for one that is not
        there: of another release, say."""
        if name not in self._made:
            if name not in self.providers:
                message = f"compute provider {name} is not there yet"
                hint = f"set compute to one of {', '.join(self.providers)} in lian.ncl"
                raise LianError(Problem("compute-unsupported", message, file="lian.ncl", hint=hint))
            self._made[name] = self.providers[name]()
        return self._made[name]

    async def _return(self, provider: Provider, lease: str) -> None:
        """Give it back, and strike it out; what is not returned is left for the next sweep. Raises LianError."""
        for pause in (*self.pauses, None):
            try:
                await provider.give_back(lease)
                break
            except LianError as error:
                if pause is None or error.problems[0].next is not Next.RETRY:
                    raise
                await asyncio.sleep(pause)
        await self.leases.forget(lease)


@dataclass(slots=True)
class _Sweep:
    """One sweep: what is noted here is returned if its pass is dead; what a provider lists and nobody has noted, once
    its deadline is over."""

    leasing: Leasing
    fleet: str | None
    swept: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)

    async def run(self) -> None:
        """Listing first: what is asked for in between is noted before it is listed."""
        listed = await self._listed()
        intents = await self.leasing.leases.intents()
        for intent in intents:
            if not intent.alive:
                with self._going_on():
                    await self._abandoned(intent)
        noted = {intent.name for intent in intents}
        for provider, rental in listed:
            if rental.lease.name not in noted and self._is_over(rental.lease):
                with self._going_on():
                    await self._give_back(provider, rental.lease.name)

    async def _listed(self) -> list[tuple[Provider, Rental]]:
        """Of the provider that this fleet rents from."""
        with self._going_on():
            provider = self.leasing.provider(self.leasing.chosen())
            if self.fleet is not None and not (provider.shared and self.fleet == UNNAMED):  # any number are called that
                return [(provider, rental) for rental in await provider.owned_by(self.fleet)]
        return []

    def _is_over(self, lease: Lease) -> bool:
        return lease.fleet == self.fleet and lease.deadline + CLOCK_GRACE < self.leasing.clock()

    async def _abandoned(self, intent: Intent) -> None:
        async with self.leasing.leases.claim(intent.name) as ours:
            if ours:
                await self._give_back(self.leasing.provider(intent.provider), intent.name)
                await self.leasing.leases.forget(intent.name)

    async def _give_back(self, provider: Provider, name: str) -> None:
        await to_its_end(provider.give_back(name))
        self.swept.add(name)

    @contextmanager
    def _going_on(self) -> Iterator[None]:
        """What fails is told, and stops nothing else."""
        try:
            yield
        except LianError as error:
            self.problems += error.problems
