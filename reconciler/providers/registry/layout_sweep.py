"""Removing content from an image layout that nothing in its index reaches.

What has to be kept apart, and how:

* A writer puts blobs first and the entry that reaches them last, and a blob that is there already it does not put
  again. Between the two nothing tells that the blobs are wanted, and no age does: the blob that is reused may be years
  old. So every writer shares the lock WRITERS from before it looks for its first blob until its entry is written, and
  whoever removes blobs has that lock alone: then there is no such writer. A kernel lock ends with its holder, so one
  that is killed leaves nothing behind but blobs.
* Both take WRITERS first and the index's LOCK second, and nobody waits for WRITERS who holds LOCK, so they never wait
  for each other in a circle. LOCK is what keeps the index as it was read until it is replaced.
* Other tools take no lock. A blob that nothing reaches is therefore left alone until it is old enough that no upload
  can still be under way (`grace`, by the later of its two times: a hard link renews the inode's, not the content's).
  That does not hold for what was reached by the manifest that is being deleted: that is wanted away now.
* A reader takes no lock either. Manifests go before what they name, so it never meets an image whose layers are gone;
  and an index that names a manifest which has just gone is read once more (layout.py).
* A manifest that is damaged may name anything: as long as one is reached, nothing is removed.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.model.digest import Digest
from reconciler.model.manifest import parse
from reconciler.model.problem import LianError
from reconciler.providers.registry import durable
from reconciler.providers.registry.layout_folder import BLOBS
from reconciler.providers.registry.reply import MAX_MANIFEST

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.providers.registry.layout_folder import LayoutFolder
    from reconciler.providers.registry.layout_index import LayoutIndex

GRACE = 3600.0
"""Seconds within which an upload of another tool is over."""
_NO_CONTENT = frozenset({"subject", "annotations"})
"""Members of a manifest whose digests name nothing that belongs to it."""


@dataclass(slots=True)
class _Reached:
    """What some manifests reach, in the order of reaching: parents come first. `leaves` were not read."""

    manifests: dict[Digest, None] = field(default_factory=dict)
    leaves: dict[Digest, None] = field(default_factory=dict)

    def __contains__(self, digest: Digest) -> bool:
        return digest in self.manifests or digest in self.leaves


@dataclass(frozen=True, slots=True)
class Sweep:
    """What may go; each part of `steps` only after the one before it."""

    folder: LayoutFolder
    steps: tuple[tuple[Digest, ...], ...]

    @classmethod
    def planned(
        cls, folder: LayoutFolder, index: LayoutIndex, leaving: Iterable[Digest], grace: float = GRACE
    ) -> Sweep:
        """What only the manifests `leaving` reach once the layout has this index, and what nothing has reached for
        `grace` seconds. The caller has the layout for itself: WRITERS, then LOCK, until this is carried out.

        Raises LianError `registry-damaged` for a layout that cannot be read.
        """
        kept = _reached(folder, _digests(entry.get("digest") for entry in index.entries), forgiving=False)
        going = _reached(folder, leaving, forgiving=True)
        steps = (going.manifests, going.leaves, dict.fromkeys(_older(folder, grace)))
        return cls(folder, tuple(tuple(digest for digest in step if digest not in kept) for step in steps))

    def carry_out(self) -> None:
        """Durably step by step; what has gone meanwhile is gone."""
        for step in self.steps:
            touched = set()
            for digest in step:
                path = Path(self.folder.blob_path(digest))
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    touched.add(path.parent)
            for parent in touched:
                durable.sync_folder(parent)


def _reached(folder: LayoutFolder, starts: Iterable[Digest], *, forgiving: bool) -> _Reached:
    """The starts and all that they name, down to the last.

    Documents of unknown kinds are followed too: whatever looks like a descriptor in them names content. What is not
    there names nothing; what is damaged raises LianError unless that is `forgiving`.
    """
    found = _Reached()
    level = list(dict.fromkeys(starts))
    while level:
        children: dict[Digest, None] = {}
        for digest in level:
            document = _document(folder, digest, forgiving=forgiving)
            if document is None:
                found.leaves[digest] = None
                continue
            found.manifests[digest] = None
            found.leaves |= dict.fromkeys(_named(document))
            children |= dict.fromkeys(_named(document.get("manifests")))
        level = [digest for digest in children if digest not in found.manifests]
    found.leaves = {digest: None for digest in found.leaves if digest not in found.manifests}
    return found


def _document(folder: LayoutFolder, digest: Digest, *, forgiving: bool) -> dict[str, Any] | None:
    """None for what is not there, and for what is no document."""
    try:
        data = folder.blob(digest, MAX_MANIFEST)
    except LianError as error:
        if forgiving or error.problems[0].code == "content-too-large":
            return None
        raise
    try:
        document = parse(data) if data is not None else None
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _named(document: Any) -> Iterator[Digest]:
    """The digests of all descriptors in it."""
    waiting = [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            yield from _digests([part.get("digest")])
            waiting += [value for name, value in part.items() if name not in _NO_CONTENT]
        elif isinstance(part, list):
            waiting += part


def _digests(texts: Iterable[object]) -> Iterator[Digest]:
    """As far as they are digests."""
    for text in texts:
        if isinstance(text, str):
            with contextlib.suppress(ValueError):
                yield Digest.parse(text)


def _older(folder: LayoutFolder, grace: float) -> Iterator[Digest]:
    """The blobs of which no time is younger than that."""
    limit = time.time() - grace
    for kind in (folder.path / BLOBS).iterdir():
        for path in kind.iterdir():
            state = path.stat()
            if max(state.st_mtime, state.st_ctime) <= limit:
                yield from _digests([f"{kind.name}:{path.name}"])
