"""Large blobs as files, in a registry that is a folder on disk."""

from __future__ import annotations

import contextlib
import hashlib
import os
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.finishing import in_thread
from reconciler.model.problem import LianError
from reconciler.ports.registry import BLOB_UNKNOWN
from reconciler.providers.registry import problems
from reconciler.providers.registry.files import CHUNK, described, made
from reconciler.providers.registry.layout import durable
from reconciler.providers.registry.layout.folder import LayoutFolder, folder_of
from reconciler.providers.registry.layout.registry import told
from reconciler.providers.registry.layout.writing import prepared, putting

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import BinaryIO

    from reconciler.model.manifest import Descriptor
    from reconciler.model.reference import Repository


class LayoutBlobFiles:
    """The port BlobFiles on disk. `root` holds the repositories' folders."""

    def __init__(self, root: Path) -> None:
        self._root = root

    async def fetch(self, repository: Repository, blob: Descriptor, into: Path) -> None:
        """See the port. Raises LianError `blob-unknown`, `registry-damaged`, `disk-full`, …"""
        await in_thread(lambda going_on: self._fetch(repository, blob, into, going_on))

    async def store(self, repository: Repository, file: Path, media_type: str) -> Descriptor:
        """See the port: a hard link where the file system has them. Raises LianError `disk-full`, …"""
        return await in_thread(lambda going_on: self._store(repository, file, media_type, going_on))

    def _fetch(self, repository: Repository, blob: Descriptor, into: Path, going_on: Callable[[], None]) -> None:
        folder = LayoutFolder(folder_of(self._root, repository))
        with contextlib.ExitStack() as stack:
            with told(self._root):
                try:
                    reader = stack.enter_context(Path(folder.blob_path(blob.digest)).open("rb"))
                except FileNotFoundError:
                    what = f"{repository.path}@{blob.digest}"
                    raise LianError(problems.missing(BLOB_UNKNOWN, str(self._root), what)) from None
            writer = stack.enter_context(made(into))
            if not _copied(partial(self._read, reader), blob, writer, going_on):
                cause = f"the bytes of blob {blob.digest} have another digest"
                raise LianError(problems.damaged(folder.path, cause))

    def _read(self, reader: BinaryIO, length: int) -> bytes:
        with told(self._root):
            return reader.read(length)

    def _store(self, repository: Repository, file: Path, media_type: str, going_on: Callable[[], None]) -> Descriptor:
        blob = described(file, media_type, going_on)
        with told(self._root):
            folder = prepared(self._root, repository)
            target = Path(folder.blob_path(blob.digest))
            with putting(folder):
                if folder.holds_verified(blob.digest, blob.size):
                    _renew(target)
                else:
                    durable.adopt(file, target, folder.path)
                    durable.sync_folder(target.parent)
        return blob


def _copied(read: Callable[[int], bytes], blob: Descriptor, writer: BinaryIO, going_on: Callable[[], None]) -> bool:
    """Copy the blob, no more than its size; False if it is not what its descriptor says."""
    seen, left = hashlib.new(blob.digest.algorithm), blob.size
    while left and (data := read(min(left, CHUNK))):
        going_on()
        seen.update(data)
        writer.write(data)
        left -= len(data)
    return not left and not read(1) and seen.hexdigest() == blob.digest.hex


def _renew(path: Path) -> None:
    """What nothing names yet is young again, so that no sweep takes it before it is named."""
    with contextlib.suppress(OSError):
        os.utime(path)
