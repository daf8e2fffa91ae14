"""Which problems say for certain that something is wrong, and which only that it could not be found out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.audit.findings import Finding, State
from reconciler.ports.registry import GONE

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.problem import Problem

DAMAGED = frozenset({"registry-wrong-digest", "registry-damaged"})


def judged(problems: Iterable[Problem], artifact: str) -> tuple[Finding, ...]:
    """What a registry said of an image's own content."""
    return tuple(
        Finding(State.BROKEN if problem.code in GONE | DAMAGED else State.UNKNOWN, problem.of(artifact))
        for problem in problems
    )
