"""Large blobs as files, over HTTP."""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from reconciler.finishing import in_thread
from reconciler.model.problem import LianError
from reconciler.providers.registry import problems
from reconciler.providers.registry.distribution.reading import PART, BlobReader
from reconciler.providers.registry.distribution.uploads import Uploads
from reconciler.providers.registry.files import described, made

if TYPE_CHECKING:
    from pathlib import Path
    from typing import BinaryIO

    from reconciler.model.manifest import Descriptor
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.http.transport import Transport


class DistributionBlobFiles:
    """The port BlobFiles over HTTP."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._uploads = Uploads(transport)

    async def fetch(self, repository: Repository, blob: Descriptor, into: Path) -> None:
        """See the port. Raises LianError `blob-unknown`, `registry-wrong-digest`, `disk-full`, …"""
        reader = BlobReader(self._transport, repository, blob)
        with made(into) as file:
            await self._read(reader, blob.size, file)
            reader.check()

    async def store(self, repository: Repository, file: Path, media_type: str) -> Descriptor:
        """See the port. Raises LianError `registry-refused`, …"""
        blob = await in_thread(partial(described, file, media_type))
        await self._uploads.send(repository, blob, lambda: _FileContent(file))
        return blob

    async def _read(self, reader: BlobReader, size: int, file: BinaryIO) -> None:
        """The first part tells whether there are parts; of the others a few are on their way at a time."""
        at_once = 1
        ahead: deque[asyncio.Task[bytes]] = deque()
        done = asked = 0
        try:
            while done < size:
                while asked < size and len(ahead) < at_once:
                    ahead.append(asyncio.create_task(reader.look(asked, min(PART, size - asked))))
                    asked += PART
                data = await ahead.popleft()
                await asyncio.to_thread(_take, reader, done, data, file)
                done += len(data)
                at_once = self._transport.connections if reader.divides else 1
        finally:
            for task in ahead:
                task.cancel()
            await asyncio.gather(*ahead, return_exceptions=True)


@dataclass(frozen=True, slots=True)
class _FileContent:
    file: Path

    async def read(self, at: int, length: int) -> bytes:
        return await asyncio.to_thread(self._read, at, length)

    def check(self) -> None:
        """The registry does, by the digest."""

    def _read(self, at: int, length: int) -> bytes:
        try:
            with self.file.open("rb", buffering=0) as reader:
                reader.seek(at)
                return reader.read(length)
        except OSError as error:
            raise LianError(problems.unread(self.file, error)) from error


def _take(reader: BlobReader, at: int, data: bytes, file: BinaryIO) -> None:
    reader.take(at, data)
    file.write(data)
