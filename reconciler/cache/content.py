"""What a cache in a registry says of itself: of which kind it is, how large, when it was written, and for whom.

BuildKit writes its layers as an image manifest with a config of its own, and lian notes on it when, for which commit
and by which fleet. What was put there by others, or cut off before lian could note anything, says less.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from reconciler.cache.notes import note_of
from reconciler.cache.vet import CONFIG
from reconciler.model.manifest import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest

MOUNTS_PREFIX = "application/vnd.lian.cache-mounts."
"""What the artifact types of saved cache mounts begin with."""
LAYER_TIME = "buildkit/createdat"
"""BuildKit's annotation of a layer: when it was made. The cache that holds it was written later."""
_SKEW = 300.0
"""Seconds that the clock of another machine may be ahead; what says it is younger than that says nothing."""


class CacheKind(StrEnum):
    """What a manifest in a cache's place is."""

    LAYERS = "layers"
    """BuildKit's cache."""
    MOUNTS = "mounts"
    """The folders of `RUN --mount=type=cache`."""
    STRANGE = "strange"
    """Neither."""
    LOST = "lost"
    """A tag names it, and it is not there."""


@dataclass(frozen=True, slots=True)
class CacheContent:
    """What stands in a cache's manifest. Times in Unix seconds."""

    kind: CacheKind
    blobs: Mapping[Digest, int] = field(default_factory=dict)
    """Bytes of the manifest and of everything that it names."""
    created: float | None = None
    """None if nothing tells."""
    after: float | None = None
    """It was written no earlier than this: its newest layer is from then."""
    fleet: str | None = None
    revision: str | None = None

    @classmethod
    def of(cls, manifest: Manifest) -> CacheContent:
        """Of any bytes: what cannot be understood is strange."""
        own = {manifest.digest: len(manifest.data)}
        try:
            document, note = manifest.document, note_of(manifest)
        except ValueError:
            return cls(CacheKind.STRANGE, own)
        named = list(_descriptors(document))
        times = [when for one in named if (when := moment(one.annotations.get(LAYER_TIME))) is not None]
        return cls(
            _kind(document),
            own | {one.digest: one.size for one in named},
            moment(note.created),
            max(times, default=None),
            note.fleet or None,
            note.revision or None,
        )

    @property
    def size(self) -> int:
        """Bytes, each blob once."""
        return sum(self.blobs.values())

    def age(self, now: float) -> float | None:
        """In seconds; None if nothing tells, or what tells is still to come."""
        return _since(self.created, now)

    def at_most(self, now: float) -> float | None:
        """It is no older than this."""
        known = self.age(now)
        return _since(self.after, now) if known is None else known


def moment(text: str | None) -> float | None:
    """Unix seconds of a time as ISO 8601 has it, with its offset (RFC 3339 and a little more); None for anything
    else."""
    try:
        parsed = datetime.fromisoformat(text or "")
        return parsed.timestamp() if parsed.tzinfo else None
    except (ValueError, OverflowError):
        return None


def rfc3339(seconds: float | None) -> str | None:
    """The inverse of `moment`; None for what is no date."""
    try:
        return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return None


def _since(then: float | None, now: float) -> float | None:
    """The year 1, and 1970, are what programs write that know no time."""
    if then is None or not math.isfinite(then) or not 0 < then <= now + _SKEW:
        return None
    return max(0.0, now - then)


def _kind(document: Mapping[str, Any]) -> CacheKind:
    """By its config. With other settings BuildKit writes an index, in which the config is one of the manifests."""
    config, children, artifact = (document.get(part) for part in ("config", "manifests", "artifactType"))
    described = [config, *(children if isinstance(children, list) else ())]
    if any(isinstance(one, dict) and one.get("mediaType") == CONFIG for one in described):
        return CacheKind.LAYERS
    if isinstance(artifact, str) and artifact.startswith(MOUNTS_PREFIX):
        return CacheKind.MOUNTS
    return CacheKind.STRANGE


def _descriptors(document: Mapping[str, Any]) -> Iterator[Descriptor]:
    """What it names, as far as that can be understood."""
    lists = [part if isinstance(part := document.get(name), list) else [] for name in ("layers", "manifests")]
    for one in [document.get("config"), *lists[0], *lists[1]]:
        try:
            if isinstance(one, dict):
                yield Descriptor.from_json(one)
        except ValueError:
            continue
