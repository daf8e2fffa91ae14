"""Port: reading registries. Publishing is another (publisher.py), so that `lian diff` never holds what can write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor, Manifest
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Reference, Repository


MANIFEST_UNKNOWN, BLOB_UNKNOWN = "manifest-unknown", "blob-unknown"
"""Codes of problems: a manifest or a blob that is certainly absent."""
GONE = frozenset({MANIFEST_UNKNOWN, BLOB_UNKNOWN})
DOWN = frozenset({"registry-busy", "registry-failing", "registry-unreachable"})
"""Codes of problems of a registry as a whole, which may be over soon."""
REST_SECONDS = 10.0
"""A registry that was DOWN several times in a row is asked nothing for so long: every answer is that problem then."""


class Registry(Protocol):
    """What lian reads of registries. Content is verified against its digest before it is returned."""

    async def heads(self, references: Collection[Reference]) -> Mapping[Reference, Sighting]:
        """What each reference names now, asked in bulk; every reference gets an answer, Unknown if need be. Where they
        are of several repositories a registry's own list may answer, which can be a little behind; where all are of
        one, each is asked for by itself: so it is safe to act upon."""
        ...

    async def manifest(self, repository: Repository, digest: Digest) -> Manifest:
        """Raises LianError if it is absent (MANIFEST_UNKNOWN; a tag may still name it), unreadable, or its bytes do not
        have the digest."""
        ...

    async def blob(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        """At most `limit` bytes. Raises LianError as `manifest` does (BLOB_UNKNOWN), and if the blob is larger."""
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
        Raises LianError BLOB_UNKNOWN if it is not there, and as `manifest` does."""
        ...
