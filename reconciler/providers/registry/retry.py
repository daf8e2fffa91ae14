"""When to try again, and when to stop asking a host at all."""

from __future__ import annotations

import asyncio
import random
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError
from reconciler.providers.registry import problems
from reconciler.providers.registry.reply import Broken

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.model.problem import Problem
    from reconciler.providers.registry.reply import Reply

TRANSIENT = frozenset({408, 429, 500, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Seconds, but for the counts. `give_up_after` failures of a host in a row end the asking for `rest`."""

    tries: int = 5
    first_pause: float = 0.25
    longest_pause: float = 8.0
    longest_retry_after: float = 120.0
    deadline: float = 240.0
    give_up_after: int = 8
    rest: float = 10.0

    def pause(self, attempt: int, asked: float | None, draw: float) -> float | None:
        """Seconds until the next try after this attempt (from 1), None for none. `draw` is in [0, 1): full jitter;
        what the server asked for is obeyed, or if that is too long, nothing is tried."""
        if attempt >= self.tries or (asked is not None and asked > self.longest_retry_after):
            return None
        return max(asked or 0.0, draw * min(self.longest_pause, self.first_pause * 2.0**attempt))


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


@dataclass(slots=True)
class Retrier:
    """Sends to one host until there is a final answer. Shared by all requests to that host: a 429 makes all of them
    wait, and a host that only fails is not asked a thousand times."""

    host: str
    policy: RetryPolicy = field(default_factory=RetryPolicy)
    timing: Timing = field(default_factory=Timing)
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
            await self.admit()
            try:
                reply = await once()
            except Broken as error:
                problem, asked = problems.unreachable(self.host, str(error)), None
                self._failed(problem)
            else:
                if reply.status not in TRANSIENT:
                    self.answered()
                    return reply
                asked = retry_after(reply)
                problem = self._transient(reply)
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
        self._failures, self._down = 0, None

    def _transient(self, reply: Reply) -> Problem:
        if reply.status == 429:
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
