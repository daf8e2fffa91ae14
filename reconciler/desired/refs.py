"""Notices when a local repo's refs move, so that `lian watch` need not wait for its timer."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from watchfiles import awatch

from reconciler.desired.git import common_dir

if TYPE_CHECKING:
    from collections.abc import Collection

    import pygit2
    from watchfiles import Change


class RefsTrigger:
    """Watches HEAD, packed-refs and refs/ of git directories (`gitrepository-layout(5)`): of a linked work tree its
    own, where HEAD lies, and the one that it shares with others, where branches do."""

    def __init__(self, git_dirs: Collection[Path]) -> None:
        self._git_dirs = tuple(git_dirs)
        self._changes = awatch(*git_dirs, watch_filter=self._is_ref, debounce=200, step=50, rust_timeout=1000)

    @classmethod
    def of(cls, repository: pygit2.Repository) -> RefsTrigger:
        """That of a repository, as one of its work trees has it."""
        return cls({Path(repository.path).resolve(), common_dir(repository)})

    def _is_ref(self, change: Change, path: str) -> bool:
        del change
        return not path.endswith(".lock") and any(_is_ref(path.removeprefix(f"{folder}/")) for folder in self._git_dirs)

    async def wait(self) -> None:
        """Returns after refs have moved and then been quiet for a moment."""
        await anext(self._changes)


def _is_ref(inside: str) -> bool:
    return inside in {"HEAD", "packed-refs"} or inside.startswith(("refs/", "reftable/"))


class NoTrigger:
    """For a repo that cannot be watched (a URL): only the timer starts passes."""

    async def wait(self) -> None:
        """Never returns; it is cancelled."""
        await asyncio.Event().wait()
