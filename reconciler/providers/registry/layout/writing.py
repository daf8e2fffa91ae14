"""What all who change an image layout share: its locks, putting small blobs, and changing the index."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.manifest import Descriptor
from reconciler.model.problem import LianError
from reconciler.providers.registry import referrers
from reconciler.providers.registry.layout import durable
from reconciler.providers.registry.layout.folder import BLOBS, INDEX, LOCK, MARK, WRITERS, LayoutFolder, folder_of
from reconciler.providers.registry.layout.index import LayoutIndex
from reconciler.providers.registry.layout.registry import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.layout.sweep import Sweeper

_MARK = b'{"imageLayoutVersion":"1.0.0"}\n'
PATIENCE = 60.0
"""Seconds to wait for others. An index is changed within milliseconds; putting a large image may take longer."""


@contextlib.contextmanager
def putting(folder: LayoutFolder) -> Iterator[None]:
    """As long as it lasts nobody removes blobs: from the first that is looked for to the entry that reaches them."""
    with durable.locked(folder.path / WRITERS, PATIENCE, shared=True):
        yield


@contextlib.contextmanager
def removing(folder: LayoutFolder) -> Iterator[None]:
    """As long as it lasts nobody puts blobs."""
    with durable.locked(folder.path / WRITERS, PATIENCE):
        yield


@contextlib.contextmanager
def changing(folder: LayoutFolder) -> Iterator[None]:
    """As long as it lasts nobody else changes the index. What cannot be read becomes LianError `registry-damaged`."""
    with durable.locked(folder.path / LOCK, PATIENCE), unreadable(folder):
        yield


def prepared(root: Path, repository: Repository) -> LayoutFolder:
    """The repository's layout, made if need be. The index comes before the mark that makes it a layout, so that a
    marked layout without index is never an unfinished one."""
    if not root.exists():
        durable.make_folder(root)
        durable.write(root / ".gitignore", b"*\n", root)
    folder = LayoutFolder(folder_of(root, repository))
    durable.make_folder(folder.path / BLOBS / "sha256")
    if not (folder.path / MARK).exists():
        with changing(folder):
            if not (folder.path / INDEX).exists():
                durable.write(folder.path / INDEX, LayoutIndex.empty().to_bytes(), folder.path)
                durable.sync_folder(folder.path)
            durable.write(folder.path / MARK, _MARK, folder.path)
            durable.sync_folder(folder.path)
    durable.sweep(folder.path)
    return folder


def put(folder: LayoutFolder, digest: Digest, data: bytes) -> None:
    """A small blob; one that is there and whole stays, a damaged one is replaced."""
    if folder.holds_verified(digest, len(data)):
        return
    target = Path(folder.blob_path(digest))
    durable.make_folder(target.parent)
    durable.write(target, data, folder.path)


def save(folder: LayoutFolder, old: LayoutIndex, new: LayoutIndex) -> None:
    """Replace the index, after all it names is on disk (also what another writer has just put there)."""
    if new is old:
        return
    for algorithm in (folder.path / BLOBS).iterdir():
        durable.sync_folder(algorithm)
    durable.write(folder.path / INDEX, new.to_bytes(), folder.path)
    durable.sync_folder(folder.path)


def listing(folder: LayoutFolder, index: LayoutIndex, subject: Digest, new: Descriptor) -> LayoutIndex:
    """The index with a referrer in the fallback list too, which tools other than lian look at; entries that fall out of
    that list leave the index with it."""
    before = _listed(folder, index, subject)
    after = referrers.merged(before, new)
    dropped = {str(e.get("digest")) for e in before} - {str(e.get("digest")) for e in after}
    return _with_list(folder, index, subject, after).without(dropped)


def unlisting(folder: LayoutFolder, index: LayoutIndex, subject: Digest, digest: Digest) -> LayoutIndex:
    """The index without that referrer in the fallback list; the list goes with its last entry."""
    before = _listed(folder, index, subject)
    after = referrers.without(before, digest)
    return index if len(after) == len(before) else _with_list(folder, index, subject, after)


def retiring(folder: LayoutFolder, old: LayoutIndex, new: LayoutIndex, tag: str) -> LayoutIndex:
    """The new index, in which a document of lian's own that the tag has left does not stay for good, as images do."""
    for left in {d.digest for d in old.tagged({tag}).values()}:
        if _is_own_document(folder, left):
            new = new.retired(str(left), tag)
    return new


def tidy(folder: LayoutFolder, left: LayoutIndex, sweeper: Sweeper) -> None:
    """Remove what the index `left` named and the present one does not reach, unless others are at work here: then it
    is for the next to do. A damaged layout is not tidied; whoever reads it is told."""
    with durable.unless_locked(folder.path / WRITERS) as alone, contextlib.suppress(LianError):
        if alone:
            with changing(folder):
                index = folder.index()
                if index is not None:
                    sweeper.plan(folder, index, left.dropped(index)).carry_out()


def _is_own_document(folder: LayoutFolder, digest: Digest) -> bool:
    """False also for what is damaged: it stays, as all does that is not known."""
    try:
        manifest = folder.manifest(digest)
    except LianError:
        return False
    return manifest is not None and referrers.is_own_document(manifest)


def _listed(folder: LayoutFolder, index: LayoutIndex, subject: Digest) -> list[dict[str, object]]:
    tag = referrers.fallback_tag(subject)
    listed = index.tagged({tag}).get(tag)
    fallback = folder.manifest(listed.digest) if listed else None
    return referrers.entries_of(fallback) if fallback else []


def _with_list(
    folder: LayoutFolder, index: LayoutIndex, subject: Digest, entries: list[dict[str, object]]
) -> LayoutIndex:
    """The index with this fallback list in place of the one before it; none for no entries."""
    tag = referrers.fallback_tag(subject)
    before = {str(d.digest) for d in index.tagged({tag}).values()}
    if not entries:
        return index.untagged(tag).without(before)
    manifest = referrers.index_of(entries)
    put(folder, manifest.digest, manifest.data)
    moved = index.pointing((tag,), Descriptor.of(manifest.media_type, manifest.data))
    return moved.without(before - {str(manifest.digest)})
