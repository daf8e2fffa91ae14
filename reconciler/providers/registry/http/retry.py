"""When to try again, and when to stop asking a host at all."""

from __future__ import annotations

import asyncio
import random
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError
from reconciler.ports.registry import REST_SECONDS
from reconciler.providers.registry import problems
from reconciler.providers.registry.http.patience import Patience
from reconciler.providers.registry.http.reply import Broken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from types import TracebackType

    from reconciler.model.problem import Problem
    from reconciler.providers.registry.http.reply import Reply

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})
_ROUNDS = 16
"""Of answers, before one more at a time is tried again on a host that limits."""
_AS_QUICK = 2.0
"""An answer is as quick as another that took half as long: the wire is, not the line before the server."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds, but for the counts. `give_up_after` failures of a host in a row end the asking for `rest`."""

    tries: int = 5
    first_pause: float = 0.25
    longest_pause: float = 8.0
    longest_retry_after: float = 120.0
    deadline: float = 240.0
    give_up_after: int = 8
    rest: float = REST_SECONDS

    def pause(self, attempt: int, asked: float | None, draw: float) -> float | None:
        """Seconds until the next try after this attempt (from 1), None for none. `draw` is in [0, 1): full jitter;
        what the server asked for is obeyed, or if that is too long, nothing is tried."""
        if attempt >= self.tries or (asked is not None and asked > self.longest_retry_after):
            return None
        return max(asked or 0.0, draw * min(self.longest_pause, self.first_pause * 2.0**attempt))


OF_A_MIRROR = RetryPolicy(tries=2, deadline=20.0)
"""A mirror that does not answer is not waited for: there is the origin."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Clock, sleep and chance, so that a test can own them."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    draw: Callable[[], float] = random.random


def retry_after(reply: Reply) -> float | None:
    """Seconds that a Retry-After header asks for (RFC 9110, 10.2.3), None without a readable one."""
    text = reply.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


class Pace:
    """How many requests a host gets at a time: half as many after a 429, and one more after each round of answers that
    were as quick as with fewer; after the first 429 only every so many rounds, since each try costs another one.

    Additive increase and multiplicative decrease find what a path bears (RFC 5681), but a registry that has reached
    its limit first gets slow: 1,000 HEADs to docker-registry on loopback took 1.1 s with 4 at a time, 1.4 s with 16;
    0.1 s away 27 s with 4, 7 s with 16, 3.5 s with 32. A 429 to a request that was on its way before the last cut
    says nothing new, and cuts nothing.
    """

    def __init__(self, first: int = 4, most: int = 32) -> None:
        self.most = most
        self.cuts = 0
        """How often it was halved."""
        self._share, self._busy, self._quickest = float(first), 0, float("inf")
        self._waiting: deque[asyncio.Future[None]] = deque()

    @property
    def limit(self) -> int:
        """Requests that may be on their way now; at least one."""
        return int(self._share)

    async def enter(self) -> None:
        """Wait for a place; give it back with `leave`."""
        while self._busy >= self.limit:
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                self._wake()  # the place it was offered, if it was, goes to the next
                raise
        self._busy += 1

    def leave(self) -> None:
        """The request is over."""
        self._busy -= 1
        self._wake()

    def grow(self, seconds: float) -> None:
        """An answer like others came after so many seconds."""
        self._quickest = min(self._quickest, seconds)
        if self._share < self.most and seconds <= _AS_QUICK * self._quickest:
            self._share = min(self.most, self._share + 1 / (self._share * (_ROUNDS if self.cuts else 1)))

    def cut(self, cuts: int) -> None:
        """A 429 came, to a request that was sent after so many cuts."""
        if cuts == self.cuts:
            self.cuts += 1
            self._share = max(1.0, self._share / 2)

    def _wake(self) -> None:
        """As many as there are places; whoever wakes looks for itself."""
        places = self.limit - self._busy
        while places > 0 and self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                places -= 1


@dataclass(slots=True)
class Turn:
    """One request to a host: waits until there is a place and the host may be asked, and gives the place back.

    Entering raises LianError while the host counts as down.
    """

    retrier: Retrier
    _cuts: int = 0
    _since: float = 0.0
    _answered: bool = False

    async def __aenter__(self) -> Turn:
        await self.retrier.pace.enter()
        self.retrier.patience.asked()
        try:
            await self.retrier.admit()
        except BaseException:
            self._end()
            raise
        self._cuts, self._since = self.retrier.pace.cuts, self.retrier.timing.now()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def _end(self) -> None:
        self.retrier.pace.leave()
        self.retrier.patience.over(answered=self._answered)

    def answered(self, *, alike: bool = False) -> None:
        """The host gave a final answer; `alike` if it is one of many that cost it the same, and can be compared."""
        self.retrier.answered()
        self._answered = True
        if alike:
            self.retrier.pace.grow(self.retrier.timing.now() - self._since)

    def limited(self, reply: Reply) -> None:
        """The host answered 429: everyone asks less at a time, and nobody before it may be willing again."""
        self.retrier.pace.cut(self._cuts)
        self.retrier.hold(reply)


@dataclass(slots=True)
class Retrier:
    """Sends to one host until there is a final answer. Shared by all requests to that host: a 429 makes all of them
    wait, and a host that only fails is not asked a thousand times."""

    host: str
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    timing: Timing = field(default_factory=Timing)
    pace: Pace = field(default_factory=Pace)
    patience: Patience = field(default_factory=lambda: Patience(lambda: None))
    _limits: int = 0
    """429s in a row."""
    _failures: int = 0
    _held_until: float = 0.0
    _down_until: float = 0.0
    _down: Problem | None = None

    async def run(self, once: Callable[[], Awaitable[Reply]]) -> Reply:
        """The first answer that is not transient. Raises LianError `registry-unreachable`, `-busy` or `-failing`."""
        started = self.timing.now()
        attempt = 0
        while True:
            attempt += 1
            try:
                async with Turn(self) as turn:
                    reply = await once()
                    if reply.status not in TRANSIENT:
                        turn.answered()
                        return reply
                    asked = retry_after(reply)
                    problem = self._transient(reply, turn)
            except Broken as error:
                problem, asked = problems.unreachable(self.host, str(error)), None
                self._failed(problem)
            pause = self.policy.pause(attempt, asked, self.timing.draw())
            if pause is None or self.timing.now() + pause - started > self.policy.deadline:
                self._gave_up(problem)
                raise LianError(problem)
            if asked is not None:
                self._held_until = max(self._held_until, self.timing.now() + pause)
            await self.timing.sleep(pause)

    async def admit(self) -> None:
        """Wait while the host asked for patience. Raises LianError while it counts as down."""
        while (wait := self._held_until - self.timing.now()) > 0:
            await self.timing.sleep(wait)
        if self._down and self.timing.now() < self._down_until:
            raise LianError(self._down)

    def answered(self) -> None:
        """The host gave a final answer, so it is up."""
        self._failures, self._limits, self._down = 0, 0, None

    def hold(self, limited: Reply) -> None:
        """After a 429 nobody asks before the time it named, or if it named none, for longer each time in a row."""
        self._limits += 1
        pause = self.policy.pause(min(self._limits, self.policy.tries - 1), retry_after(limited), self.timing.draw())
        if pause is not None:
            self._held_until = max(self._held_until, self.timing.now() + pause)

    def _transient(self, reply: Reply, turn: Turn) -> Problem:
        if reply.status == 429:
            turn.limited(reply)
            return problems.busy(self.host, reply.told)
        problem = problems.failing(self.host, reply.told)
        self._failed(problem)
        return problem

    def _failed(self, problem: Problem) -> None:
        self._failures += 1
        if self._failures >= self.policy.give_up_after:
            self._rest(problem)

    def _gave_up(self, problem: Problem) -> None:
        if problem.code == "registry-busy":
            self._rest(problem)

    def _rest(self, problem: Problem) -> None:
        self._down, self._down_until = problem, self.timing.now() + self.policy.rest
