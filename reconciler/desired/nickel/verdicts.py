"""The guard's verdict on each blob, asked of the cache first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.desired.nickel import guard

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.desired.nickel.cache import Cache
    from reconciler.desired.nickel.guard import Examined
    from reconciler.desired.nickel.settings import SourceFile, Tree


class Verdicts:
    """Reads blobs of one commit for the guard, and lends what it has just read to whoever writes it out."""

    def __init__(self, tree: Tree, cache: Cache) -> None:
        self._tree = tree
        self._cache = cache
        self._known: dict[str, Examined] = {}
        self._fresh: dict[str, Examined] = {}
        self._recent: dict[str, bytes] = {}

    def foresee(self, files: Sequence[SourceFile]) -> None:
        """Ask the cache about these directives in one go."""
        self._known.update(self._cache.examined([_key(file.blob, "Nickel") for file in files]))

    def of(self, blob: str, format: str) -> Examined:
        """The verdict on a blob read in this format."""
        key = _key(blob, format)
        if key not in self._known:
            remembered = self._cache.examined([key])
            self._known[key] = self._fresh[key] = remembered.get(key) or guard.examine(self._data(blob), format)
        return self._known[key]

    def keep(self) -> None:
        """Write new verdicts to the cache."""
        self._cache.remember_examined(self._fresh)
        self._fresh = {}

    def content(self, blob: str) -> bytes:
        """A blob's bytes; for the last time if it was read for the guard."""
        return self._recent.pop(blob, None) or self._tree.read(blob)

    def _data(self, blob: str) -> bytes:
        self._recent[blob] = self._tree.read(blob)
        return self._recent[blob]


def _key(blob: str, format: str) -> str:
    return f"{guard.VERSION} {format} {blob}"
