"""Writing to any registry that speaks the OCI distribution specification 1.1."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.manifest import Descriptor, Manifest
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference
from reconciler.ports.publisher import PullFrom, PushTo
from reconciler.providers.registry import problems, referrers
from reconciler.providers.registry.distribution.calls import DIGEST_HEADER, manifest_call
from reconciler.providers.registry.distribution.copying import Copying
from reconciler.providers.registry.distribution.fallback import FallbackLists
from reconciler.providers.registry.distribution.registry import DistributionRegistry
from reconciler.providers.registry.distribution.uploads import Uploads
from reconciler.providers.registry.distribution.writes import put_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository
    from reconciler.ports.publisher import Destination, Origin
    from reconciler.providers.registry.http.transport import Transport


class DistributionPublisher:
    """The port Publisher over HTTP. Reads through a DistributionRegistry on the same transport."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._host = transport.endpoint.host
        self._registry = DistributionRegistry(transport)
        self._uploads = Uploads(transport)
        self._lists = FallbackLists(transport)

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

    async def copy(self, source: Repository, target: Repository, digest: Digest) -> Manifest:
        """See the port. What is there already is not sent. Raises LianError `manifest-unknown`, `blob-unknown`, …"""
        if source.host != target.host:
            raise ValueError(f"{source} and {target} are not on one registry")
        there = await self._registry.look(target, digest)
        if there.root is not None and not there.missing:
            return there.root
        at_once = self._transport.connections
        await Copying(source, target, self._registry, self._uploads, self._put, at_once).bring(digest)
        return await self._whole(target, digest)

    async def publish(
        self,
        repository: Repository,
        manifest: Manifest,
        *,
        tags: Sequence[str] = (),
        blobs: Mapping[Digest, bytes] | None = None,
    ) -> Descriptor:
        """See the port. Raises LianError `registry-refused`, `registry-wrong-digest`, `tag-not-moved`, …

        A manifest of blobs that are there is not put by digest first: to put it under a tag puts it by digest too.
        """
        for digest, data in (blobs or {}).items():
            await self._uploads.put(repository, digest, data)
        if blobs or not tags or referrers.subject_of(manifest) is not None:
            await self._put(repository, manifest)
        for tag in tags:
            await put_manifest(self._transport, repository, manifest, tag)
            await self._confirm(repository, manifest, tag)
        return Descriptor.of(manifest.media_type, manifest.data)

    async def _whole(self, repository: Repository, digest: Digest) -> Manifest:
        """The manifest, read back, with everything below it in place. Raises LianError."""
        found = await self._registry.look(repository, digest)
        if found.root is None or found.missing:
            raise LianError(problems.lacking(self._host, repository.path, found.manifests, found.blobs))
        return found.root

    async def _put(self, repository: Repository, manifest: Manifest) -> None:
        """By digest; a referrer is listed where the registry does not say that it keeps the list."""
        reply = await put_manifest(self._transport, repository, manifest, str(manifest.digest))
        subject = referrers.subject_of(manifest)
        if subject is not None and not reply.headers.get("oci-subject"):
            await self._lists.enter(repository, subject, manifest)

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
