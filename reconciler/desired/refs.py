"""Notices when a local repo's refs move, so that `lian watch` need not wait for its timer."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from watchfiles import awatch

if TYPE_CHECKING:
    from pathlib import Path

    from watchfiles import Change


class RefsTrigger:
    """Watches HEAD, packed-refs and refs/ of a git directory (`gitrepository-layout(5)`)."""

    def __init__(self, git_dir: Path) -> None:
        self._git_dir = git_dir
        self._changes = awatch(git_dir, watch_filter=self._is_ref, debounce=200, step=50, rust_timeout=1000)

    def _is_ref(self, change: Change, path: str) -> bool:
        del change
        inside = path.removeprefix(f"{self._git_dir}/")
        return not inside.endswith(".lock") and (
            inside in {"HEAD", "packed-refs"} or inside.startswith("refs/") or inside.startswith("reftable/")
        )

    async def wait(self) -> None:
        """Returns after refs have moved and then been quiet for a moment."""
        await anext(self._changes)


class NoTrigger:
    """For a repo that cannot be watched (a URL): only the timer starts passes."""

    async def wait(self) -> None:
        """Never returns; it is cancelled."""
        await asyncio.Event().wait()
