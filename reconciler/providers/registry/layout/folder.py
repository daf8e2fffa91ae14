"""Reading one OCI image layout (image-spec, image-layout.md): the folder of one repository."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.model.manifest import ACCEPTED, IMAGE_INDEX, IMAGE_MANIFEST, MAX_MANIFEST, Manifest, layers_in
from reconciler.model.problem import LianError
from reconciler.providers.registry import problems
from reconciler.providers.registry.layout.index import LayoutIndex

if TYPE_CHECKING:
    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository

INDEX, MARK, BLOBS = "index.json", "oci-layout", "blobs"
LOCK, WRITERS = ".lian.lock", ".lian.writers"
"""Held by who changes the index, and by who puts blobs (shared) or takes them away; see sweep.py."""
_OWN_NAMES = frozenset({INDEX, MARK, BLOBS})
MAX_INDEX = 256 << 20


def folder_of(root: Path, repository: Repository) -> Path:
    """Where a repository's layout lies. A part of its path that is one of a layout's own names gets a `_` in front,
    which no repository path can have, so that `a` and `a/blobs` never meet."""
    return root.joinpath(*(f"_{part}" if part in _OWN_NAMES else part for part in repository.path.split("/")))


@dataclass(frozen=True, slots=True)
class LayoutFolder:
    """One layout. Everything here blocks; OSError is passed on, damage is a LianError `registry-damaged`."""

    path: Path

    def index(self) -> LayoutIndex | None:
        """The layout's index, None if there is no layout. One whose index is gone or unreadable is damaged."""
        try:
            data = _read(f"{self.path}/{INDEX}", MAX_INDEX)
        except FileNotFoundError:
            if (self.path / MARK).exists():
                raise self._damaged(f"{INDEX} is missing") from None
            return None
        if data is None:
            raise self._damaged(f"{INDEX} is larger than {MAX_INDEX:,} bytes")
        try:
            return LayoutIndex.parse(data)
        except ValueError as error:
            raise self._damaged(f"{INDEX} cannot be read: {error}") from error

    def blob(self, digest: Digest, limit: int) -> bytes | None:
        """The content, verified; None if it is not there. Raises LianError `content-too-large` beyond `limit` bytes."""
        try:
            data = _read(self.blob_path(digest), limit)
        except FileNotFoundError:
            return None
        if data is None:
            raise LianError(problems.too_large(str(self.path), str(digest), limit))
        if not digest.matches(data):
            raise self._damaged(f"the bytes of blob {digest} have another digest")
        return data

    def manifest(self, digest: Digest) -> Manifest | None:
        """The manifest with this digest, None if it is not there or the content is something else."""
        data = self.blob(digest, MAX_MANIFEST)
        if data is None:
            return None
        try:
            document = Manifest("", data).document
        except (ValueError, RecursionError):
            return None
        kind = _media_type(document)
        return Manifest(kind, data) if kind else None

    def blob_path(self, digest: Digest) -> str:
        """Where content lies."""
        return f"{self.path}/{BLOBS}/{digest.algorithm}/{digest.hex}"

    def holds(self, digest: Digest, size: int) -> bool:
        """True if there is a blob of this size; its content is not read."""
        try:
            return Path(self.blob_path(digest)).stat().st_size == size
        except FileNotFoundError:
            return False

    def holds_verified(self, digest: Digest, size: int) -> bool:
        """True if there is a blob of this size whose bytes have the digest."""
        if not self.holds(digest, size):
            return False
        with Path(self.blob_path(digest)).open("rb") as reader:
            return hashlib.file_digest(reader, digest.algorithm).hexdigest() == digest.hex

    def _damaged(self, cause: str) -> LianError:
        return LianError(problems.damaged(self.path, cause))


def _media_type(document: dict[str, Any]) -> str | None:
    """The `mediaType` a manifest states, else (it may be left out) what its parts tell; None for no manifest."""
    stated = document.get("mediaType")
    if stated is not None:
        return stated if stated in ACCEPTED else None
    if isinstance(document.get("manifests"), list):
        return IMAGE_INDEX
    return None if layers_in(document) is None else IMAGE_MANIFEST


def _read(path: str, limit: int) -> bytes | None:
    """A whole file by one call where that is enough; None if it is larger than `limit` bytes."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        size = os.fstat(handle).st_size
        if size > limit:
            return None
        data = os.read(handle, size + 1)
        while len(data) < size and (more := os.read(handle, size + 1 - len(data))):
            data += more
        return data
    finally:
        os.close(handle)
