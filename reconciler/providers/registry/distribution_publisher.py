"""Writing to any registry that speaks the OCI distribution specification 1.1."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING
from urllib.parse import quote, urljoin
from weakref import WeakValueDictionary

from reconciler.model.manifest import Descriptor, Manifest
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference
from reconciler.ports.registry import PullFrom, PushTo
from reconciler.providers.registry import problems, referrers
from reconciler.providers.registry.auth import PUSH
from reconciler.providers.registry.calls import DIGEST_HEADER, manifest_call
from reconciler.providers.registry.distribution import DistributionRegistry
from reconciler.providers.registry.transport import Call

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository
    from reconciler.ports.registry import Destination, Origin
    from reconciler.providers.registry.reply import Reply
    from reconciler.providers.registry.transport import Transport

_UPLOAD_TRIES = 3
_FALLBACK_TRIES = 5


class DistributionPublisher:
    """The port Publisher over HTTP. Reads through a DistributionRegistry on the same transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._host = transport.endpoint.host
        self._registry = DistributionRegistry(transport)
        self._locks: WeakValueDictionary[tuple[str, Digest], asyncio.Lock] = WeakValueDictionary()

    async def aclose(self) -> None:
        """End all connections."""
        await self._transport.aclose()

    def destination(self, repository: Repository, scratch: Path) -> Destination:
        """The builder pushes by itself."""
        return PushTo(repository, self._transport.endpoint.plain)

    def origin(self, repository: Repository) -> Origin:
        """The builder pulls by itself."""
        return PullFrom(repository, self._transport.endpoint.plain)

    async def take_in(self, repository: Repository, destination: Destination, digest: Digest) -> Manifest:
        """See the port: read back by digest, and everything below it is asked for. Raises LianError."""
        if not isinstance(destination, PushTo) or destination.repository != repository:
            raise TypeError(f"{destination} was not handed out for {repository}")
        return await self._whole(repository, digest)

    async def publish(
        self,
        repository: Repository,
        manifest: Manifest,
        *,
        tags: Sequence[str] = (),
        blobs: Mapping[Digest, bytes] | None = None,
    ) -> Descriptor:
        """See the port. Raises LianError `registry-refused`, `registry-wrong-digest`, `tag-not-moved`, …"""
        for digest, data in (blobs or {}).items():
            await self._put_blob(repository, digest, data)
        reply = await self._put_manifest(repository, manifest, str(manifest.digest))
        await self._list_referrer(repository, manifest, reply)
        for tag in tags:
            await self._put_manifest(repository, manifest, tag)
            await self._confirm(repository, manifest, tag)
        return Descriptor.of(manifest.media_type, manifest.data)

    async def _whole(self, repository: Repository, digest: Digest) -> Manifest:
        """The manifest, read back, with everything below it in place. Raises LianError."""
        found = await self._registry.look(repository, digest)
        if found.root is None or found.missing:
            raise LianError(problems.lacking(self._host, repository.path, found.manifests, found.blobs))
        return found.root

    async def _has_blob(self, repository: Repository, digest: Digest) -> bool:
        reply = await self._transport.send(self._call("HEAD", repository, f"blobs/{digest}"))
        if reply.status not in {200, 404}:
            raise LianError(problems.not_oci(self._host, f"{repository.path}@{digest}", reply.told))
        return reply.status == 200

    async def _put_blob(self, repository: Repository, digest: Digest, data: bytes) -> None:
        """Upload in one piece (distribution-spec, "POST then PUT"); a lost upload session starts over."""
        what = f"a blob of {repository.path}"
        if not digest.matches(data):
            raise ValueError(f"the bytes do not have the digest {digest}")
        if await self._has_blob(repository, digest):
            return
        for _ in range(_UPLOAD_TRIES):
            start = await self._transport.send(self._call("POST", repository, "blobs/uploads/", content=b""))
            location = start.headers.get("location")
            if start.status != 202 or not location:
                raise LianError(problems.refused(self._host, what, start.told))
            target = urljoin(start_target(repository), location)
            target += f"{'&' if '?' in target else '?'}digest={quote(str(digest), safe='')}"
            headers = {"content-type": "application/octet-stream"}
            reply = await self._transport.send(
                Call("PUT", target, repository.path, PUSH, headers=headers, content=data)
            )
            if reply.status == 201:
                return
            if reply.status not in {404, 416}:
                break
        raise LianError(problems.refused(self._host, what, reply.told))

    async def _put_manifest(self, repository: Repository, manifest: Manifest, name: str) -> Reply:
        headers = {"content-type": manifest.media_type}
        what = f"the manifest {repository.path} {name}"
        reply = await self._transport.send(
            self._call("PUT", repository, f"manifests/{name}", headers=headers, content=manifest.data)
        )
        if reply.status not in {200, 201}:
            raise LianError(problems.refused(self._host, what, reply.told))
        told = reply.headers.get(DIGEST_HEADER)
        if told is not None and told != str(manifest.digest):
            raise LianError(problems.wrong_digest(self._host, what, f"it stored {told}, not {manifest.digest}"))
        return reply

    async def _confirm(self, repository: Repository, manifest: Manifest, tag: str) -> None:
        """A registry may lose a push, or someone else may have moved the tag in the same moment."""
        reply = await self._transport.send(manifest_call("HEAD", Reference(repository, tag)))
        told = reply.headers.get(DIGEST_HEADER)
        if reply.status == 200 and told is None:
            found = await self._registry.fetch(Reference(repository, tag))
            told = str(found.digest) if found else None
        if reply.status != 200 or told != str(manifest.digest):
            now = told or reply.told
            raise LianError(problems.not_moved(f"{repository}:{tag}", str(manifest.digest), now))

    async def _list_referrer(self, repository: Repository, manifest: Manifest, put: Reply) -> None:
        subject = referrers.subject_of(manifest)
        if subject is None or put.headers.get("oci-subject"):
            return
        key = (repository.path, subject)
        lock = self._locks.setdefault(key, asyncio.Lock())
        async with lock:
            for _ in range(_FALLBACK_TRIES):
                if await self._enter(repository, subject, manifest):
                    return
        tag = f"{repository}:{referrers.fallback_tag(subject)}"
        raise LianError(problems.not_moved(tag, "the new referrer", "another writer's list, again and again"))

    async def _enter(self, repository: Repository, subject: Digest, manifest: Manifest) -> bool:
        """Write the fallback list with this referrer in it, and look whether it stayed there."""
        reference = Reference(repository, referrers.fallback_tag(subject))
        new = referrers.descriptor_of(manifest)
        fallback = await self._registry.fetch(reference)
        try:
            entries = referrers.entries_of(fallback) if fallback else []
        except ValueError as error:
            raise LianError(problems.not_oci(self._host, str(reference), str(error))) from error
        wanted = referrers.index_of(referrers.merged(entries, new))
        if fallback is None or wanted.data != fallback.data:
            await self._put_manifest(repository, wanted, reference.name)
        now = await self._registry.fetch(reference)
        return now is not None and any(e.get("digest") == str(new.digest) for e in referrers.entries_of(now))

    def _call(
        self,
        method: str,
        repository: Repository,
        rest: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Call:
        return Call(method, f"/v2/{quote(repository.path)}/{rest}", repository.path, PUSH, headers or {}, content)


def start_target(repository: Repository) -> str:
    """Where uploads start; a relative Location is relative to it."""
    return f"/v2/{quote(repository.path)}/blobs/uploads/"
