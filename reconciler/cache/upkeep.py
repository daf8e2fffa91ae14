"""Which caches go, and why (ADR 056).

The caches of an artifact for one platform in one namespace are judged together: `.previous` and `.mounts` go with what
they stand beside, and they are as old as the youngest of them. What is unknown keeps: a cache whose time is not known
goes by none of the rules unless that is asked for. Each namespace is judged for itself, so that what lies in one never
makes anything of another go.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from reconciler.cache.holding import Fate, Verdict, blobs_of
from reconciler.model.fleet import UNNAMED
from reconciler.model.name import ArtifactName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

    from reconciler.cache.holding import Blob, FoundCache
    from reconciler.cache.namespace import Namespace
    from reconciler.cache.rules import Slot
    from reconciler.model.desired import Desired
    from reconciler.model.platform import Platform

GRACE = 3600.0
"""Seconds for which what was just written is left alone, whatever else is said: its build may still be at work."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a person asked for. `older_than` in seconds; `max_size` in bytes, for each namespace. `undated` takes what
    nothing tells the age of for as old as it may be; `strange` takes away what is no cache."""

    older_than: float | None = None
    max_size: int | None = None
    undated: bool = False
    strange: bool = False


@dataclass(frozen=True, slots=True)
class Selection:
    """Which caches this is about: globs over namespaces and over artifacts, and actors. Empty means all."""

    namespaces: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    actors: tuple[str, ...] = ()

    def takes(self, namespace: Namespace, artifact: str) -> bool:
        """True for a repository that is chosen."""
        name = f"{namespace.workspace}/{artifact}"
        return (
            _matches(str(namespace), self.namespaces)
            and _matches(name, self.only)
            and (not self.actors or namespace.actor in self.actors)
        )


def _matches(text: str, globs: Collection[str]) -> bool:
    return not globs or any(fnmatchcase(text, glob) for glob in globs)


@dataclass(frozen=True, slots=True)
class Wishes:
    """What kept revisions ask of caches: (registry, artifact, platform). Not `known`: some of it could not be read.
    `strangers` are commits that the desired repo does not know (ADR 049)."""

    fleet: str
    wanted: frozenset[tuple[str, ArtifactName, Platform]] = frozenset()
    workspaces: frozenset[str] = frozenset()
    known: bool = True
    strangers: frozenset[str] = frozenset()

    @classmethod
    def of(cls, fleet: str, desired: Iterable[Desired], *, known: bool = True) -> Wishes:
        """Of these commits. A cache that is switched off is still its artifact's."""
        artifacts = [wanted.artifact for one in desired for wanted in one.wanted.values()]
        wanted = {(a.cache_host, a.name, platform) for a in artifacts for platform in a.platforms}
        return cls(fleet, frozenset(wanted), frozenset(a.name.workspace for a in artifacts), known)

    def own(self, cache: FoundCache) -> bool:
        """True if this fleet wrote it, or if nothing says who did and the workspace is this fleet's."""
        content = cache.content
        if content.fleet is not None and content.fleet != self.fleet:
            return False
        if content.fleet is None or (self.fleet == UNNAMED and content.revision is None):
            return cache.namespace.workspace in self.workspaces
        return self.fleet != UNNAMED or content.revision not in self.strangers

    def want(self, host: str, slot: Slot) -> bool:
        """True if a kept revision builds that artifact for that platform with a cache there."""
        return (host, ArtifactName(slot.namespace.workspace, slot.artifact), slot.platform) in self.wanted


@dataclass(frozen=True, slots=True)
class _Group:
    """What is judged together. `age` is that of the youngest: None if that is not known. It is no older than
    `at_most`."""

    caches: tuple[FoundCache, ...]
    slot: Slot | None
    age: float | None
    at_most: float | None

    @classmethod
    def of(cls, caches: Sequence[FoundCache], slot: Slot | None, now: float) -> _Group:
        ages = [cache.content.age(now) for cache in caches]
        bounds = [bound for cache in caches if (bound := cache.content.at_most(now)) is not None]
        least = min(bounds, default=None)
        return cls(tuple(caches), slot, None if None in ages else least, least)

    @property
    def most(self) -> float:
        """How old it may be, in seconds."""
        return float("inf") if self.at_most is None else self.at_most


def judge(caches: Iterable[FoundCache], wishes: Wishes, limits: Limits, now: float) -> tuple[Verdict, ...]:
    """What becomes of each cache, in the order of registries, namespaces, artifacts and tags."""
    groups = _groups(caches, now)
    fates = {number: _fate(group, wishes, limits) for number, group in enumerate(groups)}
    if limits.max_size is not None:
        by_namespace: dict[tuple[str, Namespace], list[int]] = defaultdict(list)
        for number, group in enumerate(groups):
            if fates[number] is not Fate.KEPT_FOREIGN and not fates[number].goes:
                first = group.caches[0]
                by_namespace[first.repository.host, first.namespace].append(number)
        for numbers in by_namespace.values():
            fates |= dict.fromkeys(_beyond(groups, numbers, fates, limits.max_size), Fate.OVER_SIZE)
    found = [
        Verdict(cache, fates[number], cache.content.age(now), cache.content.at_most(now))
        for number, group in enumerate(groups)
        for cache in group.caches
    ]
    return tuple(sorted(found, key=lambda verdict: place(verdict.cache)))


def place(cache: FoundCache) -> tuple[str, str, str, str]:
    """What caches are sorted by."""
    return cache.repository.host, str(cache.namespace), cache.artifact, cache.tag


def _groups(caches: Iterable[FoundCache], now: float) -> list[_Group]:
    together: dict[tuple[str, str, str], list[FoundCache]] = defaultdict(list)
    slots: dict[tuple[str, str, str], Slot | None] = {}
    for cache in sorted(caches, key=place):
        key = (cache.repository.host, cache.repository.path, cache.group)
        together[key].append(cache)
        slots[key] = cache.slot
    return [_Group.of(those, slots[key], now) for key, those in together.items()]


def _fate(group: _Group, wishes: Wishes, limits: Limits) -> Fate:
    """By everything but the size of its namespace."""
    if not all(wishes.own(cache) for cache in group.caches):
        return Fate.KEPT_FOREIGN
    if group.slot is None and not limits.strange:
        return Fate.KEPT_STRANGE
    if group.most < GRACE:
        return Fate.KEPT_YOUNG
    if group.slot is None:
        return Fate.STRANGE
    if group.age is None and not limits.undated:
        return Fate.KEPT_UNDATED
    wanted = not group.slot.namespace.is_ci or wishes.want(group.caches[0].repository.host, group.slot)
    if not wanted and wishes.known:
        return Fate.UNWANTED
    if limits.older_than is not None and group.most > limits.older_than:
        return Fate.EXPIRED
    if not group.slot.namespace.is_ci:
        return Fate.KEPT_SESSION
    return Fate.KEPT_WANTED if wanted else Fate.KEPT_UNKNOWN


_YIELDING = frozenset({Fate.KEPT_WANTED, Fate.KEPT_SESSION})
"""What may go for the sake of a size."""


def _beyond(
    groups: Sequence[_Group], numbers: Sequence[int], fates: Mapping[int, Fate], max_size: int
) -> Iterator[int]:
    """Those of one namespace that have to go, the oldest first, until the rest is small enough."""
    holders: Counter[Blob] = Counter()
    sizes: dict[Blob, int] = {}
    blobs: dict[int, dict[Blob, int]] = {}
    for number in numbers:
        blobs[number] = {blob: size for cache in groups[number].caches for blob, size in blobs_of(cache).items()}
        holders.update(blobs[number].keys())
        sizes |= blobs[number]
    total = sum(sizes.values())
    yielding = [number for number in numbers if fates[number] in _YIELDING]
    for number in sorted(yielding, key=lambda n: (-groups[n].most, place(groups[n].caches[0]))):
        if total <= max_size:
            return
        yield number
        holders.subtract(blobs[number].keys())
        total -= sum(sizes[blob] for blob in blobs[number] if not holders[blob])
