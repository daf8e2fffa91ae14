"""Runners of one pass: one at most for builds that may share it (design section 5: those of one workspace, and of one
freshness), rented at the first need, returned when the last of these builds has ended, and in any case when the pass
ends. What may share one is a text, the `share`, which `hosts.share_of` makes."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.finishing import to_its_end
from reconciler.model.problem import LianError
from reconciler.ports.compute import LeaseRequest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from types import TracebackType
    from typing import Self

    from reconciler.model.name import ArtifactName
    from reconciler.model.tier import Tier
    from reconciler.ports.compute import Compute, Runner

TOLD = 3
"""Artifacts that are named in what a lease is for."""


@dataclass(slots=True)
class _Rented:
    runner: asyncio.Future[Runner]
    release: asyncio.Event
    task: asyncio.Task[None]


@dataclass(slots=True)
class Runners:
    """An async context manager; leaving it returns every runner that is still out."""

    compute: Compute
    fleet: str
    pass_id: str
    parallelism: int
    hosts: Mapping[str, frozenset[str]]
    """Share -> the registry hosts that its builds speak to."""
    purposes: Mapping[str, str]
    """Share -> what is built there, for people."""
    expected: Counter[str]
    """Share -> artifacts of it that may still ask for a runner."""
    _rented: dict[str, _Rented] = field(default_factory=dict)
    _lost: dict[str, list[_Rented]] = field(default_factory=dict)
    """Share -> runners that build nothing more."""
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
        purposes = {
            share: _told(name for name, its in shares.items() if its == share) for share in set(shares.values())
        }
        return cls(compute, fleet, pass_id, parallelism, hosts, purposes, Counter(shares.values()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release({*self._rented, *self._lost})
        failures = await self._returned()
        if failures and error is None:
            raise _as_one(failures)
        for failure in failures if error else ():
            error.add_note(f"a runner could not be returned: {failure}")  # type: ignore[union-attr]

    async def runner(self, share: str, tier: Tier, deadline: float) -> Runner:
        """The share's runner, rented at the first call. Raises LianError if it fails.

        `deadline` is one build's, in seconds; the lease is long enough for all that may come, one after another.
        """
        rented = self._rented.get(share)
        if rented is None:
            until = deadline * max(1, self.expected[share])
            request = LeaseRequest(
                self.fleet,
                self.pass_id,
                self._lease(share),
                tier,
                until,
                self.parallelism,
                self.hosts.get(share, frozenset()),
                purpose=self.purposes.get(share, ""),
            )
            future: asyncio.Future[Runner] = asyncio.get_running_loop().create_future()
            release = asyncio.Event()
            task = asyncio.create_task(self._hold(request, future, release), name=f"runner of {share}")
            rented = self._rented[share] = _Rented(future, release, task)
        return await asyncio.shield(rented.runner)

    def lose(self, share: str, runner: Runner) -> None:
        """This one builds nothing more: the next call of `runner` rents another. It goes back when the share's last
        does, for other builds may not have ended on it yet."""
        rented = self._rented.get(share)
        if rented is not None and rented.runner.done() and rented.runner.result() is runner:
            self._lost.setdefault(share, []).append(self._rented.pop(share))

    def done(self, share: str) -> None:
        """One artifact of the share has ended; with the last one the runner goes back, which nobody waits for until the
        end."""
        self.expected[share] -= 1
        if self.expected[share] <= 0:
            self._release({share})

    def _lease(self, share: str) -> str:
        """Unique for the pass, the share and the runners it lost; the text is hashed, because it may be too long."""
        told = " lost".join([share, *("" for _ in self._lost.get(share, ()))])
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

    def _release(self, shares: Collection[str]) -> None:
        leases = [self._rented.pop(share) for share in shares if share in self._rented]
        leases += [lost for share in shares for lost in self._lost.pop(share, ())]
        for lease in leases:
            lease.release.set()
            if not lease.runner.done():
                lease.task.cancel()
        self._returning += [lease.task for lease in leases]

    async def _returned(self) -> list[Exception]:
        """When all have gone back; what was wrong with those that could not."""
        ends = asyncio.gather(*self._returning, return_exceptions=True)
        await to_its_end(ends)
        return [end for end in ends.result() if isinstance(end, Exception)]


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
