"""Reading any registry that speaks the OCI distribution specification 1.1."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import quote

from reconciler.model.manifest import ACCEPTED, MAX_MANIFEST, Manifest
from reconciler.model.observed import Found, Unknown
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference
from reconciler.ports.registry import BLOB_UNKNOWN, MANIFEST_UNKNOWN
from reconciler.providers.registry import problems, referrers, whole
from reconciler.providers.registry.bounded import each
from reconciler.providers.registry.distribution.bulk_heads import in_bulk
from reconciler.providers.registry.distribution.calls import (
    ABSENT_BLOB_CODES,
    ABSENT_CODES,
    ACCEPT,
    manifest_call,
    next_page,
    path,
    told_digest,
)
from reconciler.providers.registry.distribution.hashing import Hashing
from reconciler.providers.registry.distribution.heads import Heads
from reconciler.providers.registry.distribution.shelf import DistributionShelf
from reconciler.providers.registry.http.transport import Call

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.http.reply import Reply
    from reconciler.providers.registry.http.transport import Transport
    from reconciler.providers.registry.whole import Whole

_MAX_PAGES = 100
_MAX_LOOKED_AT = 500
"""Referrers of one image whose list does not say what they are: each costs a request."""


class DistributionRegistry:
    """The port Registry over HTTP; it never asks for more than pull."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._host = transport.endpoint.host
        self._heads = Heads(transport, self.fetch)

    async def aclose(self) -> None:
        """End all connections."""
        await self._transport.aclose()

    async def heads(self, references: Collection[Reference]) -> Mapping[Reference, Sighting]:
        """See the port. From the registry's list where it has one, else on a few connections, one after the other."""
        wanted = dict.fromkeys(references)
        self._transport.expect(reference.repository.path for reference in wanted)
        listed = await in_bulk(self._heads, wanted)
        asked = await self._heads.each([reference for reference in wanted if reference not in listed])
        return {reference: listed.get(reference) or asked[reference] for reference in wanted}

    async def manifest(self, repository: Repository, digest: Digest) -> Manifest:
        """See the port. Raises LianError `manifest-unknown`, `registry-wrong-digest`, `content-too-large`, …"""
        reference = Reference(repository, digest=digest)
        found = await self.fetch(reference)
        if found is None:
            raise LianError(problems.missing(MANIFEST_UNKNOWN, self._host, f"{repository.path}@{digest}"))
        return found

    async def blob(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        """See the port. Raises LianError `blob-unknown`, `registry-wrong-digest`, `content-too-large`, …"""
        what = f"{repository.path}@{digest}"
        target = path(repository, "blobs", str(digest))
        reply = await self._transport.send(Call("GET", target, repository.path, limit=limit))
        if reply.status == 404 and ABSENT_BLOB_CODES.intersection(reply.codes):
            raise LianError(problems.missing(BLOB_UNKNOWN, self._host, what))
        if reply.status != 200:
            raise LianError(problems.not_oci(self._host, what, reply.told))
        if reply.truncated:
            raise LianError(problems.too_large(self._host, what, limit))
        if not digest.matches(reply.body):
            raise LianError(problems.wrong_digest(self._host, what, "the bytes have another digest"))
        return reply.body

    async def referrers(
        self, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> Sequence[Descriptor]:
        """See the port. Raises LianError if neither the API nor the fallback tag could be read."""
        entries = await self._listed(repository, subject, artifact_type)
        if entries is None:
            fallback = await self.fetch(Reference(repository, referrers.fallback_tag(subject)))
            entries = self._entries(repository, fallback) if fallback else []
        try:
            named, unsaid = referrers.selected(entries, artifact_type), referrers.unsaid(entries)
        except ValueError as error:
            raise LianError(problems.not_oci(self._host, f"the referrers of {subject}", str(error))) from error
        looked_at = await self._looked_at(repository, unsaid)
        wanted = (d for d in looked_at if artifact_type is None or d.artifact_type == artifact_type)
        return named + tuple(d for d in wanted if d not in named)

    async def missing(self, repository: Repository, digest: Digest) -> tuple[Digest, ...]:
        """See the port. Raises LianError `registry-not-oci` and others for what could not be found out."""
        found = await self.look(repository, digest)
        if found.root is None:
            await self._agreed(Reference(repository, digest=digest))
        return found.missing

    async def verified(self, repository: Repository, blob: Descriptor) -> bool:
        """See the port."""
        return await Hashing(self._transport, repository).verified(blob)

    async def look(self, repository: Repository, digest: Digest) -> Whole:
        """`missing`, with the image's own manifest."""
        try:
            return await whole.look(DistributionShelf(self._transport, repository, self.fetch), digest)
        except ValueError as error:
            raise LianError(problems.not_oci(self._host, f"{repository.path}@{digest}", str(error))) from error

    async def _agreed(self, absent: Reference) -> None:
        """A manifest is gone if a HEAD does not find it either: whoever names it in the header of one question and
        denies it to the next is not to be built upon. Raises LianError."""
        head = (await self._heads.each([absent]))[absent]
        if isinstance(head, Unknown):
            raise LianError(head.problem)
        if isinstance(head, Found):
            what = f"{absent.repository.path}@{absent.digest}"
            raise LianError(
                problems.wrong_digest(self._host, what, "it answers HEAD as if it were there, and GET with 404")
            )

    async def fetch(self, reference: Reference) -> Manifest | None:
        """What the reference names, verified; None if it is certainly absent. Raises LianError."""
        what = f"{reference.repository.path} {reference.name}"
        reply = await self._transport.send(manifest_call("GET", reference))
        if reply.status == 404 and ABSENT_CODES.intersection(reply.codes):
            return None
        if reply.status != 200 or (not reply.truncated and reply.media_type not in ACCEPTED):
            raise LianError(problems.not_oci(self._host, what, reply.told))
        if reply.truncated:
            raise LianError(problems.too_large(self._host, f"the manifest {what}", MAX_MANIFEST))
        found = Manifest(reply.media_type, reply.body)
        self._verify(reference, reply, found)
        return found

    async def _looked_at(self, repository: Repository, digests: Sequence[Digest]) -> list[Descriptor]:
        """What these manifests say of themselves; one that is gone says nothing. Raises LianError."""
        if len(digests) > _MAX_LOOKED_AT:
            cause = f"of {len(digests)} artifacts its list does not say what they are"
            raise LianError(problems.not_oci(self._host, f"the referrers in {repository.path}", cause))
        references = [Reference(repository, digest=digest) for digest in digests]
        found = await each(references, self.fetch, self._transport.connections)
        return [d for manifest in found if manifest and (d := referrers.described(manifest))]

    def _verify(self, reference: Reference, reply: Reply, found: Manifest) -> None:
        what = f"{reference.repository.path} {reference.name}"
        if reference.digest and not reference.digest.matches(found.data):
            raise LianError(problems.wrong_digest(self._host, what, f"its bytes have the digest {found.digest}"))
        told = told_digest(reply)
        if told and not told.matches(found.data):
            raise LianError(problems.wrong_digest(self._host, what, f"it says {told}, its bytes have {found.digest}"))

    async def _listed(
        self, repository: Repository, subject: Digest, artifact_type: str | None
    ) -> list[dict[str, object]] | None:
        """All pages of the referrers API, None where the registry has none.

        Some answer with a redirect to a web page or with HTML instead of 404: a first answer that is not the index is
        a no. A later one, or one that is too large, is unknown.
        """
        asked = "" if artifact_type is None else f"?artifactType={quote(artifact_type, safe='')}"
        target = path(repository, "referrers", str(subject)) + asked
        entries: list[dict[str, object]] = []
        for _ in range(_MAX_PAGES):
            reply = await self._transport.send(
                Call("GET", target, repository.path, headers=ACCEPT, follow=False, optional=True)
            )
            page = _index(reply)
            if page is None and not entries and not reply.truncated:
                return None
            if page is None:
                cause = f"a page of its list cannot be read: {reply.told}"
                raise LianError(problems.not_oci(self._host, f"the referrers of {subject}", cause))
            entries += page
            following = next_page(reply, target)
            if following is None:
                return entries
            target = following
        cause = f"its list has more than {_MAX_PAGES} pages"
        raise LianError(problems.not_oci(self._host, f"the referrers of {subject}", cause))

    def _entries(self, repository: Repository, fallback: Manifest) -> list[dict[str, object]]:
        try:
            return referrers.entries_of(fallback)
        except ValueError as error:
            raise LianError(problems.not_oci(self._host, f"the referrers in {repository.path}", str(error))) from error


def _index(reply: Reply) -> list[dict[str, object]] | None:
    if reply.status != 200 or reply.truncated:
        return None
    try:
        entries = json.loads(reply.body)["manifests"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return entries if isinstance(entries, list) and all(isinstance(e, dict) for e in entries) else None
