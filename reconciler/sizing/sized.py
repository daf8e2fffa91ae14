"""How large a runner each build of a pass gets, out of which tiers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.tier import Ladder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.name import ArtifactName
    from reconciler.sizing.choose import Sizing


@dataclass(frozen=True, slots=True)
class Sized:
    """The ladder, and the size of each artifact that may be built; empty where none may."""

    ladder: Ladder = field(default_factory=Ladder)
    sizings: Mapping[ArtifactName, Sizing] = field(default_factory=dict)
