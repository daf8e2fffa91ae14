"""How much memory builds really needed, from a cgroup that counts the pages of files too.

What a step writes and reads stays in memory for as long as there is room, and is counted: a build that writes 4 GB
would seem to need 4 GB. So the cgroup is looked at again and again, and what the kernel can take back is left out.
Between two looks its own record of the most that was ever in use tells what was missed.
"""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.providers.compute.cgroups import MemoryReading

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

LOOK_SECONDS = 0.25
"""A look takes less than a millisecond."""


@dataclass(slots=True)
class MemoryMeter:
    """The most memory that was needed at one time; None until something is known."""

    needed: int | None = None
    _last: MemoryReading | None = None

    def take(self, now: MemoryReading | None) -> int | None:
        """Look once more; the most so far. None before the first: it is not there yet, and all that it then has ever
        used it has used since."""
        if now is None:
            self._last = self._last or MemoryReading(0, 0, 0)
            return self.needed
        seen = now.used - now.files
        if self._last is not None and now.peak is not None and now.peak > (self._last.peak or 0):
            # at that moment there were about as many pages of files as before or after it: they fill up, and where
            # some were dropped meanwhile (deleted, or memory is short) too much is told rather than too little
            seen = max(seen, now.peak - max(now.files, self._last.files))
        self._last = now
        self.needed = max(self.needed or 0, seen, 0)
        return self.needed

    @asynccontextmanager
    async def running(self, look: Callable[[], MemoryReading | None]) -> AsyncIterator[None]:
        """Looks by itself as long as the block runs."""
        self.take(look())
        task = asyncio.create_task(self._watch(look))
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _watch(self, look: Callable[[], MemoryReading | None]) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self.take(look())
