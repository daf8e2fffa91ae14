"""Blobs on their way out of a registry over HTTP, a part at a time (RFC 9110, "Range Requests")."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import quote

from reconciler.model.problem import LianError
from reconciler.ports.registry import BLOB_UNKNOWN
from reconciler.providers.registry import problems
from reconciler.providers.registry.distribution.calls import ABSENT_BLOB_CODES, content_range
from reconciler.providers.registry.http.transport import Call

if TYPE_CHECKING:
    from reconciler.model.manifest import Descriptor
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.http.reply import Reply
    from reconciler.providers.registry.http.transport import Transport

PART = 4 << 20
"""Bytes asked for at a time."""
MAX_UNDIVIDED = 64 << 20
"""Bytes of a blob that a registry gives only as a whole."""


class BlobReader:
    """Reads a blob in parts, each verified as far as a part can be; what was read in order is hashed on the way."""

    def __init__(self, transport: Transport, repository: Repository, blob: Descriptor) -> None:
        self._transport, self._repository, self._blob = transport, repository, blob
        self._hash, self._hashed = hashlib.new(blob.digest.algorithm), 0
        self._all: bytes | None = None
        """The whole content, from a registry that gives no parts."""

    @property
    def divides(self) -> bool:
        """False once the registry has answered with the whole content where a part was asked for."""
        return self._all is None

    async def read(self, at: int, length: int) -> bytes:
        """Exactly these bytes, hashed. Raises LianError as `look` does."""
        data = await self.look(at, length)
        self.take(at, data)
        return data

    async def look(self, at: int, length: int) -> bytes:
        """Exactly these bytes. Raises LianError `blob-unknown`, `registry-wrong-digest`, `content-too-large`, …"""
        data = b""
        while len(data) < length:
            data += await self._part(at + len(data), min(length - len(data), PART))
        return data

    def take(self, at: int, data: bytes) -> None:
        """Hash these bytes, as far as they follow on what was hashed before."""
        if at <= self._hashed < at + len(data):
            self._hash.update(memoryview(data)[self._hashed - at :])
            self._hashed = at + len(data)

    def check(self) -> None:
        """Raises LianError `registry-wrong-digest` unless the whole content was read and has the blob's digest."""
        if self._hashed != self._blob.size or self._hash.hexdigest() != self._blob.digest.hex:
            raise self._wrong("the bytes have another digest")

    async def _part(self, at: int, length: int) -> bytes:
        if self._all is not None:
            return self._all[at : at + length]
        target = f"/v2/{quote(self._repository.path)}/blobs/{self._blob.digest}"
        wanted = {"range": f"bytes={at}-{at + length - 1}"}
        reply = await self._transport.send(
            Call("GET", target, self._repository.path, headers=wanted, limit=MAX_UNDIVIDED)
        )
        if reply.status == 404 and ABSENT_BLOB_CODES.intersection(reply.codes):
            raise LianError(problems.missing(BLOB_UNKNOWN, self._host, self._what))
        if reply.status == 200:
            return self._whole(reply)[at : at + length]
        part = content_range(reply)
        if reply.status != 206 or part is None or part.total is None or reply.truncated:
            raise LianError(problems.not_oci(self._host, self._what, reply.told))
        if part.total != self._blob.size:
            raise self._wrong(f"it has {part.total} bytes, not {self._blob.size}")
        if part.first != at or not 0 < len(reply.body) <= length:
            raise LianError(problems.not_oci(self._host, self._what, "it returned another part than was asked for"))
        return reply.body

    def _whole(self, reply: Reply) -> bytes:
        if reply.truncated:
            what = f"{self._what} comes only as a whole, and"
            raise LianError(problems.too_large(self._host, what, MAX_UNDIVIDED))
        if len(reply.body) != self._blob.size:
            raise self._wrong(f"it has {len(reply.body)} bytes, not {self._blob.size}")
        self._all = reply.body
        return reply.body

    def _wrong(self, cause: str) -> LianError:
        return LianError(problems.wrong_digest(self._host, self._what, cause))

    @property
    def _host(self) -> str:
        return self._transport.endpoint.host

    @property
    def _what(self) -> str:
        return f"{self._repository.path}@{self._blob.digest}"
