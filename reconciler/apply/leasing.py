"""Renting so that nothing is lost: a lease is written down before anything is rented, and struck out when nothing of it
is left. What a pass that died has left, the next one finds there, and what it does not find there, the provider lists
(design section 6; crossplane's external-create-pending, and GARM's two-way consolidation, are the same idea)."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from reconciler.apply.sweep import Survey, Sweep
from reconciler.finishing import no_longer_than, to_its_end
from reconciler.model.fleet import UNNAMED
from reconciler.model.problem import LianError, Next, Problem
from reconciler.ports.compute import NOT_REMOVED, TAKEN, Listing, NothingRented

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from reconciler.ports.clock import Clock
    from reconciler.ports.compute import LeaseRequest, Provider, Rental, Runner, Standing, Swept, Usage
    from reconciler.ports.leases import Intent, Leases

T = TypeVar("T")
_REFUSED = frozenset({Next.PERSON, Next.HOLD})
"""What a provider says that has made nothing, and will not."""

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
        raises; behind what was wrong first stands what could not be returned."""
        name = self.chosen()
        provider = self.provider(name)
        lease = request.at(self.clock())
        await self.leases.intend(lease, name)
        renting = asyncio.ensure_future(provider.rent(request, lease))
        try:
            yield await self._within(self.patience.rent, renting, f"rent {lease.name}")
        except BaseException as error:
            if _has_nothing(renting):
                await to_its_end(self.leases.forget(lease.name))
                raise
            try:
                await to_its_end(self._return(provider, lease.name, certain=_is_certain(renting)))
            except LianError as left:
                raise _both(error, left) from error
            raise
        else:
            await to_its_end(self._return(provider, lease.name, certain=True))

    async def sweep(self, fleet: str | None = None) -> Swept:
        """See the port."""
        return await Sweep(self, fleet).run()

    async def outstanding(self, fleet: str | None = None) -> Standing:
        """See the port."""
        return await Survey(self, fleet).run()

    async def usage(self, runner: Runner) -> Usage:
        """See the port."""
        return await self.provider(self.chosen()).usage(runner)

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

    async def listed(self, fleet: str | None) -> Listing:
        """What the provider that rents has of this fleet: nothing of a fleet without a name where others rent too, for
        any number of them are called that. Raises LianError."""
        if fleet is None or self.chosen() not in self.providers:
            return Listing()
        provider = self.provider(self.chosen())
        if provider.shared and fleet == UNNAMED:
            return Listing()
        return await self._within(self.patience.look, provider.owned_by(fleet), "list what is rented")

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
        except LianError:
            raise
        except TimeoutError as error:
            message = f"the compute provider did not {what} within {seconds:g} s"
            hint = "what it has rented is noted, and the next sweep returns it"
            raise LianError(Problem(code, message, hint=hint, next=Next.RETRY)) from error
        except Exception as error:  # whatever is wrong with a provider, what is noted is dealt with
            cause = f"{type(error).__name__}: {error}"
            raise LianError(
                Problem(code, f"the compute provider could not {what}", cause=cause, next=Next.BUG)
            ) from error

    async def _return(self, provider: Provider, lease: str, *, certain: bool) -> None:
        """Give it back, and strike it out. What is not returned is left for the next sweep, and so is what may still
        come to be unless it is `certain`. Raises LianError."""
        try:
            await self._given_back(provider, lease)
        except LianError as error:
            try:
                await self.leases.abandon(lease)
            except LianError as more:
                raise LianError((*error.problems, *more.problems)) from error
            raise
        await (self.leases.forget(lease) if certain else self.leases.abandon(lease))

    async def _given_back(self, provider: Provider, lease: str) -> None:
        for pause in self.patience.pauses:
            try:
                return await self.give_back(provider, lease)
            except LianError as error:
                if error.problems[0].next is not Next.RETRY:
                    raise
            await asyncio.sleep(pause)
        return await self.give_back(provider, lease)


def _both(error: BaseException, left: LianError) -> BaseException:
    """What ended the block, and what could not be returned then: whoever is cancelled hears of that alone, and a bug is
    told as a bug."""
    if isinstance(error, LianError):
        return LianError((*error.problems, *left.problems))
    if isinstance(error, asyncio.CancelledError):
        return left
    error.add_note(str(left))
    return error


def _is_certain(renting: asyncio.Future[Runner]) -> bool:
    """True if nothing more can come of it: there is a runner, or it was refused for good. What was cut off, or failed
    for a moment, may have been done at the provider all the same, and be there later."""
    if not renting.done() or renting.cancelled():
        return False
    error = renting.exception()
    if error is None:
        return True
    return isinstance(error, LianError) and all(problem.next in _REFUSED for problem in error.problems)


def _has_nothing(renting: asyncio.Future[Runner]) -> bool:
    """True if there is nothing of ours to return: the provider was not asked, or the lease is someone else's."""
    if not renting.done() or renting.cancelled():
        return False
    error = renting.exception()
    if isinstance(error, NothingRented):
        return True
    return isinstance(error, LianError) and any(problem.code == TAKEN for problem in error.problems)
