"""What a pass saw in sync, in a file of the cache folder that may be deleted at any time."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from reconciler.model.reference import Repository

MAX_BYTES = 64 << 20


class FileMemory:
    """The port Memory. One folder for each desired repo; in it one file, named after its content, so that a pass that
    saw the same as the one before neither reads nor writes it."""

    def __init__(self, folder: Path, location: str) -> None:
        self._folder = folder / hashlib.sha256(location.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    async def recall(self) -> frozenset[str]:
        """See the port."""
        return await asyncio.to_thread(self._recall)

    async def keep(self, repositories: Collection[Repository]) -> None:
        """See the port."""
        await asyncio.to_thread(self._keep, sorted({str(repository) for repository in repositories}))

    def _recall(self) -> frozenset[str]:
        with contextlib.suppress(OSError, ValueError):  # forgotten, or damaged: nothing is known
            for path in self._folder.glob("*.json"):
                if path.stat().st_size <= MAX_BYTES and isinstance(names := json.loads(path.read_bytes()), list):
                    return frozenset(name for name in names if isinstance(name, str))
        return frozenset()

    def _keep(self, names: list[str]) -> None:
        data = json.dumps(names, ensure_ascii=True, separators=(",", ":")).encode()
        target = self._folder / f"{hashlib.sha256(data).hexdigest()[:32]}.json"
        with contextlib.suppress(OSError):  # the port says so: what cannot be kept is forgotten
            if target.exists():
                return
            self._folder.mkdir(parents=True, exist_ok=True)
            temporary = self._folder / f".{secrets.token_hex(8)}"
            temporary.write_bytes(data)
            os.replace(temporary, target)  # noqa: PTH105 - the atomic one, by its name
            for old in self._folder.iterdir():
                if old != target:
                    old.unlink(missing_ok=True)


class NoMemory:
    """The port Memory, for what is not about all of a fleet."""

    async def recall(self) -> frozenset[str]:
        """See the port."""
        return frozenset()

    async def keep(self, repositories: Collection[Repository]) -> None:
        """See the port."""
        del repositories
