"""How long a build may be held up by its caches: they make it faster, and must not be what it ends with."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from reconciler.providers.builder.progress import Progress


class Held(Enum):
    """What a build waits for."""

    READING = "reading"
    """A cache that it reads."""
    KEEPING = "keeping"
    """Its own cache to be written, after everything else is done."""


@dataclass(slots=True)
class Patience:
    """`read_seconds` is how long a cache that is read may be silent, `keep_seconds` how long the own one may take."""

    read_seconds: float
    keep_seconds: float
    _held: Held | None = None
    _since: float = 0.0
    _moves: int = 0
    _seen: asyncio.Event = field(default_factory=asyncio.Event)

    def saw(self, progress: Progress) -> None:
        """BuildKit has said something. What is read may take any time, as long as it moves."""
        held = Held.KEEPING if progress.only_keeps else Held.READING if progress.reads_cache else None
        if held is not self._held or progress.cache_moves != self._moves:
            self._since = asyncio.get_running_loop().time()
        self._held, self._moves = held, progress.cache_moves
        self._seen.set()

    @property
    def waited(self) -> float:
        """Seconds for which it has been held up."""
        return asyncio.get_running_loop().time() - self._since

    async def lost(self) -> tuple[Held, float]:
        """Returns when there is no more reason to wait: for what, and after how many seconds."""
        while True:
            self._seen.clear()
            if self._held is None:
                await self._seen.wait()
                continue
            limit = self.read_seconds if self._held is Held.READING else self.keep_seconds
            left = self._since + limit - asyncio.get_running_loop().time()
            if left <= 0:
                return self._held, limit
            try:
                async with asyncio.timeout(left):
                    await self._seen.wait()
            except TimeoutError:
                continue
