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
  and an index that names a manifest which has just gone is read once more (registry.py).
* A manifest that is damaged may name anything: as long as one is reached that was never read before, nothing is
  removed. What one names never changes, so it is read once.
"""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.model.digest import Digest
from reconciler.model.manifest import MAX_MANIFEST, parse
from reconciler.model.problem import LianError
from reconciler.providers.registry.layout import durable
from reconciler.providers.registry.layout.folder import BLOBS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.providers.registry.layout.folder import LayoutFolder
    from reconciler.providers.registry.layout.index import LayoutIndex

GRACE = 3600.0
"""Seconds within which an upload of another tool is over."""
_OFTEN = 0.1
"""The part of the grace after which a layout is looked through for what is old; what has waited so long can wait."""
_REMEMBERED = 100_000
"""Manifests whose content is known, at most."""
_NO_CONTENT = frozenset({"subject", "annotations"})
"""Members of a manifest whose digests name nothing that belongs to it."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """What may go; each part of `steps` only after the one before it."""

    folder: LayoutFolder
    steps: tuple[tuple[str, ...], ...]

    def carry_out(self) -> None:
        """Durably step by step; what has gone meanwhile is gone."""
        for step in self.steps:
            touched = set()
            for digest in step:
                path = Path(self.folder.blob_path(Digest.parse(digest)))
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
                    touched.add(path.parent)
            for parent in touched:
                durable.sync_folder(parent)


@dataclass(frozen=True, slots=True)
class _Content:
    """The digests that a manifest names, and those among them that are manifests again; digests are texts here, for
    there are many."""

    named: tuple[str, ...] = ()
    manifests: tuple[str, ...] = ()


@dataclass(slots=True)
class _Reached:
    """What some manifests reach, in the order of reaching: parents come first. `leaves` were not read."""

    manifests: dict[str, None] = field(default_factory=dict)
    leaves: dict[str, None] = field(default_factory=dict)


class Sweeper:
    """Plans sweeps of the layouts of one registry."""

    def __init__(self, grace: float = GRACE) -> None:
        self._grace = grace
        self._known: dict[str, _Content] = {}
        self._looked: dict[Path, float] = {}

    def plan(self, folder: LayoutFolder, index: LayoutIndex, leaving: Iterable[Digest]) -> Sweep:
        """What only the manifests `leaving` reach once the layout has this index, and now and then what nothing has
        reached for the time of grace. The caller has the layout for itself: WRITERS, then LOCK, until the sweep is
        carried out. Raises LianError `registry-damaged` for a layout that cannot be read."""
        if len(self._known) > _REMEMBERED:
            self._known.clear()
        starts = [digest for entry in index.entries if isinstance(digest := entry.get("digest"), str)]
        kept = self._reached(folder, starts, forgiving=False)
        going = self._reached(folder, map(str, leaving), forgiving=True)
        steps = (going.manifests, going.leaves, self._old(folder))
        keeping = kept.manifests.keys() | kept.leaves.keys()
        return Sweep(folder, tuple(tuple(digest for digest in step if digest not in keeping) for step in steps))

    def _reached(self, folder: LayoutFolder, starts: Iterable[str], *, forgiving: bool) -> _Reached:
        """The starts and all that they name, down to the last.

        Documents of unknown kinds are followed too: whatever looks like a descriptor in them names content. What is
        not there names nothing; what is damaged raises LianError unless that is `forgiving`.
        """
        found = _Reached()
        level = list(dict.fromkeys(starts))
        while level:
            children: dict[str, None] = {}
            for digest in level:
                content = self._content(folder, digest, forgiving=forgiving)
                if content is None:
                    found.leaves[digest] = None
                    continue
                found.manifests[digest] = None
                found.leaves |= dict.fromkeys(content.named)
                children |= dict.fromkeys(content.manifests)
            level = [digest for digest in children if digest not in found.manifests]
        found.leaves = {digest: None for digest in found.leaves if digest not in found.manifests}
        return found

    def _content(self, folder: LayoutFolder, digest: str, *, forgiving: bool) -> _Content | None:
        """None for what is not there, and for what is no document."""
        if (known := self._known.get(digest)) is not None:
            return known
        document = _document(folder, digest, forgiving=forgiving)
        if document is None:
            return None
        content = _Content(tuple(_named(document)), tuple(_named(document.get("manifests"))))
        self._known[digest] = content
        return content

    def _old(self, folder: LayoutFolder) -> tuple[str, ...]:
        """What is old enough to go, whether it is reached or not; nothing if that was looked for a moment ago."""
        now = time.monotonic()
        if now - self._looked.get(folder.path, -self._grace) < _OFTEN * self._grace:
            return ()
        self._looked[folder.path] = now
        return tuple(_older(folder, time.time() - self._grace))


def _document(folder: LayoutFolder, digest: str, *, forgiving: bool) -> dict[str, Any] | None:
    try:
        data = folder.blob(Digest.parse(digest), MAX_MANIFEST)
        document = parse(data) if data is not None else None
    except ValueError:
        return None
    except LianError as error:
        if forgiving or error.problems[0].code == "content-too-large":
            return None
        raise
    return document if isinstance(document, dict) else None


def _named(document: Any) -> Iterator[str]:
    """The digests of all descriptors in it."""
    waiting = [document]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            if _is_digest(part.get("digest")):
                yield part["digest"]
            waiting += [value for name, value in part.items() if name not in _NO_CONTENT]
        elif isinstance(part, list):
            waiting += part


def _older(folder: LayoutFolder, limit: float) -> Iterator[str]:
    """The blobs of which no time is younger than the limit."""
    for kind in (folder.path / BLOBS).iterdir():
        for path in kind.iterdir():
            digest, state = f"{kind.name}:{path.name}", path.stat()
            if max(state.st_mtime, state.st_ctime) <= limit and _is_digest(digest):
                yield digest


def _is_digest(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(Digest.parse(text))
    except ValueError:
        return False
