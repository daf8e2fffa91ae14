"""Reading any registry that speaks the OCI distribution specification 1.1."""

from __future__ import annotations

import asyncio
import json
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin

from reconciler.model.digest import Digest
from reconciler.model.manifest import ACCEPTED, Manifest
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference
from reconciler.providers.registry import problems, referrers, whole
from reconciler.providers.registry.distribution_shelf import DistributionShelf
from reconciler.providers.registry.reply import MAX_MANIFEST
from reconciler.providers.registry.transport import Call

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from reconciler.model.manifest import Descriptor
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.lane import Lane
    from reconciler.providers.registry.reply import Reply
    from reconciler.providers.registry.transport import Transport
    from reconciler.providers.registry.whole import Whole

ACCEPT = {"accept": ", ".join(ACCEPTED)}
DIGEST_HEADER = "docker-content-digest"
_ABSENT_CODES = frozenset({"MANIFEST_UNKNOWN", "NAME_UNKNOWN"})
_NEXT = re.compile(r"<(?P<url>[^>]*)>\s*;[^,]*\brel\s*=\s*\"?next\b")
_MAX_PAGES = 100


class DistributionRegistry:
    """The port Registry over HTTP; it never asks for more than pull."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._host = transport.endpoint.host

    async def aclose(self) -> None:
        """End all connections."""
        await self._transport.aclose()

    async def heads(self, references: Collection[Reference]) -> Mapping[Reference, Sighting]:
        """See the port. A few connections, each asking one thing after the other."""
        wanted = dict.fromkeys(references)
        queue = iter(wanted)
        answers: dict[Reference, Sighting] = {}
        async with asyncio.TaskGroup() as group:
            for _ in range(min(self._transport.connections, len(wanted))):
                group.create_task(self._work(queue, answers))
        return {reference: answers[reference] for reference in wanted}

    async def manifest(self, repository: Repository, digest: Digest) -> Manifest:
        """See the port. Raises LianError `manifest-unknown`, `registry-wrong-digest`, `content-too-large`, …"""
        reference = Reference(repository, digest=digest)
        found = await self.fetch(reference)
        if found is None:
            raise LianError(problems.missing("manifest-unknown", self._host, f"{repository.path}@{digest}"))
        return found

    async def blob(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        """See the port. Raises LianError `blob-unknown`, `registry-wrong-digest`, `content-too-large`, …"""
        what = f"{repository.path}@{digest}"
        target = _path(repository, "blobs", str(digest))
        reply = await self._transport.send(Call("GET", target, repository.path, limit=limit))
        if reply.status == 404 and reply.codes:
            raise LianError(problems.missing("blob-unknown", self._host, what))
        if reply.status != 200:
            raise LianError(problems.not_oci(self._host, what, reply.told))
        if reply.truncated:
            raise LianError(problems.too_large(self._host, what, limit))
        if not digest.matches(reply.body):
            raise LianError(problems.wrong_digest(self._host, what, "the bytes have another digest"))
        return reply.body

    async def referrers(self, repository: Repository, subject: Digest, artifact_type: str) -> Sequence[Descriptor]:
        """See the port. Raises LianError if neither the API nor the fallback tag could be read."""
        entries = await self._listed(repository, subject, artifact_type)
        if entries is None:
            fallback = await self.fetch(Reference(repository, referrers.fallback_tag(subject)))
            entries = self._entries(repository, fallback) if fallback else []
        try:
            return referrers.selected(entries, artifact_type)
        except ValueError as error:
            raise LianError(problems.not_oci(self._host, f"the referrers of {subject}", str(error))) from error

    async def missing(self, repository: Repository, digest: Digest) -> tuple[Digest, ...]:
        """See the port. Raises LianError `registry-not-oci` and others for what could not be found out."""
        return (await self.look(repository, digest)).missing

    async def look(self, repository: Repository, digest: Digest) -> Whole:
        """`missing`, with the image's own manifest."""
        try:
            return await whole.look(DistributionShelf(self._transport, repository, self.fetch), digest)
        except ValueError as error:
            raise LianError(problems.not_oci(self._host, f"{repository.path}@{digest}", str(error))) from error

    async def fetch(self, reference: Reference) -> Manifest | None:
        """What the reference names, verified; None if it is certainly absent. Raises LianError."""
        what = f"{reference.repository.path} {reference.name}"
        reply = await self._transport.send(manifest_call("GET", reference))
        if reply.status == 404 and _ABSENT_CODES.intersection(reply.codes):
            return None
        if reply.status != 200 or (not reply.truncated and reply.media_type not in ACCEPTED):
            raise LianError(problems.not_oci(self._host, what, reply.told))
        if reply.truncated:
            raise LianError(problems.too_large(self._host, f"the manifest {what}", MAX_MANIFEST))
        found = Manifest(reply.media_type, reply.body)
        self._verify(reference, reply, found)
        return found

    def _verify(self, reference: Reference, reply: Reply, found: Manifest) -> None:
        what = f"{reference.repository.path} {reference.name}"
        if reference.digest and not reference.digest.matches(found.data):
            raise LianError(problems.wrong_digest(self._host, what, f"its bytes have the digest {found.digest}"))
        told = _digest(reply)
        if told and not told.matches(found.data):
            raise LianError(problems.wrong_digest(self._host, what, f"it says {told}, its bytes have {found.digest}"))

    async def _work(self, queue: Iterator[Reference], answers: dict[Reference, Sighting]) -> None:
        async with self._transport.lane() as lane:
            for reference in queue:
                try:
                    quick = await self._quick(lane, reference) if lane else None
                    answers[reference] = quick or await self._sighting(reference)
                except LianError as error:
                    answers[reference] = Unknown(error.problems[0])

    async def _quick(self, lane: Lane, reference: Reference) -> Sighting | None:
        """The plain cases, on the lane: there, or absent with a reason."""
        reply = await self._transport.quick(lane, manifest_call("HEAD", reference))
        if reply is not None and reply.status == 404:
            reply = await self._transport.quick(lane, manifest_call("GET", reference))
            absent = reply is not None and reply.status == 404 and _ABSENT_CODES.intersection(reply.codes)
            return ABSENT if absent else None
        return self._seen(reference, reply) if reply is not None else None

    async def _sighting(self, reference: Reference) -> Sighting:
        """Every other case: patience, authentication, redirects, registries that say too little on HEAD."""
        reply = await self._transport.send(manifest_call("HEAD", reference))
        if reply.status == 200 and (seen := self._seen(reference, reply)):
            return seen
        found = await self.fetch(reference)
        if found is None:
            return ABSENT
        digest = reference.digest or found.digest
        return Found(digest, found.media_type, len(found.data))

    def _seen(self, reference: Reference, reply: Reply) -> Sighting | None:
        """What a HEAD says; None if it says too little, and the bytes must be looked at."""
        digest = _digest(reply)
        if digest is None or reply.media_type not in ACCEPTED:
            return None
        if reference.digest and digest.algorithm != reference.digest.algorithm:
            return None
        if reference.digest and digest != reference.digest:
            what = f"{reference.repository.path} {reference.name}"
            return Unknown(problems.wrong_digest(self._host, what, f"it says {digest}"))
        size = reply.headers.get("content-length", "")
        return Found(digest, reply.media_type, int(size) if size.isascii() and size.isdigit() else 0)

    async def _listed(
        self, repository: Repository, subject: Digest, artifact_type: str
    ) -> list[dict[str, object]] | None:
        """All pages of the referrers API, None where the registry has none.

        Some answer with a redirect to a web page or with HTML instead of 404: all that is not the index is a no.
        """
        target = _path(repository, "referrers", str(subject)) + f"?artifactType={quote(artifact_type, safe='')}"
        entries: list[dict[str, object]] = []
        for _ in range(_MAX_PAGES):
            reply = await self._transport.send(Call("GET", target, repository.path, headers=ACCEPT, follow=False))
            page = _index(reply)
            if page is None:
                return None
            entries += page
            link = _NEXT.search(reply.headers.get("link", ""))
            if not link:
                return entries
            target = urljoin(target, link["url"])
        cause = f"its list has more than {_MAX_PAGES} pages"
        raise LianError(problems.not_oci(self._host, f"the referrers of {subject}", cause))

    def _entries(self, repository: Repository, fallback: Manifest) -> list[dict[str, object]]:
        try:
            return referrers.entries_of(fallback)
        except ValueError as error:
            raise LianError(problems.not_oci(self._host, f"the referrers in {repository.path}", str(error))) from error


def manifest_call(method: str, reference: Reference) -> Call:
    """Asks for a manifest, with all media types lian reads: without OCI's own, some registries answer 404."""
    path = _path(reference.repository, "manifests", reference.name)
    return Call(method, path, reference.repository.path, headers=ACCEPT)


def _path(repository: Repository, kind: str, name: str) -> str:
    return f"/v2/{quote(repository.path)}/{kind}/{quote(name, safe=':')}"


def _digest(reply: Reply) -> Digest | None:
    try:
        return Digest.parse(reply.headers.get(DIGEST_HEADER, "").strip())
    except ValueError:
        return None


def _index(reply: Reply) -> list[dict[str, object]] | None:
    if reply.status != 200 or reply.truncated:
        return None
    try:
        entries = json.loads(reply.body)["manifests"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    return entries if isinstance(entries, list) and all(isinstance(e, dict) for e in entries) else None
