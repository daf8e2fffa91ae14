"""The tiers of a provider, smallest first: which one holds a build, and which one comes next."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.model.tier import Ladder, NamedTier, Tier


def fitting(ladder: Ladder, cpu: float, memory_gb: float) -> NamedTier | None:
    """The smallest tier that holds so much, the largest where none does; None for a ladder without tiers."""
    return next(
        (tier for tier in ladder.tiers if tier.holds(cpu, memory_gb)), ladder.tiers[-1] if ladder.tiers else None
    )


def next_larger(ladder: Ladder, tier: Tier) -> Tier | None:
    """Where a build goes that ran out of memory at this tier: the next one with more memory, and no fewer cores if
    there is such a one. None at the top. What a build has more of than that tier holds, it keeps."""
    larger = [one for one in ladder.tiers if one.memory_gb > tier.memory_gb]
    if not larger:
        return None
    chosen = next((one for one in larger if one.cpu >= tier.cpu), larger[-1])
    return replace(tier, name=chosen.name, cpu=max(tier.cpu, chosen.cpu), memory_gb=chosen.memory_gb)
