"""Runners of one pass: for builds that may share one (design section 5: those of one workspace, and of one freshness)
as many as they have room for, rented at need, returned when no more of these builds are to come, and in any case when
the pass ends. What may share one is a text, the `share`, which `hosts.share_of` makes."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.apply.leasing import RENT_SECONDS
from reconciler.apply.pool import Pool, Rented, Room, Stay
from reconciler.finishing import to_its_end
from reconciler.model.problem import LianError
from reconciler.model.wording import some
from reconciler.ports.compute import NO_MORE, NOT_REMOVED, LeaseRequest

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from reconciler.model.name import ArtifactName
    from reconciler.model.problem import Problem
    from reconciler.model.reference import Repository
    from reconciler.model.tier import Tier
    from reconciler.ports.compute import Compute, Runner

MOST_LOST = 6
"""Runners of one share in a pass that are given up and replaced."""
START_SECONDS = RENT_SECONDS
"""A lease begins before its runner is ready."""
LEASE_BUILDS = 8
"""A lease is as long as so many builds at most, one after another: a machine that lian never returned costs no more
than that. A runner whose lease would end in the middle of a build takes none; another is rented."""


@dataclass(slots=True)
class Runners:
    """An async context manager; leaving it returns every runner that is still out."""

    compute: Compute
    fleet: str
    pass_id: str
    parallelism: int
    pools: dict[str, Pool]
    """By share."""
    _returning: list[asyncio.Task[None]] = field(default_factory=list)
    """Those of runners that were released. What is wrong with them is told at the end, so that it stops nobody's
    build."""
    _left: list[Problem] = field(default_factory=list)
    """What could not be returned of runners that could not be had: builds are told why there is none, not that."""
    _back: int = 0
    """Of these, the ones that have ended."""
    _changed: asyncio.Event = field(default_factory=asyncio.Event)

    @classmethod
    def of(
        cls,
        compute: Compute,
        fleet: str,
        pass_id: str,
        parallelism: int,
        hosts: Mapping[str, frozenset[str]],
        shares: Mapping[ArtifactName, str],
        room: Room,
        frontends: Mapping[str, frozenset[Repository]] | None = None,
    ) -> Runners:
        """`shares` has the share of each artifact that may be built, and `room` is that of each share."""
        names = defaultdict(list)
        for name, share in shares.items():
            names[share].append(name)
        run = frontends or {}
        pools = {
            share: Pool(room, len(of), hosts.get(share, frozenset()), _told(of), run.get(share, frozenset()))
            for share, of in names.items()
        }
        return cls(compute, fleet, pass_id, parallelism, pools)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for pool in self.pools.values():
            self._release(pool.close())
        failures = await self._returned()
        if failures and (error is None or isinstance(error, asyncio.CancelledError)):
            raise _as_one(failures) from error
        for failure in failures if error else ():
            error.add_note(f"a runner could not be returned: {failure}")  # type: ignore[union-attr]

    async def enter(self, share: str, tier: Tier, budget: float) -> Stay:
        """A build's time on one of the share's runners begins, in at most `budget` seconds of the lease. One that
        nobody is on is taken, else another is rented, else one is shared or waited for, as there is room. Raises
        LianError if none can be had, until someone has the share `renewed`."""
        pool = self.pools[share]
        while True:
            if pool.refused:
                raise LianError(pool.refused)
            self._release(pool.retire(asyncio.get_running_loop().time() + budget))
            rented = pool.idle() or (self._rent(share, pool, tier, budget) if pool.may_grow else pool.least())
            if rented is None:
                await self._changed.wait()
            elif (stay := await self._on(pool, rented, share)) is not None:
                return stay

    async def _on(self, pool: Pool, rented: Rented, share: str) -> Stay | None:
        """None if it takes no more builds by the time that it is there, or if it could not be had and another may.
        Raises LianError if it cannot be had."""
        stay = rented.enter(share)
        good = False
        try:
            await asyncio.shield(rented.runner)
            good = pool.has(rented)
        except LianError as error:
            full = any(problem.code == NO_MORE for problem in error.problems)
            if not full or not (pool.bound(rented) or await self._one_is_back(rented.back)):
                pool.refuse(rented, error)
                raise
        finally:
            if not good:
                self._release(pool.leave(stay))
                self._tell()
        return stay if good else None

    async def _one_is_back(self, before: int) -> bool:
        """Where no more could be had when so many had gone back: those of other shares that nobody is on go back now,
        and the first one that has gone back since is waited for. False if none is out."""
        while self._back == before:
            for pool in self.pools.values():
                self._release(pool.spare())
            if self._back == len(self._returning) and all(pool.empty for pool in self.pools.values()):
                return False
            await self._changed.wait()
        return True

    def leave(self, stay: Stay) -> None:
        """The build has ended. Leaving twice is leaving once."""
        self._release(self.pools[stay.share].leave(stay))
        self._tell()

    def lose(self, stay: Stay) -> None:
        """The build has ended, and its runner takes no more of them: the next who comes gets another."""
        self._release(self.pools[stay.share].lose(stay))
        self._tell()

    def renew(self, share: str) -> None:
        """If no runner could be had, the next who comes asks for another."""
        self.pools[share].refused = ()

    def spent(self, share: str) -> bool:
        """True if so many runners were lost that it makes no sense to go on: what makes builds fail there is not the
        runner, and each may cost money."""
        return self.pools[share].lost >= MOST_LOST

    def apart(self, share: str, what: str) -> str:
        """A share for one build that must not be with the others of its own; `done` ends it, and is called for the
        other one as well."""
        own, pool = f"{share} apart {what}", self.pools[share]
        self.pools[own] = Pool(Room(1, apart=pool.room.apart), 1, pool.hosts, what, pool.frontends)
        self._release(pool.leaves())
        self._tell()
        return own

    def done(self, share: str) -> None:
        """One artifact of the share has ended; runners that the others do not need go back, which nobody waits for
        until the end."""
        self._release(self.pools[share].done())
        self._tell()

    def _rent(self, share: str, pool: Pool, tier: Tier, budget: float) -> Rented:
        builds = min(max(1, -(-pool.expected // pool.room.runners)), LEASE_BUILDS)
        request = LeaseRequest(
            self.fleet,
            self.pass_id,
            self._lease(share, pool),
            tier,
            START_SECONDS + budget * builds,
            1 if pool.room.apart else self.parallelism,
            pool.hosts,
            purpose=pool.purpose,
            frontends=pool.frontends,
        )
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Runner] = loop.create_future()
        release = asyncio.Event()
        task = asyncio.create_task(self._hold(request, future, release), name=f"runner of {share}")
        rented = Rented(future, release, task, loop.time() + request.deadline, self._back)
        pool.add(rented)
        return rented

    def _lease(self, share: str, pool: Pool) -> str:
        """Unique for the pass, the share and how often it has asked; hashed, because the text may be too long."""
        told = f"{share} #{pool.asked}"
        pool.asked += 1
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
            if isinstance(error, LianError):
                self._left += [problem for problem in error.problems if problem.code == NOT_REMOVED]

    def _release(self, leases: Iterable[Rented]) -> None:
        for lease in leases:
            lease.release.set()
            if not lease.runner.done():
                lease.task.cancel()
            self._returning.append(lease.task)
            lease.task.add_done_callback(self._is_back)

    def _is_back(self, _: asyncio.Task[None]) -> None:
        self._back += 1
        for pool in self.pools.values():
            pool.widen()
        self._tell()

    def _tell(self) -> None:
        """Whoever waits looks again."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def _returned(self) -> list[Exception]:
        """When all have gone back; what was wrong with those that could not."""
        ends = asyncio.gather(*self._returning, return_exceptions=True)
        await to_its_end(ends)
        left = [LianError(self._left)] if self._left else []
        return [*(end for end in ends.result() if isinstance(end, Exception)), *left]


def _told(names: Iterable[ArtifactName]) -> str:
    """A few of them, and how many more."""
    return some(sorted(map(str, names)))


def _as_one(failures: Sequence[Exception]) -> Exception:
    """All their problems; a bug alone, if one of them is one."""
    told = [failure for failure in failures if isinstance(failure, LianError)]
    if len(told) < len(failures):
        return next(failure for failure in failures if not isinstance(failure, LianError))
    return LianError(problem for failure in told for problem in failure.problems)
