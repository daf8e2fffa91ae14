"""One build: the same pass as any other, and its results as envelopes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.cache.asked import with_caches
from reconciler.model.build_result import BuildResult
from reconciler.model.fleet import ComputeProvider
from reconciler.model.name import ArtifactName
from reconciler.model.outcome import Result, Status
from reconciler.model.plan import Action
from reconciler.model.problem import LianError, Problem
from reconciler.reconcile import Options, reconcile_once

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.desired import Desired
    from reconciler.model.outcome import Outcome
    from reconciler.model.plan import Plan
    from reconciler.plan.compare import Overrides
    from reconciler.ports.bundle import Ports


@dataclass(frozen=True, slots=True)
class Means:
    """What a build may use, beside what it is: caches as they were named, and what it can log in to machines with."""

    cache_from: tuple[str, ...] = ()
    cache_to: str | None = None
    ssh_key: str | None = None
    """The private key's file."""
    agent: bool = False
    """Whether there is an SSH agent."""


@dataclass(frozen=True, slots=True)
class Built:
    """How it ended; a result for each artifact, in the plan's order, and behind these one for each whose directive is
    wrong."""

    plan: Plan
    outcome: Outcome
    results: tuple[BuildResult, ...]


async def build_once(ports: Ports, means: Means, overrides: Overrides, cores: int = 2) -> Built:
    """Build what the source asks for. Raises LianError if no plan could be made, or if it lacks the means."""

    def adjusted(desired: Desired) -> Desired:
        if problem := ssh_key_missing(desired.fleet.compute.provider, means):
            raise LianError((*desired.problems, problem))
        return with_caches(desired, means.cache_from, means.cache_to)

    options = Options(cores=cores, overrides=overrides, adjusted=adjusted)
    plan, outcome = await reconcile_once(ports, options)
    changes = {change.artifact: change for change in plan.changes}
    results = [BuildResult(outcome.revision, one, changes[one.artifact]) for one in outcome.results]
    return Built(plan, outcome, (*results, *_unread(outcome)))


def _unread(outcome: Outcome) -> Iterator[BuildResult]:
    """Artifacts that are declared and not in the plan, each with the first problem that says why."""
    told = {str(result.artifact) for result in outcome.results}
    for problem in outcome.problems:
        if problem.artifact and problem.artifact not in told:
            told.add(problem.artifact)
            held = Result(ArtifactName.parse(problem.artifact), Action.HOLD, Status.HELD, problem=problem)
            yield BuildResult(outcome.revision, held, None)


def ssh_key_missing(compute: ComputeProvider, means: Means) -> Problem | None:
    """Machines that are reached by SSH let nobody in without a key."""
    if compute is not ComputeProvider.SSH or means.ssh_key or means.agent:
        return None
    message = "the compute in lian.ncl is Ssh, and there is no key to log in with"
    hint = "give --ssh-key FILE or BUILDKIT_SSH_KEY, or start an agent (SSH_AUTH_SOCK)"
    return Problem("ssh-key-missing", message, "--ssh-key", hint=hint)
