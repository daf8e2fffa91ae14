"""Port: content of registries that is too large to be held in memory, as files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.manifest import Descriptor
    from reconciler.model.reference import Repository


class BlobFiles(Protocol):
    """Brings blobs of registries to disk and back. Memory does not grow with them."""

    async def fetch(self, repository: Repository, blob: Descriptor, into: Path) -> None:
        """Write the blob to `into`, which must not exist. No more than its size is ever written, and nothing is left
        unless its bytes have its digest. Raises LianError BLOB_UNKNOWN if it is certainly absent, `disk-full`, and as
        `Registry.manifest` does."""
        ...

    async def store(self, repository: Repository, file: Path, media_type: str) -> Descriptor:
        """Put the file's content, unless it is there already. The file must not be changed any more: a registry on
        disk may keep it itself. What is put stays for a while without a manifest that names it. Raises LianError as
        `Publisher.publish` does."""
        ...
