"""Is an image complete? From its root downwards, level by level; of blobs only whether they exist is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reconciler.model.parts import below

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor, Manifest

MAX_DEPTH = 4
"""Of indexes inside indexes."""
MAX_MANIFESTS = 1000
"""Of one image: an index is a small document that can make its reader ask without end."""
_AT_ONCE = 16
"""Manifests that are in memory at a time."""


class Shelf(Protocol):
    """Where the parts of images of one repository lie. Raises LianError for what cannot be found out."""

    async def manifests(self, digests: Sequence[Digest]) -> Sequence[Manifest | None]:
        """Each of them, None for one that is certainly absent."""
        ...

    async def holds(self, blobs: Sequence[Descriptor]) -> Sequence[bool]:
        """Whether there is such a blob, of that size."""
        ...


@dataclass(frozen=True, slots=True)
class Whole:
    """`root` is the image's own manifest, None if it is absent; then come the manifests and the blobs that are
    absent, in the order in which they are named."""

    root: Manifest | None
    manifests: tuple[Digest, ...]
    blobs: tuple[Digest, ...]

    @property
    def missing(self) -> tuple[Digest, ...]:
        """All that is absent."""
        return self.manifests + self.blobs


async def look(shelf: Shelf, root: Digest) -> Whole:
    """Each digest is asked for once. Raises ValueError for manifests that cannot be followed, and what `shelf` does."""
    top: Manifest | None = None
    seen: set[Digest] = set()
    absent: list[Digest] = []
    blobs: dict[Digest, Descriptor] = {}
    level, depth = [root], 0
    while level:
        seen.update(level)
        if depth > MAX_DEPTH or len(seen) > MAX_MANIFESTS:
            raise ValueError("its indexes nest too deep, or name too much")
        children: dict[Digest, None] = {}
        for at in range(0, len(level), _AT_ONCE):
            some = level[at : at + _AT_ONCE]
            for digest, manifest in zip(some, await shelf.manifests(some), strict=True):
                if manifest is None:
                    absent.append(digest)
                    continue
                top = manifest if digest == root else top
                parts = below(manifest)
                blobs |= {blob.digest: blob for blob in parts.blobs}
                children |= dict.fromkeys(child.digest for child in parts.manifests)
        level, depth = [child for child in children if child not in seen], depth + 1
    there = await shelf.holds(tuple(blobs.values()))
    gone = tuple(digest for digest, held in zip(blobs, there, strict=True) if not held)
    return Whole(top, tuple(absent), gone)
