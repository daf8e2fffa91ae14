"""Processes of a build's steps that the kernel ended for want of memory, which no step has to tell (ADR 065).

A step is a group of processes with one limit. When that is used up the kernel ends one of them, and the others go on:
`make` says that a compiler failed, a pipeline ends well without its middle. So the kernel's own count is looked at,
that of the whole runner: which build's step it was is known where only one was there. What a step made without one of
its processes stays on the runner, for any build that has the same step; so such a runner is tainted: it takes no more
builds, and what was built there beside it is done again.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.apply.tries import IN_DOUBT, FailureClass, OnRunner, failure_class
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.wording import count
from reconciler.ports.builder import MORE_MEMORY, OUT_OF_MEMORY
from reconciler.ports.compute import Usage

if TYPE_CHECKING:
    from reconciler.apply.pool import Stay
    from reconciler.model.tier import Tier
    from reconciler.ports.compute import Compute


@dataclass(slots=True)
class OomKills:
    """Of one build at this tier, during its stay; `before` is how many there had been when it came."""

    compute: Compute
    stay: Stay
    tier: Tier
    before: int = 0

    async def ensure_none(self, dockerfile: str, log: str | None) -> None:
        """Raises OnRunner if a step of the build, which this Dockerfile has, lacks something, or may do so; or if the
        runner cannot be asked."""
        if number := (await self._usage()).oom_kills:
            problem = self._certain(number, log) if self._are_its_own else self._doubt()
            raise OnRunner(replace(problem, file=dockerfile))

    async def explain(self, error: OnRunner, log: str | None) -> OnRunner:
        """The same failure; or that it failed for memory, if that is certain; or that it may have."""
        first = error.problems[0]
        if failure_class(first) is FailureClass.INFRASTRUCTURE:  # it is given up for that, where there are others
            with contextlib.suppress(OnRunner):
                await self._usage()
            return error
        number = (await self.leave()).oom_kills
        if not number or failure_class(first) is not FailureClass.USER:
            return error
        if not self._are_its_own:
            return OnRunner(replace(self._doubt(), cause=f"{first.message}\n{first.cause or ''}".rstrip()))
        message = f"{first.message}; before that {self._told(number)}"
        return OnRunner(replace(first, code=OUT_OF_MEMORY, message=message, hint=_hint(log)))

    async def leave(self) -> Usage:
        """The build goes, however it ended, and what came after its last step (saving its cache mounts) counts as well.
        What has been used; nothing is known where the runner cannot be asked, and it takes no more builds."""
        try:
            return await self._usage()
        except OnRunner:
            self.stay.rented.tainted = True
            return Usage()

    async def _usage(self) -> Usage:
        """Of the runner, which takes no more builds if there were kills. Raises OnRunner if it does not tell."""
        try:
            usage = await self.compute.usage(self.stay.runner)
        except LianError as error:
            raise OnRunner(error.problems) from error
        self.stay.rented.tainted |= bool(usage.oom_kills)
        return usage

    @property
    def _are_its_own(self) -> bool:
        return self.stay.alone and not self.before

    def _certain(self, number: int, log: str | None) -> Problem:
        message = f"the steps ended well, but {self._told(number)}"
        return Problem(OUT_OF_MEMORY, message, cause="what a step makes without them is not complete", hint=_hint(log))

    @staticmethod
    def _doubt() -> Problem:
        message = "on its runner processes were ended for want of memory, of its own steps or of another build's"
        return Problem(IN_DOUBT, message, next=Next.RETRY)

    def _told(self, number: int) -> str:
        limit = f"the limit of a step was {self.tier.memory_gb:g} GiB"
        return f"the kernel ended {count(number, 'process', 'processes')} of theirs for want of memory; {limit}"


def _hint(log: str | None) -> str:
    return f"{MORE_MEMORY}; see the whole log: {log}" if log else MORE_MEMORY
