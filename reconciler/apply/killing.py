"""What the kernel ended in a build's steps for want of memory, which no step has to tell (ADR 065).

A step is a group of processes with one limit. When that is used up the kernel ends one of them, and the others go on:
`make` says that a compiler failed, a pipeline ends well without its middle. So the kernel's own count is looked at,
that of the whole runner: which build's step it was is known where only one was there. What a step made without one of
its processes stays on the runner, for any build that has the same step; so such a runner takes no more builds, and what
was built there beside it is done again.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.apply.tries import IN_DOUBT, FailureClass, OnRunner, failure_class
from reconciler.model.problem import Next, Problem
from reconciler.model.wording import count
from reconciler.ports.builder import OUT_OF_MEMORY

if TYPE_CHECKING:
    from reconciler.apply.pool import Stay
    from reconciler.model.tier import Tier
    from reconciler.ports.compute import Compute


@dataclass(frozen=True, slots=True)
class Kills:
    """Of one build at this tier, during its stay."""

    compute: Compute
    stay: Stay
    tier: Tier

    async def none(self, log: str | None) -> None:
        """Raises OnRunner if a step of the build was left incomplete, or may have been."""
        if number := await self._number():
            raise OnRunner(self._certain(number, log) if self.stay.alone else self._doubt(number))

    async def behind(self, error: OnRunner, log: str | None) -> OnRunner:
        """The same failure; or that it failed for memory, if that is certain."""
        number, first = await self._number(), error.problems[0]
        if not number or not self.stay.alone or failure_class(first) is not FailureClass.USER:
            return error
        message = f"{first.message}; before that {self._told(number)}"
        return OnRunner(replace(first, code=OUT_OF_MEMORY, message=message, hint=_hint(log)))

    async def _number(self) -> int:
        """How many there were on the runner; 0 also where that is not known. It is doubtful from then on."""
        killed = (await self.compute.usage(self.stay.runner)).killed or 0
        self.stay.rented.doubtful |= killed > 0
        return killed

    def _certain(self, number: int, log: str | None) -> Problem:
        message = f"the steps ended well, but {self._told(number)}"
        return Problem(OUT_OF_MEMORY, message, cause="what a step makes without them is not complete", hint=_hint(log))

    def _doubt(self, number: int) -> Problem:
        ended = f"{count(number, 'process', 'processes')} were ended" if number > 1 else "a process was ended"
        message = f"on its runner {ended} for want of memory, of its own steps or of those of a build beside it"
        return Problem(IN_DOUBT, message, next=Next.RETRY)

    def _told(self, number: int) -> str:
        limit = f"the limit of a step was {self.tier.memory_gb:g} GiB"
        return f"the kernel ended {count(number, 'process', 'processes')} of theirs for want of memory; {limit}"


def _hint(log: str | None) -> str:
    more = "give it more memory: `runner.memory_gb`, or `memory_gb` in the context's .build-spec.ncl"
    return f"{more}; see the whole log: {log}" if log else more
