"""Renting so that nothing is lost: a lease is written down before anything is rented, and struck out when nothing of it
is left. What a pass that died has left, the next one finds there, and what it does not find there, the provider lists
(design section 6; crossplane's external-create-pending, and GARM's two-way consolidation, are the same idea)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from reconciler.apply.sweep import Sweep
from reconciler.finishing import no_longer_than, to_its_end
from reconciler.model.fleet import UNNAMED
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.compute import NOT_REMOVED, Keeper, Outstanding

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from reconciler.ports.clock import Clock
    from reconciler.ports.compute import LeaseRequest, Provider, Rental, Runner
    from reconciler.ports.leases import Intent, Leases

T = TypeVar("T")

PAUSES = (0.5, 2.0)
"""Seconds before each further try to return something."""
RENT_SECONDS = 900.0
"""How long a provider may take to have a runner ready. A cloud's machine takes one to five minutes."""
RETURN_SECONDS = 180.0
"""How long it may take to take one back."""
LIST_SECONDS = 60.0
"""How long it may take to list, or to describe."""
SILENT = "compute-silent"
"""Code of the problem of a provider that does not answer."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a provider is waited for, in seconds, and how long it is left in peace before each further try to
    return something."""

    rent: float = RENT_SECONDS
    give_back: float = RETURN_SECONDS
    look: float = LIST_SECONDS
    pauses: Sequence[float] = PAUSES


@dataclass(slots=True)
class Leasing:
    """The port Compute: by name, the providers that there are; of these, `chosen` tells the one that rents."""

    providers: Mapping[str, Callable[[], Provider]]
    leases: Leases
    clock: Clock
    chosen: Callable[[], str]
    patience: Patience = field(default_factory=Patience)
    _made: dict[str, Provider] = field(default_factory=dict)

    @asynccontextmanager
    async def rent(self, request: LeaseRequest) -> AsyncIterator[Runner]:
        """See the port. Raises LianError `lease-taken`, `leases-unusable`, `compute-silent`, or what the provider
        raises."""
        name = self.chosen()
        provider = self.provider(name)
        lease = request.at(self.clock())
        await self.leases.intend(lease, name)
        renting = asyncio.ensure_future(provider.rent(request, lease))
        try:
            yield await self._within(self.patience.rent, renting, f"rent {lease.name}")
        except BaseException as error:
            try:
                await to_its_end(self._return(provider, lease.name, renting))
            except LianError as left:
                error.add_note(str(left))
            raise
        else:
            await to_its_end(self._return(provider, lease.name, renting))

    async def sweep(self, fleet: str | None = None) -> Sequence[str]:
        """See the port."""
        sweep = Sweep(self, fleet)
        await sweep.run()
        if sweep.problems:
            raise LianError(sweep.problems)
        return sorted(sweep.swept)

    async def outstanding(self, fleet: str | None = None) -> Sequence[Outstanding]:
        """See the port."""
        intents = await self.leases.intents()
        here = [await self._described(intent) for intent in intents]
        noted = {intent.name for intent in intents}
        there = [
            Outstanding(rental.lease.name, self.chosen(), rental.lease, rental.state, Keeper.ELSEWHERE)
            for _, rental in await self.listed(fleet)
            if rental.lease.name not in noted
        ]
        return sorted([*here, *there], key=lambda one: one.name)

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

    def providers_of(self, intent: Intent) -> Sequence[Provider]:
        """Where the lease may be: anywhere, if what is noted cannot be read. Raises LianError."""
        return [self.provider(name) for name in ([intent.provider] if intent.provider else self.providers)]

    async def listed(self, fleet: str | None) -> Sequence[tuple[Provider, Rental]]:
        """What the provider that rents has of this fleet: nothing of a fleet without a name where others rent too, for
        any number of them are called that. Raises LianError."""
        provider = self.provider(self.chosen())
        if fleet is None or (provider.shared and fleet == UNNAMED):
            return []
        found = await self._within(self.patience.look, provider.owned_by(fleet), "list what is rented")
        return [(provider, rental) for rental in found]

    async def described(self, provider: Provider, lease: str) -> Rental | None:
        """What the provider has under this name. Raises LianError."""
        return await self._within(self.patience.look, provider.describe(lease), f"describe {lease}")

    async def give_back(self, provider: Provider, lease: str) -> None:
        """Raises LianError."""
        await self._within(self.patience.give_back, provider.give_back(lease), f"take back {lease}", code=NOT_REMOVED)

    @staticmethod
    async def _within(seconds: float, work: Awaitable[T], what: str, code: str = SILENT) -> T:
        try:
            return await no_longer_than(seconds, work)
        except TimeoutError as error:
            message = f"the compute provider did not {what} within {seconds:g} s"
            hint = "what it has rented is noted, and the next sweep returns it"
            raise LianError(Problem(code, message, hint=hint, next=Next.RETRY)) from error

    async def _return(self, provider: Provider, lease: str, renting: asyncio.Future[Runner]) -> None:
        """Give it back, and strike it out. What is not returned is left for the next sweep, and so is what a provider
        that is still about to rent may have in the end. Raises LianError."""
        try:
            await self._given_back(provider, lease)
        except LianError:
            await self.leases.abandon(lease)
            raise
        await (self.leases.forget(lease) if renting.done() else self.leases.abandon(lease))

    async def _given_back(self, provider: Provider, lease: str) -> None:
        for pause in self.patience.pauses:
            try:
                return await self.give_back(provider, lease)
            except LianError as error:
                if error.problems[0].next is not Next.RETRY:
                    raise
            await asyncio.sleep(pause)
        return await self.give_back(provider, lease)

    async def _described(self, intent: Intent) -> Outstanding:
        keeper = Keeper.ALIVE if intent.alive else Keeper.GONE
        state = None
        for provider in self.providers_of(intent):
            rental = await self.described(provider, intent.name)
            state = rental.state if rental else state
        return Outstanding(intent.name, intent.provider, intent.lease, state, keeper)
