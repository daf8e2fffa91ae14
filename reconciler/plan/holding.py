"""What is said of an artifact that is held."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.plan import Action, Change, Reason, ReasonCode
from reconciler.model.problem import Next
from reconciler.plan.unclear import held_for

if TYPE_CHECKING:
    from reconciler.model.desired import Desired, Wanted
    from reconciler.model.name import ArtifactName
    from reconciler.model.problem import Problem

_OF_THE_WORLD = {Next.RETRY, Next.HOLD}
"""What may be right at the next pass, though the commit is the same."""


@dataclass(slots=True)
class Holding:
    """How one artifact is held."""

    wanted: Wanted
    desired: Desired
    invalid: frozenset[str | None]
    """Names of the artifacts that are wrong in the commit."""

    def change(self, problems: tuple[Problem, ...], because_of: Wanted | None = None) -> Change:
        """Because of itself, or of a parent that is."""
        a, held = self.wanted.artifact, because_of or self.wanted
        reasons = []
        for problem in problems:
            parent = held_for(held.artifact, problem, self.desired)
            code = self._code(held, parent, problem, problems)
            whose = parent or (held.artifact.name if because_of else None)
            reasons.append(Reason(code, None, problem.code, subject=str(whose) if whose else None))
        return Change(a.name, a.image, a.tags, a.platforms, Action.HOLD, tuple(reasons), holds=problems)

    def _code(
        self, held: Wanted, parent: ArtifactName | None, problem: Problem, problems: tuple[Problem, ...]
    ) -> ReasonCode:
        if str(parent or held.artifact.name) in self.invalid and problem.next not in _OF_THE_WORLD:
            return ReasonCode.INVALID
        if held.materials is None and not any(p.next in _OF_THE_WORLD for p in problems):
            return ReasonCode.UNSUPPORTED  # the source holds what it could read and lian cannot serve yet
        return ReasonCode.UNKNOWN
