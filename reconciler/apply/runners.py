"""Runners of one pass: one at most for builds that may share it (design section 5: those of one workspace, and of one
freshness), rented at the first need, returned when the last of these builds has ended, and in any case when the pass
ends. What may share one is a text, the `share`, which `hosts.share_of` makes."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.finishing import to_its_end
from reconciler.model.problem import LianError
from reconciler.ports.compute import LeaseRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from reconciler.model.name import ArtifactName
    from reconciler.model.tier import Tier
    from reconciler.ports.compute import Compute, Runner

TOLD = 3
"""Artifacts that are named in what a lease is for."""
MOST_RUNNERS = 7
"""Of one share in a pass, the lost ones included."""


@dataclass(slots=True)
class _Rented:
    runner: asyncio.Future[Runner]
    release: asyncio.Event
    task: asyncio.Task[None]
    stays: list[Stay] = field(default_factory=list)
    """Of the builds that are on it now."""


@dataclass(slots=True, eq=False)
class Stay:
    """One build's time on a runner. `alone` as long as no other build has been there at the same time."""

    share: str
    runner: Runner
    alone: bool = True


@dataclass(slots=True)
class Runners:
    """An async context manager; leaving it returns every runner that is still out."""

    compute: Compute
    fleet: str
    pass_id: str
    parallelism: int
    hosts: dict[str, frozenset[str]]
    """Share -> the registry hosts that its builds speak to."""
    purposes: dict[str, str]
    """Share -> what is built there, for people."""
    expected: Counter[str]
    """Share -> artifacts of it that may still ask for a runner."""
    _rented: dict[str, _Rented] = field(default_factory=dict)
    _lost: list[_Rented] = field(default_factory=list)
    """Runners that take no more builds, while some are still on them."""
    _asked: Counter[str] = field(default_factory=Counter)
    """Share -> runners that were asked for."""
    _returning: list[asyncio.Task[None]] = field(default_factory=list)
    """Those of runners that were released. What is wrong with them is told at the end, so that it stops nobody's
    build."""

    @classmethod
    def of(
        cls,
        compute: Compute,
        fleet: str,
        pass_id: str,
        parallelism: int,
        hosts: Mapping[str, frozenset[str]],
        shares: Mapping[ArtifactName, str],
    ) -> Runners:
        """`shares` has the share of each artifact that may be built."""
        names = defaultdict(list)
        for name, share in shares.items():
            names[share].append(name)
        purposes = {share: _told(its) for share, its in names.items()}
        return cls(compute, fleet, pass_id, parallelism, dict(hosts), purposes, Counter(shares.values()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        leases, self._rented, self._lost = [*self._rented.values(), *self._lost], {}, []
        self._release(leases)
        failures = await self._returned()
        if failures and error is None:
            raise _as_one(failures)
        for failure in failures if error else ():
            error.add_note(f"a runner could not be returned: {failure}")  # type: ignore[union-attr]

    async def enter(self, share: str, tier: Tier, deadline: float) -> Stay:
        """A build's time on the share's runner begins; it is rented at the first call. Raises LianError if that failed,
        until someone has it `renewed`.

        `deadline` is one build's, in seconds; the lease is long enough for all that may come, one after another.
        """
        while True:
            rented = self._rented.get(share)
            if rented is None:
                rented = self._rented[share] = self._rent(share, tier, deadline)
            stay = Stay(share, await asyncio.shield(rented.runner))
            if self._rented.get(share) is rented:  # else another has given it up in the meantime
                break
        rented.stays.append(stay)
        if len(rented.stays) > 1:
            for each in rented.stays:
                each.alone = False
        return stay

    def leave(self, stay: Stay) -> None:
        """The build has ended. Leaving twice is leaving once."""
        for rented in (*self._rented.values(), *self._lost):
            if stay in rented.stays:
                rented.stays.remove(stay)
        empty = [rented for rented in self._lost if not rented.stays]
        self._lost = [rented for rented in self._lost if rented.stays]
        self._release(empty)

    def lose(self, stay: Stay) -> None:
        """The build has ended, and its runner takes no more of them: the next who comes gets another. It goes back at
        once if nobody is on it, else with the last of them, for their builds may well end."""
        rented = self._rented.get(stay.share)
        if (
            rented is not None
            and rented.runner.done()
            and not _failed(rented)
            and rented.runner.result() is stay.runner
        ):
            self._lost.append(self._rented.pop(stay.share))
        self.leave(stay)

    def renew(self, share: str) -> None:
        """If the share's runner could not be had, the next who comes asks for another."""
        rented = self._rented.get(share)
        if rented is not None and _failed(rented):
            del self._rented[share]

    def spent(self, share: str) -> bool:
        """True if so many runners were asked for that it makes no sense to go on: what makes builds fail there is not
        the runner, and each may cost money."""
        return self._asked[share] >= MOST_RUNNERS

    def apart(self, share: str, what: str) -> str:
        """A share for one build that must not be with the others of its own; `done` ends it."""
        own = f"{share} apart {what}"
        self.hosts[own], self.purposes[own] = self.hosts.get(share, frozenset()), what
        self.expected[own] = 1
        return own

    def done(self, share: str) -> None:
        """One artifact of the share has ended; with the last one the runner goes back, which nobody waits for until the
        end."""
        self.expected[share] -= 1
        if self.expected[share] <= 0 and share in self._rented:
            self._release([self._rented.pop(share)])

    def _rent(self, share: str, tier: Tier, deadline: float) -> _Rented:
        request = LeaseRequest(
            self.fleet,
            self.pass_id,
            self._lease(share),
            tier,
            deadline * max(1, self.expected[share]),
            self.parallelism,
            self.hosts.get(share, frozenset()),
            purpose=self.purposes.get(share, ""),
        )
        future: asyncio.Future[Runner] = asyncio.get_running_loop().create_future()
        release = asyncio.Event()
        task = asyncio.create_task(self._hold(request, future, release), name=f"runner of {share}")
        return _Rented(future, release, task)

    def _lease(self, share: str) -> str:
        """Unique for the pass, the share and how often it has asked; hashed, because the text may be too long."""
        told = f"{share}{' lost' * self._asked[share]}"
        self._asked[share] += 1
        return f"{self.pass_id}-{hashlib.sha256(told.encode()).hexdigest()[:16]}"

    async def _hold(self, request: LeaseRequest, future: asyncio.Future[Runner], release: asyncio.Event) -> None:
        """Keep the lease open in a task of its own: it is entered and left in one place, however the pass ends."""
        try:
            async with self.compute.rent(request) as runner:
                future.set_result(runner)
                await release.wait()
        except BaseException as error:
            if future.done():
                raise
            future.set_exception(error)
            future.exception()  # seen: whoever waits for the runner raises it
            if isinstance(error, asyncio.CancelledError):
                raise

    def _release(self, leases: Iterable[_Rented]) -> None:
        for lease in leases:
            lease.release.set()
            if not lease.runner.done():
                lease.task.cancel()
            self._returning.append(lease.task)

    async def _returned(self) -> list[Exception]:
        """When all have gone back; what was wrong with those that could not."""
        ends = asyncio.gather(*self._returning, return_exceptions=True)
        await to_its_end(ends)
        return [end for end in ends.result() if isinstance(end, Exception)]


def _failed(rented: _Rented) -> bool:
    """True if it could not be had."""
    return rented.runner.done() and rented.runner.exception() is not None


def _told(names: Iterable[ArtifactName]) -> str:
    """A few of them, and how many more."""
    first, more = (ordered := sorted(map(str, names)))[:TOLD], len(ordered) - TOLD
    return ", ".join(first) + (f" and {more} more" if more > 0 else "")


def _as_one(failures: Sequence[Exception]) -> Exception:
    """All their problems; a bug alone, if one of them is one."""
    told = [failure for failure in failures if isinstance(failure, LianError)]
    if len(told) < len(failures):
        return next(failure for failure in failures if not isinstance(failure, LianError))
    return LianError(problem for failure in told for problem in failure.problems)
