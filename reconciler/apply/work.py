"""What there is to carry out. Apart from carrying it out, so that a plan alone loads none of that."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.sizing.sized import Sized

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.identity.resolve import Resolution
    from reconciler.model.name import ArtifactName
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
    sized: Sized = field(default_factory=Sized)
    """How large a runner each build gets. Without it nothing can be built."""
    urgency: Mapping[ArtifactName, float] = field(default_factory=dict)
    """Of builds that are ready together, the one with the greater number goes first."""
