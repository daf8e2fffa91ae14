"""The port Archives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from reconciler.finishing import in_thread
from reconciler.providers.archive import problems
from reconciler.providers.archive.belonging import Bounds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.ports.archives import Packed, Tool

T = TypeVar("T")


class MountArchives:
    """Packs with zstd. `find` looks for the tool; what is beyond the bounds is refused, both ways."""

    def __init__(self, find: Callable[[], Tool], bounds: Bounds | None = None) -> None:
        self._find = find
        self._bounds = bounds or Bounds()
        self._tool: Tool | None = None

    async def tool(self) -> Tool:
        """See the port. What was found once is not looked for again."""
        if self._tool is None:
            self._tool = await asyncio.to_thread(self._find)
        return self._tool

    async def pack(self, tar: Path, into: Path) -> Packed:
        """See the port."""
        from reconciler.providers.archive.packing import pack  # zstandard is for those who keep cache mounts

        return await _worked(lambda going_on: pack(tar, into, self._bounds, going_on), into)

    async def unpack(self, archive: Path, into: Path, after: Path, told: Packed) -> None:
        """See the port."""
        from reconciler.providers.archive.unpacking import unpack

        await _worked(lambda going_on: unpack(archive, into, after, told, self._bounds, going_on), into, after)


async def _worked(work: Callable[[Callable[[], None]], T], *made: Path) -> T:
    """Done in a thread; what it `made` is gone unless it went well, or something stood there before."""

    def run(going_on: Callable[[], None]) -> T:
        try:
            return work(going_on)
        except BaseException as error:
            for file in made if not isinstance(error, FileExistsError) else ():
                file.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise problems.unwritten(made[0], error) from error
            raise

    return await in_thread(run)
