"""The tier of one build, first match wins (design section 6): RunnerOverride, then the language's default."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.tier import Tier

if TYPE_CHECKING:
    from reconciler.model.artifact import Artifact

LANGUAGE_TIERS = {
    "rust": Tier(4, 8, 60),
    "go": Tier(2, 4, 30),
    "java": Tier(4, 8, 45),
    "kotlin": Tier(4, 8, 45),
    "scala": Tier(4, 8, 45),
}
OTHER = Tier(2, 4, 30)


def tier_for(artifact: Artifact) -> Tier:
    """Cores, GiB and minutes for this artifact's build; an override may set some and leave the rest to the default."""
    default = LANGUAGE_TIERS.get(artifact.language or "", OTHER)
    override = artifact.runner
    if override is None:
        return default
    return Tier(
        override.cpu or default.cpu,
        override.memory_gb or default.memory_gb,
        override.time_budget or default.time_budget,
    )
