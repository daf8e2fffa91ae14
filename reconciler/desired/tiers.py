"""Evaluated settings and shipped defaults -> the sizes of a fleet: its ladder, and what languages get."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from reconciler.desired.nickel.settings import SourceFile
from reconciler.model.problem import Problem
from reconciler.model.tier import Ladder, NamedTier, Sizes, Tier
from reconciler.model.tree import FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from reconciler.model.artifact import Place

    Placed = Callable[[tuple[str, ...]], Place]


class ShippedTiers:
    """A tree of one file, which imports the sizes that ship with lian: the evaluator reads them as it reads
    directives."""

    called = "lian"
    """See nickel.settings.Tree."""
    FILE = SourceFile("tiers.ncl", "af9c46fcbbe413ddcec3b4149067df3ed05e3b7e")
    _TEXT = b'import "defaults/tiers.ncl"'

    def lookup(self, path: str) -> tuple[str, str] | None:
        """See nickel.settings.Tree."""
        return (FILE, self.FILE.blob) if path == self.FILE.path else None

    def read(self, blob: str) -> bytes:
        """See nickel.settings.Tree."""
        del blob
        return self._TEXT


def names_tiers(settings: Mapping[str, Any], directives: Iterable[Mapping[str, Any]]) -> bool:
    """Whether the commit says something of tiers that has to be checked against the sizes."""
    if settings.get("tiers") or "tiers" in settings.get("compute", {}):
        return True
    return any("tier" in one.get("runner", {}) for value in directives for one in (value, *value["artifacts"].values()))


def read_sizes(defaults: Mapping[str, Any], settings: Mapping[str, Any], place: Placed) -> tuple[Sizes, Problem | None]:
    """The sizes under these settings, and what is wrong with the ladder that they ask for: it is the default one then.
    `place` says where a field of lian.ncl is written.

    `compute.tiers` names the ladder; without it all tiers of the fleet are one, by their size; without these it is the
    provider's own.
    """
    shipped = defaults["ladders"].get(settings.get("compute", {}).get("provider", "Local"), {"tiers": []})
    usual = tuple(NamedTier(t["name"], t["cpu"], t["memory_gb"], None, t.get("hourly")) for t in shipped["tiers"])
    tiers, problem = _chosen(usual, settings, place)
    priced = any(tier.hourly is not None for tier in tiers)
    ladder = Ladder(tiers, shipped.get("currency") if priced else None)
    languages = {name: _tier(value) for name, value in defaults["languages"].items()}
    return Sizes(ladder, _tier(defaults["otherwise"]), languages), problem


def _chosen(
    usual: tuple[NamedTier, ...], settings: Mapping[str, Any], place: Placed
) -> tuple[tuple[NamedTier, ...], Problem | None]:
    own = {name: _own(name, value, usual) for name, value in settings.get("tiers", {}).items()}
    known = {tier.name: tier for tier in usual} | own
    names: Sequence[str] | None = settings.get("compute", {}).get("tiers")
    if names is None:
        if not own:
            return usual, None
        tiers = sorted(own.values(), key=lambda tier: (tier.memory_gb, tier.cpu))
    elif unknown := [name for name in names if name not in known]:
        message = f"the ladder names the tier {unknown[0]}, and there is none of that name"
        hint = f"describe it in `tiers`, or choose from {', '.join(known)}"
        return usual, Problem("tier-unknown", message, hint=hint).at(place(("compute", "tiers")))
    else:
        tiers = [known[name] for name in names]
    for smaller, larger in pairwise(tiers):
        if not _grows(smaller, larger):
            message = (
                f"tiers stand from the smallest to the largest, and {larger.name} is no larger than {smaller.name}"
            )
            hint = "name the ladder in `compute.tiers`: each tier has no less of anything and more of something"
            where = ("compute", "tiers") if names else ("tiers",)
            return usual, Problem("tiers-unordered", message, hint=hint).at(place(where))
    return tuple(tiers), None


def _own(name: str, value: Mapping[str, Any], usual: Iterable[NamedTier]) -> NamedTier:
    """A tier of the fleet's; one that describes a tier of the provider has the price of that."""
    cpu, memory = value["cpu"], value["memory_gb"]
    same = (t.hourly for t in usual if (t.name, t.cpu, t.memory_gb) == (name, cpu, memory))
    return NamedTier(name, cpu, memory, value.get("time_budget"), next(same, None))


def _grows(smaller: NamedTier, larger: NamedTier) -> bool:
    before, after = (smaller.cpu, smaller.memory_gb), (larger.cpu, larger.memory_gb)
    return before != after and all(less <= more for less, more in zip(before, after, strict=True))


def _tier(value: Mapping[str, Any]) -> Tier:
    return Tier(value["cpu"], value["memory_gb"], value["time_budget"])
