"""Several coroutines on the fakes, one step at a time, in an order that the test chooses.

Every call of a fake's port parks at its point; when nothing else can run, `Turns.choose` says which parked call goes
on. Time is the loop's own and jumps ahead when all that is left is a wait; work for threads is done on the spot. So a
run is a function of the choices alone, and one that can never go on is an error instead of a test that hangs.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

from tests.fakes import FakeClock, Points

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence

T = TypeVar("T")

_WHO: contextvars.ContextVar[str] = contextvars.ContextVar("who", default="")


def who() -> str:
    """Whose step is being made; empty outside of a run."""
    return _WHO.get()


@dataclass(frozen=True, eq=False)
class Parked:
    """A call that waits for its turn."""

    who: str
    point: str
    turn: asyncio.Future[None]


@dataclass
class Turns(Points):
    """Points where everybody waits for a turn. `choose` gets the calls that are parked, in the order they came, and
    says which of them goes on."""

    choose: Callable[[Sequence[Parked]], int] = lambda parked: 0
    only: Collection[str] = ()
    """The points where one waits for a turn; empty for all of them."""
    kill: tuple[str, int] | None = None
    """Who is cancelled, and at which of its own steps."""
    steps: Counter[str] = field(default_factory=Counter)
    """Who -> steps made."""
    trace: list[tuple[str, str]] = field(default_factory=list)
    """Who passed which point, in order."""
    parked: list[Parked] = field(default_factory=list)
    tasks: dict[str, asyncio.Task[Any]] = field(default_factory=dict)

    async def at(self, point: str) -> None:
        if not self.tasks or (self.only and point not in self.only):
            return
        call = Parked(who(), point, asyncio.get_running_loop().create_future())
        self.parked.append(call)
        await call.turn
        self.trace.append((call.who, point))
        if fault := self.faults.get(point):
            raise fault

    def next(self) -> bool:
        """Let one call go on; false if none is parked."""
        self.parked = [call for call in self.parked if not call.turn.done()]
        if not self.parked:
            return False
        call = self.parked[self.choose(self.parked)]
        if self.kill == (call.who, self.steps[call.who]):
            self.kill = None
            self.tasks[call.who].cancel()
            return True
        self.parked.remove(call)
        self.steps[call.who] += 1
        call.turn.set_result(None)
        return True

    def run(self, work: Mapping[str, Coroutine[Any, Any, T]]) -> dict[str, T | BaseException]:
        """Everybody's result or what it raised, once all have ended. Nothing of them still runs then."""

        async def all_of_them() -> dict[str, T | BaseException]:
            for name, coroutine in work.items():
                context = contextvars.copy_context()
                context.run(_WHO.set, name)
                self.tasks[name] = asyncio.create_task(coroutine, context=context)
            ends = await asyncio.gather(*self.tasks.values(), return_exceptions=True)
            assert asyncio.all_tasks() == {asyncio.current_task()}, "something of a pass still runs"
            return dict(zip(work, ends, strict=True))

        try:
            with asyncio.Runner(loop_factory=lambda: TurnsLoop(self.next)) as runner:
                return runner.run(all_of_them())
        finally:
            self.tasks = {}


@dataclass
class Bursts:
    """A chooser: each named one makes so many steps, one after another, then whoever came first."""

    bursts: list[tuple[str, int]]

    def __call__(self, parked: Sequence[Parked]) -> int:
        while self.bursts:
            name, steps = self.bursts[0]
            mine = [n for n, call in enumerate(parked) if call.who == name]
            if steps > 0 and mine:
                self.bursts[0] = (name, steps - 1)
                return mine[0]
            self.bursts.pop(0)
        return 0


class EveryOrder:
    """A chooser for one run after another, until every order of all steps has been had in which so often at most it is
    another's turn although who was on could go on: faults of order show with few such switches (Musuvathi and Qadeer,
    Iterative Context Bounding, 2007). Of two steps of which the order makes no difference, as `apart` says, only one
    order is had."""

    def __init__(self, apart: Callable[[Parked, Parked], bool], switches: int) -> None:
        self._apart, self._switches = apart, switches
        self._path: list[tuple[int, int]] = []
        """Choice made, and among how many."""
        self._start()

    def _start(self) -> None:
        self._at = self._switched = 0
        self._last: Parked | None = None
        self._offered: list[Parked] = []

    def __call__(self, parked: Sequence[Parked]) -> int:
        open_ = [n for n, call in enumerate(parked) if not self._had(call)] or [0]
        on = [n for n, call in enumerate(parked) if self._last is not None and call.who == self._last.who]
        if self._switched == self._switches:
            open_ = [n for n in open_ if n in on] or open_
        if self._at == len(self._path):
            self._path.append((0, len(open_)))
        chosen = open_[self._path[self._at][0]]
        self._at += 1
        self._switched += bool(on) and chosen not in on and self._switched < self._switches
        self._last, self._offered = parked[chosen], list(parked)
        return chosen

    def _had(self, call: Parked) -> bool:
        """Whether this step could as well have been made before the last one, and is in another run."""
        last = self._last
        return last is not None and call in self._offered and call.who < last.who and self._apart(call, last)

    def again(self) -> bool:
        """Turn to the next order; false when there is none."""
        self._start()
        while self._path:
            choice, among = self._path.pop()
            if choice + 1 < among:
                self._path.append((choice + 1, among))
                return True
        return False


class LoopClock(FakeClock):
    """Goes with the time of the running loop."""

    def __call__(self) -> float:
        try:
            return self.now + asyncio.get_running_loop().time()
        except RuntimeError:  # outside of a run
            return self.now


class TurnsLoop(asyncio.SelectorEventLoop):
    """An event loop that asks `idle` when nothing is ready, and whose time only passes when that did nothing."""

    def __init__(self, idle: Callable[[], bool]) -> None:
        self.now = 0.0
        super().__init__(_Selector(self, idle))

    def time(self) -> float:
        return self.now

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:  # type: ignore[override]
        """At once, in this thread."""
        del executor
        future = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it is the future's
            future.set_exception(error)
        return future


class _Selector(selectors.SelectSelector):
    """Asked by the loop to wait when it has nothing to do."""

    def __init__(self, loop: TurnsLoop, idle: Callable[[], bool]) -> None:
        super().__init__()
        self._loop, self._idle = loop, idle

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0:
            return super().select(0)
        if not self._idle():
            assert timeout is not None, "nobody can go on any more"
            self._loop.now += timeout
        return []
