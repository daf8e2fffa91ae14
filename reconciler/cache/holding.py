"""The caches that a registry holds, whose they are, and what an upkeep makes of them. The plan is a value, as a pass's
is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeAlias

from reconciler.cache.content import CacheKind, rfc3339
from reconciler.cache.rules import Generation, Slot
from reconciler.model.name import ArtifactName
from reconciler.model.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.cache.content import CacheContent
    from reconciler.cache.namespace import Namespace
    from reconciler.model.digest import Digest
    from reconciler.model.fleet import RegistryProvider
    from reconciler.model.problem import Problem
    from reconciler.model.reference import Repository

_FITS = {
    Generation.LATEST: frozenset({CacheKind.LAYERS, CacheKind.LOST}),
    Generation.PREVIOUS: frozenset({CacheKind.LAYERS, CacheKind.LOST}),
    Generation.MOUNTS: frozenset({CacheKind.MOUNTS, CacheKind.LOST}),
}


class Fate(StrEnum):
    """Why a cache goes or stays; the first that applies, in this order but for those that go."""

    UNWANTED = "unwanted"
    """CI's, of an artifact or a platform that no kept revision wants in this registry."""
    EXPIRED = "expired"
    """Older than was asked for."""
    OVER_SIZE = "over-size"
    """Its namespace is larger than was asked for, and it is among its oldest."""
    STRANGE = "strange"
    """It is no cache, and was asked to go."""
    KEPT_FOREIGN = "kept-foreign"
    """Another fleet wrote it, or nothing says who did in a workspace that is none of this fleet's."""
    KEPT_STRANGE = "kept-strange"
    """It is no cache."""
    KEPT_YOUNG = "kept-young"
    """It was written a moment ago."""
    KEPT_UNDATED = "kept-undated"
    """Nothing tells when it was written."""
    KEPT_UNKNOWN = "kept-unknown"
    """Whether a kept revision wants it could not be found out."""
    KEPT_WANTED = "kept-wanted"
    """A kept revision wants its artifact for its platform."""
    KEPT_SESSION = "kept-session"
    """An actor's: it stays as long as its age and size allow."""

    @property
    def goes(self) -> bool:
        """True for what is taken away."""
        return self in _GOING


_GOING = frozenset({Fate.UNWANTED, Fate.EXPIRED, Fate.OVER_SIZE, Fate.STRANGE})


@dataclass(frozen=True, slots=True)
class FoundCache:
    """One tag of a cache's repository, and what it names."""

    repository: Repository
    namespace: Namespace
    artifact: str
    tag: str
    digest: Digest
    content: CacheContent

    @property
    def name(self) -> ArtifactName:
        """Of the artifact whose it is."""
        return ArtifactName(self.namespace.workspace, self.artifact)

    @property
    def slot(self) -> Slot | None:
        """None for what is not what belongs under such a tag."""
        slot = slot_of(self.namespace, self.artifact, self.tag)
        return slot if slot and self.content.kind in _FITS[slot.generation] else None

    @property
    def group(self) -> str:
        """What goes or stays together has this in common, in one repository: what there is for a platform."""
        slot = self.slot
        return str(slot.platform) if slot else f":{self.tag}"

    def to_json(self, fate: Fate) -> dict[str, Any]:
        """One entry of cache_list.json and cache_prune.json."""
        slot = self.slot
        return {
            "repository": str(self.repository),
            "tag": self.tag,
            "digest": str(self.digest),
            "namespace": str(self.namespace),
            "actor": self.namespace.actor,
            "artifact": str(self.name),
            "platform": str(slot.platform) if slot else None,
            "generation": slot.generation.called if slot else None,
            "size": self.content.size,
            "created": rfc3339(self.content.created),
            "fleet": self.content.fleet,
            "revision": self.content.revision,
            "state": fate.value,
        }


def slot_of(namespace: Namespace, artifact: str, tag: str) -> Slot | None:
    """The inverse of `Slot.tag`; None for any other tag."""
    generation = next((g for g in Generation if g and tag.endswith(g)), Generation.LATEST)
    try:
        platform = Platform.parse(tag.removesuffix(generation).replace("-", "/"))
    except ValueError:
        return None
    slot = Slot(namespace, artifact, platform, generation)
    return slot if slot.tag == tag else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a cache. `age` in seconds, None if nothing tells; `at_most` as long as something does."""

    cache: FoundCache
    fate: Fate
    age: float | None = None
    at_most: float | None = None

    def to_json(self) -> dict[str, Any]:
        """One entry of cache_list.json."""
        return self.cache.to_json(self.fate)


@dataclass(frozen=True, slots=True)
class Cupboard:
    """One registry that was looked at. Without a `catalog` only caches that follow from directives were looked for;
    None if it could not be asked."""

    host: str
    catalog: bool | None
    provider: RegistryProvider | None = None

    def to_json(self) -> dict[str, Any]:
        """One entry of `registries`."""
        return {
            "host": self.host,
            "provider": self.provider.value if self.provider else None,
            "catalog": self.catalog,
        }


@dataclass(frozen=True, slots=True)
class Caches:
    """What was found, in the order of registries, namespaces, artifacts and tags. `unread` is why not all of it could
    be; nothing is removed from there. `unrecognised` are repositories where caches lie that are no cache's by their
    name: nobody knows whose they are, and nothing touches them."""

    found: tuple[FoundCache, ...] = ()
    cupboards: tuple[Cupboard, ...] = ()
    unread: tuple[Problem, ...] = ()
    unrecognised: tuple[Repository, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CacheList:
    """What `lian cache ls` tells. `problems` is why some of it is not known."""

    fleet: str
    revision: str
    caches: Caches
    verdicts: tuple[Verdict, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The document of `lian cache ls --json`."""
        return {
            "kind": "cache_list",
            "version": 1,
            "fleet": self.fleet,
            "revision": self.revision,
            "registries": [cupboard.to_json() for cupboard in self.caches.cupboards],
            "caches": [verdict.to_json() for verdict in self.verdicts],
            "unrecognised": [str(repository) for repository in self.caches.unrecognised],
            "problems": [problem.to_json() for problem in (*self.problems, *self.caches.unread)],
            "notes": [*self.notes, *self.caches.notes],
        }


@dataclass(frozen=True, slots=True)
class CachePlan:
    """All that would go. With `problems` nothing goes at all."""

    fleet: str
    revision: str
    caches: Caches = field(default_factory=Caches)
    verdicts: tuple[Verdict, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    refs: Mapping[str, str] = field(default_factory=dict)
    """The refs that were kept -> the commits they named."""

    @property
    def going(self) -> tuple[Verdict, ...]:
        """What goes."""
        return tuple(verdict for verdict in self.verdicts if verdict.fate.goes)

    @property
    def ours(self) -> int:
        """How many caches of the fleet were looked at."""
        return sum(verdict.fate is not Fate.KEPT_FOREIGN for verdict in self.verdicts)

    @property
    def kept(self) -> Mapping[Fate, int]:
        """Why -> how many stay for it."""
        counts = Counter(verdict.fate for verdict in self.verdicts)
        return {fate: counts[fate] for fate in Fate if counts[fate] and not fate.goes}

    def to_json(self, ends: Iterable[CacheEnd] | None = None) -> dict[str, Any]:
        """The document of `lian cache prune --json`; `ends` where it was carried out."""
        became = None if ends is None else {end.repository: end for end in ends}
        return {
            "kind": "cache_prune",
            "version": 1,
            "fleet": self.fleet,
            "revision": self.revision,
            "registries": [cupboard.to_json() for cupboard in self.caches.cupboards],
            "summary": {
                "caches": len(self.going),
                "size": size_of(verdict.cache for verdict in self.going),
                "freed": freed(self.verdicts),
                "kept": {fate.value: number for fate, number in self.kept.items()},
            },
            "caches": [{**verdict.to_json(), "outcome": _outcome(verdict, became)} for verdict in self.going],
            "unrecognised": [str(repository) for repository in self.caches.unrecognised],
            "problems": [problem.to_json() for problem in self._told(became)],
            "notes": [*self.notes, *self.caches.notes],
        }

    def _told(self, became: Mapping[Repository, CacheEnd] | None) -> Iterable[Problem]:
        ended = (problem for end in (became or {}).values() for problem in end.problems)
        return dict.fromkeys((*self.problems, *self.caches.unread, *ended))


class CacheStatus(StrEnum):
    """How an upkeep ended in one repository."""

    DONE = "done"
    HELD = "held"
    """Something could not be read there any more."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class CacheEnd:
    """What became of one repository: tags that are gone, and tags `spared` because someone has written there."""

    repository: Repository
    status: CacheStatus
    removed: tuple[str, ...] = ()
    spared: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


def _outcome(verdict: Verdict, became: Mapping[Repository, CacheEnd] | None) -> str | None:
    end = became.get(verdict.cache.repository) if became is not None else None
    if end is None:
        return None
    if verdict.cache.tag in end.removed:
        return "removed"
    return "spared" if verdict.cache.tag in end.spared else end.status.value


# -- how much


Blob: TypeAlias = "tuple[Repository | str, Digest]"
"""Content, with the place that holds it once."""


def blobs_of(cache: FoundCache) -> dict[Blob, int]:
    """What a cache takes in its registry. A registry over HTTP keeps a blob once for all repositories, a folder on disk
    keeps it for each."""
    repository = cache.repository
    where = repository if repository.layout is not None else repository.host
    return {(where, digest): size for digest, size in cache.content.blobs.items()}


def size_of(caches: Iterable[FoundCache]) -> int:
    """Bytes, each blob once."""
    blobs: dict[Blob, int] = {}
    for cache in caches:
        blobs |= blobs_of(cache)
    return sum(blobs.values())


def freed(verdicts: Iterable[Verdict]) -> int:
    """Bytes of what goes and no cache that stays needs."""
    going: dict[Blob, int] = {}
    staying: set[Blob] = set()
    for verdict in verdicts:
        if verdict.fate.goes:
            going |= blobs_of(verdict.cache)
        else:
            staying.update(blobs_of(verdict.cache))
    return sum(size for blob, size in going.items() if blob not in staying)
