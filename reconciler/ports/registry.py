"""Ports: registries. Reading and publishing are apart, so that `lian diff` never holds what can write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor, Manifest
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Reference, Repository


class Registry(Protocol):
    """What lian reads of registries. Content is verified against its digest before it is returned."""

    async def heads(self, references: Collection[Reference]) -> Mapping[Reference, Sighting]:
        """What each reference names now, asked in bulk; every reference gets an answer, Unknown if need be."""
        ...

    async def manifest(self, repository: Repository, digest: Digest) -> Manifest:
        """Raises LianError if it is absent, unreadable, or its bytes do not have the digest."""
        ...

    async def blob(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        """At most `limit` bytes. Raises LianError as `manifest` does, and if the blob is larger."""
        ...

    async def referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> Sequence[Descriptor]:
        """Manifests of this type (None: of any) that refer to `subject`: the referrers API, else the fallback tag
        (distribution-spec 1.1, "Unavailable Referrers API"). Raises LianError if neither could be read."""
        ...

    async def missing(self, repository: Repository, digest: Digest) -> tuple[Digest, ...]:
        """What is not there of this image: itself, the manifests of an index, configs and layers. Only their
        existence is asked for, never their content. Raises LianError for what could not be found out."""
        ...

    async def verified(self, repository: Repository, blob: Descriptor) -> bool:
        """Whether the bytes of a blob have its digest and its size. All are read, however many, a part at a time.
        Raises LianError `blob-unknown` if it is not there, and as `manifest` does."""
        ...


class Inventory(Protocol):
    """What a registry holds as a whole. Not every registry tells."""

    async def repositories(self, host: str) -> tuple[str, ...]:
        """The paths of all repositories that may be seen, sorted. Raises LianError `catalog-unsupported` where the
        registry has no catalogue (or not for this account), and as `Registry.manifest` does."""
        ...

    async def tags_of(self, repository: Repository) -> Mapping[str, Digest]:
        """Every tag and what it points at, as of now; empty for a repository that is not there. Raises LianError if
        a single one could not be read: a list with holes would make what is wanted look unwanted."""
        ...

    async def all_names(self, repositories: Collection[Repository]) -> Mapping[Repository, tuple[str, ...]]:
        """The names of all tags, where it does not matter what they point at: fewer requests than `all_tags`. Raises
        LianError if a single list could not be read."""
        ...

    async def all_tags(self, repositories: Collection[Repository]) -> Mapping[Repository, Mapping[str, Digest]]:
        """`tags_of` for many repositories, asked in bulk where the registry can."""
        ...


@dataclass(frozen=True, slots=True)
class Able:
    """What a registry can do beyond what every registry can; None: not known, since only a write would tell."""

    referrers: bool | None = None
    """It keeps the lists of referrers by itself (distribution-spec 1.1, "Listing Referrers")."""
    search: bool | None = None
    """It tells all repositories, tags and digests in one request."""
    deletes: bool | None = None


class Abilities(Protocol):
    """Knows what registries can do."""

    async def of(self, repository: Repository) -> Able:
        """Of the registry that the repository is on, found out with no more than pull; more can be told of one that
        is there. Raises LianError if it cannot be asked."""
        ...


class Remover(Protocol):
    """Takes things away. Every call is idempotent: what is not there is gone."""

    async def untag(self, repository: Repository, tag: str) -> None:
        """Remove one tag; what it pointed at stays, with its other tags. Raises LianError `registry-refused` where
        the registry does not let itself be deleted from."""
        ...

    async def delete(self, repository: Repository, digest: Digest) -> None:
        """Remove a manifest, and with it all tags that point at it; the entry of a referrer in the fallback list
        goes with it. Raises LianError as `untag` does."""
        ...


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
