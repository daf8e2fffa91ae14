"""What happens after a build has failed on a runner: nothing more, another runner, or a larger one.

The class of the problem decides. What is wrong with what was asked for (*user*) fails. What a person has to see to
(*hold*) holds. What the runner or its surroundings may be to blame for (*infrastructure*) is done again on a new
runner, at most twice, and not at once. A build that ran out of memory is done again once, at the next tier of the
ladder, on a runner of its own; after a second time nothing is tried any more (ADR 058). One of which nobody knows
whether it did is done again on a runner of its own, where that is seen (*doubt*, ADR 065).
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.model.attempt import Again, FailedTry
from reconciler.model.problem import LianError, Next
from reconciler.ports.builder import CACHE_BROKEN, CACHE_SILENT, OUT_OF_MEMORY, UNCLEAR
from reconciler.sizing.ladder import next_larger

if TYPE_CHECKING:
    from reconciler.model.problem import Problem
    from reconciler.model.tier import Ladder, Tier

MAX_OOM_RETRIES = 1
MAX_NEW_RUNNERS = 2
IN_DOUBT = "memory-in-doubt"
"""Code of the problem of a build of which, or of one beside it, something was ended for want of memory."""
PAUSES = (2.0, 10.0)
"""Seconds before the first and before the second new runner."""
_TOLD_AT_ONCE = {UNCLEAR, CACHE_BROKEN}
"""What nobody knows the meaning of is more often wrong in what is built than on the runner. A broken cache was left out
on the same runner already."""


class FailureClass(StrEnum):
    """What has to happen next."""

    USER = "user"
    INFRASTRUCTURE = "infrastructure"
    MEMORY = "memory"
    DOUBT = "doubt"
    HOLD = "hold"


class OnRunner(LianError):
    """What failed on a runner, or because none could be had. Other errors are of a registry, say, and no other runner
    would help."""


def failure_class(problem: Problem) -> FailureClass:
    """Of a problem that came up on a runner."""
    if problem.code == OUT_OF_MEMORY:
        return FailureClass.MEMORY
    if problem.code == IN_DOUBT:
        return FailureClass.DOUBT
    if problem.next is Next.HOLD:
        return FailureClass.HOLD
    if problem.next is Next.RETRY and problem.code not in _TOLD_AT_ONCE:
        return FailureClass.INFRASTRUCTURE
    return FailureClass.USER


@dataclass(slots=True)
class Tries:
    """The tries of one build: at which `tier` the next one is, and what has failed so far."""

    ladder: Ladder
    tier: Tier
    failed: list[FailedTry] = field(default_factory=list)

    @property
    def silent(self) -> Problem | None:
        """Why the next one uses no cache: a registry fell silent in the middle of one."""
        return next((one.problem for one in self.failed if one.problem.code == CACHE_SILENT), None)

    @property
    def pause(self) -> float:
        """Seconds to wait before the next one. A larger runner is no other machine's turn, and a cache that is left out
        is not waited for."""
        last = self.failed[-1]
        if last.then is not Again.NEW_RUNNER or last.problem.code == CACHE_SILENT:
            return 0.0
        return PAUSES[min(self._new_runners, len(PAUSES)) - 1]

    def after(self, problem: Problem, seconds: float, *, spent: bool) -> Again | None:
        """Where the build is done again after this, None if it is not. `spent`: no more new runners are to be had."""
        again = self._where(problem, spent=spent)
        if again is not None:
            self.failed.append(FailedTry(problem, self.tier, round(seconds, 3), again))
        if again is Again.LARGER_RUNNER:
            self.tier = next_larger(self.ladder, self.tier) or self.tier
        return again

    def told(self, problem: Problem, *, spent: bool) -> Problem:
        """The problem that the build ends with, and why no more is tried. `spent` as in `after`."""
        parts = [problem.message]
        match failure_class(problem):
            case FailureClass.MEMORY if next_larger(self.ladder, self.tier) is None:
                parts.append(f"{self.tier.name or 'that'} is the largest tier of the ladder")
            case FailureClass.MEMORY:
                parts.append("a build gets a larger runner once")
            case FailureClass.INFRASTRUCTURE if spent and self._new_runners < MAX_NEW_RUNNERS:
                parts.append("so many runners were lost in its workspace that no more are asked for in this pass")
        return replace(problem, message="; ".join(parts))

    @property
    def _new_runners(self) -> int:
        return sum(one.then is Again.NEW_RUNNER for one in self.failed)

    @property
    def _grown(self) -> int:
        return sum(one.then is Again.LARGER_RUNNER for one in self.failed)

    def _where(self, problem: Problem, *, spent: bool) -> Again | None:
        match failure_class(problem):
            case FailureClass.MEMORY if self._grown < MAX_OOM_RETRIES and next_larger(self.ladder, self.tier):
                return Again.LARGER_RUNNER
            case FailureClass.INFRASTRUCTURE if self._new_runners < MAX_NEW_RUNNERS and not spent:
                return Again.NEW_RUNNER
            case FailureClass.DOUBT if all(one.then is not Again.OWN_RUNNER for one in self.failed):
                return Again.OWN_RUNNER
        return None
