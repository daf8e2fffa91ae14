"""What there is to carry out. Apart from carrying it out, so that a plan alone loads none of that."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.identity.resolve import Resolution
    from reconciler.model.observed import Observed
    from reconciler.model.plan import Plan


@dataclass(frozen=True, slots=True)
class Work:
    """A plan with what it was made from."""

    plan: Plan
    resolution: Resolution
    observed: Observed
    notes: tuple[str, ...] = ()
    """Sentences for a person, beside those of the commit."""
