"""Port: writing to registries, and where a builder puts and finds what it exchanges with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor, Manifest
    from reconciler.model.reference import Repository


@dataclass(frozen=True, slots=True)
class PushTo:
    """The builder pushes by digest itself; `plain` means plain HTTP."""

    repository: Repository
    plain: bool


@dataclass(frozen=True, slots=True)
class WriteLayout:
    """The builder writes an OCI image layout into this folder, and the publisher takes it in from there."""

    folder: Path


@dataclass(frozen=True, slots=True)
class PullFrom:
    """A builder pulls `repository@digest` over HTTP(S)."""

    repository: Repository
    plain: bool


@dataclass(frozen=True, slots=True)
class ReadLayout:
    """A builder reads the image from this OCI image layout."""

    folder: Path


Destination: TypeAlias = "PushTo | WriteLayout"
Origin: TypeAlias = "PullFrom | ReadLayout"

NOT_MOVED = "tag-not-moved"
"""Code of the problem."""


class Publisher(Protocol):
    """What lian writes to registries. Every write is idempotent."""

    def destination(self, repository: Repository, scratch: Path) -> Destination:
        """Where a builder puts an image of this repository; `scratch` is a folder of its own for that build."""
        ...

    def origin(self, repository: Repository) -> Origin:
        """Where a builder finds an image that stands in this repository."""
        ...

    async def take_in(self, repository: Repository, destination: Destination, digest: Digest) -> Manifest:
        """Bring what the builder left at `destination` into the repository, read it back by digest, compare, and
        return it. Raises LianError if the registry does not hold exactly that content."""
        ...

    async def copy(self, source: Repository, target: Repository, digest: Digest) -> Manifest:
        """Bring an image of `source` into `target`, a repository of the same registry: blobs mounted where the
        registry does that, else transferred; children before their index; everything verified. Points no tag at it.
        Raises LianError as `take_in` does."""
        ...

    async def publish(
        self,
        repository: Repository,
        manifest: Manifest,
        *,
        tags: Sequence[str] = (),
        blobs: Mapping[Digest, bytes] | None = None,
    ) -> Descriptor:
        """Put the small `blobs` (those not there yet), then the manifest by digest, then point each tag at it, in
        order. A manifest with a `subject` is also entered in the referrers fallback tag where the registry has no
        referrers API. Raises LianError, NOT_MOVED for a tag that reads back as something else: the registry has lost
        it, or someone moved it in the same moment; tags already moved stay moved."""
        ...
