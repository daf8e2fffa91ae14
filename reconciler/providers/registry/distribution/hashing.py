"""Whether the bytes of a blob are what its digest says. They are read a part at a time (RFC 9110, "Range Requests"), so
that memory does not grow with the blob, and a connection that breaks costs one part."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.manifest import MAX_MANIFEST
from reconciler.model.problem import LianError
from reconciler.ports.registry import BLOB_UNKNOWN
from reconciler.providers.registry import problems
from reconciler.providers.registry.distribution.calls import ABSENT_BLOB_CODES, content_range, path
from reconciler.providers.registry.http.transport import Call

if TYPE_CHECKING:
    from reconciler.model.manifest import Descriptor
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.http.reply import Reply
    from reconciler.providers.registry.http.transport import Transport

PART = MAX_MANIFEST
"""Bytes. More of an answer that is a part the client does not read."""
MAX_UNDIVIDED = 64 << 20
"""Bytes of a blob that a registry gives only as a whole."""


@dataclass(frozen=True, slots=True)
class Hashing:
    """Reads blobs of one repository over HTTP."""

    transport: Transport
    repository: Repository

    async def verified(self, blob: Descriptor) -> bool:
        """See the port. Raises LianError `blob-unknown`, `content-too-large`, `registry-not-oci`, …"""
        if blob.size == 0:  # no part of nothing can be asked for
            return await self._undivided(blob, await self._get(blob, PART, {}))
        seen, at = hashlib.new(blob.digest.algorithm), 0
        while at < blob.size:
            reply = await self._part(blob, at)
            if reply.status == 416:  # it ends before that
                return False
            if reply.status == 200:
                return await self._undivided(blob, reply)
            if not self._continues(blob, reply, at):
                return False
            await asyncio.to_thread(seen.update, reply.body)
            at += len(reply.body)
        return seen.hexdigest() == blob.digest.hex

    async def _part(self, blob: Descriptor, at: int) -> Reply:
        last = min(at + PART, blob.size) - 1
        return await self._get(blob, PART, {"range": f"bytes={at}-{last}"})

    def _continues(self, blob: Descriptor, reply: Reply, at: int) -> bool:
        """False for a part of something of another size. Raises LianError for what is not the part asked for."""
        told = content_range(reply)
        if told is None or told.first != at or reply.truncated or not reply.body:
            raise self._unclear(blob, f"{reply.told}, and not the part that was asked for")
        return told.total in {None, blob.size}

    async def _undivided(self, blob: Descriptor, reply: Reply) -> bool:
        """A registry that knows no ranges gives all of it."""
        if reply.truncated and blob.size > PART:
            limit = min(blob.size, MAX_UNDIVIDED)
            reply = await self._get(blob, limit, {})
            if reply.truncated and limit < blob.size:
                what = f"{self.repository.path}@{blob.digest}, which it gives only as a whole,"
                raise LianError(problems.too_large(self.transport.endpoint.host, what, limit))
        return not reply.truncated and len(reply.body) == blob.size and blob.digest.matches(reply.body)

    async def _get(self, blob: Descriptor, limit: int, headers: dict[str, str]) -> Reply:
        target = path(self.repository, "blobs", str(blob.digest))
        reply = await self.transport.send(Call("GET", target, self.repository.path, headers=headers, limit=limit))
        if reply.status == 404 and ABSENT_BLOB_CODES.intersection(reply.codes):
            what = f"{self.repository.path}@{blob.digest}"
            raise LianError(problems.missing(BLOB_UNKNOWN, self.transport.endpoint.host, what))
        if reply.status not in {200, 206, 416} or reply.media_type == "text/html":  # a proxy's page is nobody's blob
            raise self._unclear(blob, reply.told)
        return reply

    def _unclear(self, blob: Descriptor, cause: str) -> LianError:
        what = f"the blob {self.repository.path}@{blob.digest}"
        return LianError(problems.not_oci(self.transport.endpoint.host, what, cause))
