"""Port: the folders of cache mounts as archives, between a builder and a registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.platform import Platform

TOO_LARGE, UNSAFE, BROKEN = "cache-mount-too-large", "cache-mount-unsafe", "cache-mount-broken"
"""Codes of problems with an archive: beyond the bounds, or not what it says; with something in it that does not belong
into a folder; not readable to its end."""
TOOL_MISSING = "cache-mounts-tool-missing"


@dataclass(frozen=True, slots=True)
class Tool:
    """A busybox that needs no other file, and the platform that it runs on."""

    path: Path
    platform: Platform


@dataclass(frozen=True, slots=True)
class Packed:
    """An archive: its bytes before compression, and how many files, folders and links are in it beside the folder
    itself. `dropped` is how many were left out because they may not come back."""

    size: int
    members: int
    dropped: int = 0


class Archives(Protocol):
    """Packs and unpacks. Neither trusts what is in an archive."""

    async def tool(self) -> Tool:
        """What packs and unpacks inside a builder. Raises LianError TOOL_MISSING."""
        ...

    async def pack(self, tar: Path, into: Path) -> Packed:
        """Make the archive that is kept from a tar of a folder. The same content gives the same bytes. What `unpack`
        would refuse is left out. Raises LianError TOO_LARGE, BROKEN, `disk-full`."""
        ...

    async def unpack(self, archive: Path, into: Path, after: Path, told: Packed) -> None:
        """Make a tar that is safe to unpack from an archive of which this was `told`, and one to be unpacked after it:
        folders alone, of which the first cannot set the times. Nothing is left unless all of it is good. Raises
        LianError TOO_LARGE, UNSAFE, BROKEN, `disk-full`."""
        ...
