"""What is sent of a context, and its Merkle root (design section 5).

A node's digest covers, for each entry in byte order of the names: mode, name, and the blob id or the child's digest.
So equal bytes give equal roots, whatever folder, ignore rules or history led there.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_DOMAIN = b"lian.tree.1\0"

FILE, EXECUTABLE, SYMLINK, FOLDER = "100644", "100755", "120000", "040000"


@dataclass(frozen=True, slots=True)
class Entry:
    """One path that is sent: `mode` as git writes it, `id` the blob id in hex (empty for a folder)."""

    path: str
    mode: str
    id: str


def node(children: Iterable[tuple[str, str, str]]) -> str:
    """The digest (64 hex) of one folder from its (name, mode, blob id or child digest)."""
    digest = hashlib.sha256(_DOMAIN)
    for name, mode, child in sorted((n.encode("utf-8", "surrogateescape"), m, c) for n, m, c in children):
        digest.update(b"%s %d:%s %s\n" % (mode.encode(), len(name), name, child.encode()))
    return digest.hexdigest()


def root(entries: Iterable[Entry]) -> str:
    """The Merkle root of a listing; parents that are not listed are folders all the same."""
    tree: dict[str, object] = {}
    for entry in entries:
        *parents, name = entry.path.split("/")
        here = tree
        for parent in parents:
            here = here.setdefault(parent, {})  # type: ignore[assignment]
        if entry.mode == FOLDER:
            here.setdefault(name, {})
        else:
            here[name] = (entry.mode, entry.id)
    return _fold(tree)


def _fold(folder: dict[str, object]) -> str:
    return node(
        (name, FOLDER, _fold(child)) if isinstance(child, dict) else (name, *child)  # type: ignore[misc]
        for name, child in folder.items()
    )
