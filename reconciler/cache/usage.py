"""How much caches take, by namespace and artifact. What several of them share is counted once, and said."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.cache.holding import blobs_of

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Mapping

    from reconciler.cache.holding import Blob, Caches, FoundCache
    from reconciler.model.problem import Problem

Key = TypeVar("Key", bound="Hashable")


@dataclass(frozen=True, slots=True)
class Usage:
    """Of some caches: how many, and their bytes, each blob once. `shared` of these lie in others as well: they stay if
    these go. Of all caches together it is what more than one artifact's caches have."""

    caches: int = 0
    size: int = 0
    shared: int = 0

    def to_json(self) -> dict[str, Any]:
        """As it stands in cache_usage.json."""
        return {"caches": self.caches, "size": self.size, "shared": self.shared}


@dataclass(frozen=True, slots=True)
class CacheUsage:
    """What `lian cache du` tells: of each registry as a whole, of its namespaces, and of (namespace, artifact) there.
    `shared` is what others of the same line have."""

    fleet: str
    revision: str
    caches: Caches
    registries: Mapping[str, Usage]
    namespaces: Mapping[tuple[str, str], Usage]
    """By registry and namespace."""
    artifacts: Mapping[tuple[str, str, str], Usage]
    """By registry, namespace and artifact."""
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, fleet: str, revision: str, caches: Caches, notes: tuple[str, ...] = ()) -> CacheUsage:
        """Of what was found."""
        found = caches.found
        by_artifact = usages(found, lambda c: (c.repository.host, str(c.namespace), str(c.name)))
        by_namespace = usages(found, lambda c: (c.repository.host, str(c.namespace)))
        hosts = {
            cupboard.host: [c for c in found if c.repository.host == cupboard.host] for cupboard in caches.cupboards
        }
        return cls(
            fleet, revision, caches, {h: _total(those) for h, those in hosts.items()}, by_namespace, by_artifact, notes
        )

    def to_json(self) -> dict[str, Any]:
        """The document of `lian cache du --json`."""
        return {
            "kind": "cache_usage",
            "version": 1,
            "fleet": self.fleet,
            "revision": self.revision,
            "registries": [
                {**cupboard.to_json(), **self.registries[cupboard.host].to_json()} for cupboard in self.caches.cupboards
            ],
            "namespaces": [
                {"host": host, "namespace": namespace, **used.to_json()}
                for (host, namespace), used in self.namespaces.items()
            ],
            "artifacts": [
                {"host": host, "namespace": namespace, "artifact": artifact, **used.to_json()}
                for (host, namespace, artifact), used in self.artifacts.items()
            ],
            "problems": [problem.to_json() for problem in self.problems],
            "notes": [*self.notes, *self.caches.notes],
        }

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Why some of it could not be read."""
        return self.caches.unread


def usages(caches: Iterable[FoundCache], key: Callable[[FoundCache], Key]) -> dict[Key, Usage]:
    """Of the caches of each key, in the order in which keys come."""
    counts: Counter[Key] = Counter()
    blobs: dict[Key, dict[Blob, int]] = defaultdict(dict)
    for cache in caches:
        counts[key(cache)] += 1
        blobs[key(cache)] |= blobs_of(cache)
    holders = Counter(blob for those in blobs.values() for blob in those)
    return {
        of: Usage(counts[of], sum(those.values()), sum(size for blob, size in those.items() if holders[blob] > 1))
        for of, those in blobs.items()
    }


def _total(caches: Iterable[FoundCache]) -> Usage:
    sizes: dict[Blob, int] = {}
    holders: dict[Blob, tuple[str, str]] = {}
    shared: set[Blob] = set()
    number = 0
    for cache in caches:
        number += 1
        own = (str(cache.namespace), cache.artifact)
        for blob, size in blobs_of(cache).items():
            sizes[blob] = size
            if holders.setdefault(blob, own) != own:
                shared.add(blob)
    return Usage(number, sum(sizes.values()), sum(sizes[blob] for blob in shared))
