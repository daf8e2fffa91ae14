"""Builds that failed and were done again: on another runner, or on a larger one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.model.measures import seconds
from reconciler.model.problem import Problem
from reconciler.model.tier import Tier

if TYPE_CHECKING:
    from collections.abc import Mapping


class Again(StrEnum):
    """Where a build is done again."""

    NEW_RUNNER = "new-runner"
    OWN_RUNNER = "own-runner"
    LARGER_RUNNER = "larger-runner"


@dataclass(frozen=True, slots=True)
class FailedTry:
    """A build that was begun and failed, at this tier, after so many seconds; `then` is what came of it."""

    problem: Problem
    tier: Tier
    seconds: float
    then: Again

    @property
    def kept(self) -> FailedTry:
        """As a record keeps it: without advice, which names files of the machine that it was built on."""
        return replace(self, problem=replace(self.problem, hint=None))

    def to_json(self) -> dict[str, Any]:
        """As it stands in records and outcomes."""
        return {
            "problem": self.problem.to_json(),
            "tier": self.tier.document(),
            "seconds": round(self.seconds, 3),
            "then": self.then.value,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> FailedTry:
        """Raises KeyError, TypeError, AttributeError or ValueError for anything else."""
        return cls(
            Problem.from_json(document["problem"]),
            Tier.from_document(document["tier"]),
            seconds(document["seconds"]),
            Again(document["then"]),
        )
