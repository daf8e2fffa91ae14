"""Port: the desired repo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from reconciler.model.artifact import Place
    from reconciler.model.desired import Desired, Materials, SentFolder
    from reconciler.model.plan import FileSince
    from reconciler.model.rule import Written
    from reconciler.model.tier import Sizes
    from reconciler.model.tree import Entry


class Source(Protocol):
    """Reads one commit, never the working tree."""

    async def load(self) -> Desired:
        """What the commit asks for. Raises LianError if no commit can be read at all; what is invalid inside it
        comes back in `Desired.problems`, and everything else stands."""
        ...

    async def places(self, written: Collection[Written]) -> Mapping[Written, Place]:
        """Where each of these is written in the commit last loaded, as far as that can be seen. Looked up only where
        there is something to tell of it: reading texts by their tokens is slow."""
        ...

    async def descends(self, revision: str) -> bool | None:
        """Whether that commit is a descendant of the one last loaded; None if this clone cannot tell, because it does
        not hold the commit or not all that lies between."""
        ...

    async def last_changed(self, files: Collection[FileSince]) -> Mapping[FileSince, str]:
        """The commit that changed each file last, the newest first; without those that were not changed since, those
        for which this clone does not tell, and those that were changed too long ago to matter."""
        ...

    async def sizes(self) -> Sizes:
        """The sizes of runners under the settings of the commit last loaded. Raises LianError if what ships with lian
        cannot be read."""
        ...

    async def listing(self, folder: SentFolder) -> tuple[Entry, ...]:
        """What is sent of this folder of the commit last loaded: files, links and empty folders."""
        ...

    async def export(self, folder: SentFolder, into: Path) -> int:
        """Write what is sent into `into` (which must not exist): modes, links and names intact, times derived from
        the blob ids (design section 5, "Exported file times"). Returns the bytes of its files. Raises LianError, e.g.
        when the disk is full."""
        ...

    async def export_dockerfile(self, materials: Materials, into: Path) -> None:
        """Write the Dockerfile, under its own name, into the folder `into`, with whatever ignore file makes BuildKit
        send the exported context as it is. Raises LianError."""
        ...

    async def blob(self, path: str) -> bytes:
        """One file of the commit last loaded, by its path in the repo. Raises LianError if it is not there."""
        ...
