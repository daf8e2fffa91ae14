"""What a pass over the same commit would make of what was found: a remedy that only holds is none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.audit.findings import Finding, State
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.problem import Next, Problem
from reconciler.plan.compare import Overrides
from reconciler.reconcile import decide

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.identity.resolve import Resolution
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Observed
    from reconciler.model.plan import Change
    from reconciler.ports.bundle import Reading


async def expected(ports: Reading, resolution: Resolution, observed: Observed) -> dict[ArtifactName, Change]:
    """What `lian diff` says of each artifact, from what is known already. Raises LianError if git cannot be read."""
    plan = await decide(ports, resolution, observed, Overrides())
    return {change.artifact: change for change in plan.changes}


def drift(code: str, message: str, change: Change, tag: str | None = None) -> Finding:
    """Something is not where it should be (with `tag`: that tag), and what to do about it."""
    problem = Problem(code, message, hint=_way_on(change, tag), next=Next.RETRY)
    return Finding(State.DRIFT, problem.of(str(change.artifact)))


def with_holds(findings: Iterable[Finding], change: Change) -> tuple[Finding, ...]:
    """The findings, with what holds the artifact before them if there is a drift that a pass would not mend."""
    found = tuple(findings)
    if change.action is not Action.HOLD or not any(finding.state is State.DRIFT for finding in found):
        return found
    return (*(Finding(State.HELD, problem) for problem in change.holds), *found)


def _way_on(change: Change, tag: str | None) -> str:
    if change.action is Action.HOLD:
        return "mend what holds the artifact first; `lian diff` says what, and why"
    if tag in change.left:
        foreign = any(r.subject == tag and r.code is ReasonCode.FOREIGN for r in change.reasons)
        setting = f"policy.drift.{'foreign' if foreign else 'retagged'}"
        return f"move it back: {setting} in lian.ncl has it left where it is"
    return "run `lian reconcile --once`; `lian diff` says what it would do, and why"
