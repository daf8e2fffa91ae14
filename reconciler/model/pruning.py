"""What a prune announces before it removes anything from a repository, under the tag PRUNING_TAG.

A registry has no compare-and-swap. So whoever moves a tag first moves it and then reads the announcement; whoever
prunes first announces and then reads the tags again (ADR 032). At least one of the two sees the other: the pruner
spares what a tag has just come to, or the tagger sees that its image is about to go and puts it again.

Two prunes would overwrite one another's announcement. So a prune has a repository to itself: it puts a claim of its own
under CLAIM_PREFIX and its id, then lists the tags, and withdraws if it sees another's that is still good (ADR 047).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import packed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.manifest import Manifest

PRUNING_TAG = "lian-pruning"
CLAIM_PREFIX = "lian-pruning-"
PRUNING_TYPE = "application/vnd.lian.pruning.v1"
PRUNING_LAYER = "application/vnd.lian.pruning.v1+json"
VERSION = 1
_LATEST = 1 << 53
"""Seconds beyond this are no moment; a number may be too large to be one at all."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What will be removed: tags with what they point at, and images by digest. After `until` (Unix seconds) whoever
    announced it removes nothing more; an announcement of nothing withdraws the one before. One that stands although its
    time is over is that of a prune which did not come to its end: the next one of the same fleet takes it up."""

    tags: Mapping[str, Digest] = field(default_factory=dict)
    digests: frozenset[Digest] = frozenset()
    until: float = 0.0
    fleet: str = ""
    by: str = ""
    """The prune's id: it makes the documents of two prunes differ."""

    def threatens(self, tags: Collection[str], digests: Collection[Digest], now: float) -> bool:
        """True if one of these tags or manifests may be removed at this time."""
        if now >= self.until:
            return False
        return not (self.tags.keys().isdisjoint(tags) and self.digests.isdisjoint(digests))

    def to_json(self) -> dict[str, Any]:
        """The layer's document."""
        return {
            "kind": "pruning",
            "version": VERSION,
            "tags": {tag: str(digest) for tag, digest in sorted(self.tags.items())},
            "digests": sorted(map(str, self.digests)),
            "until": self.until,
            "fleet": self.fleet,
            "by": self.by,
        }

    @classmethod
    def from_json(cls, document: Any) -> Announcement:
        """Raises ValueError for anything that is not an announcement of a version known here."""
        try:
            if document["kind"] != "pruning" or document["version"] != VERSION:
                raise ValueError(f"not an announcement of version {VERSION}")
            until = document["until"]
            if isinstance(until, bool) or not isinstance(until, int | float) or not 0 <= until <= _LATEST:
                raise ValueError("not an announcement: `until` is no time")
            return cls(
                {str(tag): Digest.parse(digest) for tag, digest in document["tags"].items()},
                frozenset(Digest.parse(digest) for digest in document["digests"]),
                float(until),
                str(document.get("fleet") or ""),
                str(document.get("by") or ""),
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an announcement: {error}") from error

    def packed(self) -> tuple[Manifest, dict[Digest, bytes]]:
        """The manifest to put under PRUNING_TAG, and its blobs."""
        return packed(PRUNING_TYPE, PRUNING_LAYER, canonical(self.to_json()))
