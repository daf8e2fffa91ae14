"""Port: the other commits of the desired repo."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.ports.source import Source


class Revisions(Protocol):
    """Knows the branches and tags of the desired repo."""

    async def matching(self, globs: Sequence[str]) -> Mapping[str, str]:
        """Full names of the refs that match one of the globs (`*` takes slashes too) -> the commits they name, as of
        now. Raises LianError `clone-partial` for a clone that cannot know them all, and if they cannot be read."""
        ...

    def at(self, revision: str) -> Source:
        """One of these commits. Nothing is fetched for it."""
        ...

    async def parted_from(self, rev: str) -> str:
        """The newest commit that the one last loaded and `rev`, whatever git takes for a commit, have in common. Raises
        LianError `revision-unknown`, `clone-partial` for a clone that does not reach back so far, and
        `revisions-unrelated`."""
        ...
