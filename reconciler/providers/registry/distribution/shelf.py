"""Whether the parts of an image are there, asked of a registry over HTTP.

A HEAD says that a blob is there. That it is not there, only an error code says for certain, and a HEAD has no body for
it: so a 404 is asked again with GET, for a single byte. Seen: docker-registry 2.8 and zot answer that with BLOB_UNKNOWN
for a blob and for a repository that they do not have.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote

from reconciler.model.problem import LianError
from reconciler.model.reference import Reference
from reconciler.providers.registry import problems
from reconciler.providers.registry.bounded import each
from reconciler.providers.registry.distribution.calls import ABSENT_BLOB_CODES, content_range, told_digest
from reconciler.providers.registry.http.transport import Call

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor, Manifest
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.http.reply import Reply
    from reconciler.providers.registry.http.transport import Transport

_FIRST_BYTE = {"range": "bytes=0-0"}


@dataclass(frozen=True, slots=True)
class DistributionShelf:
    """The Shelf of one repository. `fetch` gives what a reference names, None if it is certainly absent."""

    transport: Transport
    repository: Repository
    fetch: Callable[[Reference], Awaitable[Manifest | None]]

    async def manifests(self, digests: Sequence[Digest]) -> Sequence[Manifest | None]:
        """See the protocol. Raises LianError."""
        references = [Reference(self.repository, digest=digest) for digest in digests]
        return await each(references, self.fetch, self.transport.connections)

    async def holds(self, blobs: Sequence[Descriptor]) -> Sequence[bool]:
        """See the protocol. Raises LianError."""
        return await each(blobs, self._holds, self.transport.connections)

    async def _holds(self, blob: Descriptor) -> bool:
        reply = await self._ask("HEAD", blob, {})
        if reply.status == 200 and _length(reply) in {None, blob.size}:
            return True
        if reply.status not in {200, 404}:
            raise self._unclear(blob, reply)
        return await self._holds_for_certain(blob)

    async def _holds_for_certain(self, blob: Descriptor) -> bool:
        """One byte is asked for. There are registries that know no ranges and send all: that much is not read. And
        there are proxies that send a page of their own: only an answer that names this blob tells its size."""
        reply = await self._ask("GET", blob, _FIRST_BYTE)
        if reply.status == 404 and ABSENT_BLOB_CODES.intersection(reply.codes):
            return False
        told = content_range(reply) if reply.status in {206, 416} else None
        if told and told.total is not None:
            return told.total == blob.size
        if reply.status == 200 and _length(reply) == blob.size:
            return True
        if reply.status == 200 and told_digest(reply) == blob.digest:
            return False
        raise self._unclear(blob, reply)

    async def _ask(self, method: str, blob: Descriptor, headers: dict[str, str]) -> Reply:
        target = f"/v2/{quote(self.repository.path)}/blobs/{blob.digest}"
        return await self.transport.send(Call(method, target, self.repository.path, headers=headers, limit=1))

    def _unclear(self, blob: Descriptor, reply: Reply) -> LianError:
        what = f"the blob {self.repository.path}@{blob.digest}"
        return LianError(problems.not_oci(self.transport.endpoint.host, what, reply.told))


def _length(reply: Reply) -> int | None:
    """Of the content, as far as it is told."""
    text = reply.headers.get("content-length", "").strip()
    return int(text) if text.isascii() and text.isdigit() and "content-encoding" not in reply.headers else None
