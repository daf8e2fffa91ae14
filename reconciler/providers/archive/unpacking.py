"""From an archive that anyone may have written to a tar that is safe to unpack. Blocks.

It is read once, a part at a time, and each member is written anew from what was understood of it. The first thing
that is wrong ends it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import zstandard

from reconciler.providers.archive import problems
from reconciler.providers.archive.belonging import ROOT, Tree, fault, relative
from reconciler.providers.archive.packing import CHUNK
from reconciler.providers.archive.tar import (
    END,
    FILE,
    FOLDER,
    LINK,
    SYMLINK,
    Foreign,
    Malformed,
    Member,
    members,
    padding,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import BinaryIO

    from reconciler.ports.archives import Packed
    from reconciler.providers.archive.belonging import Bounds

WINDOW = 8 << 20
"""Bytes that zstd may have to look back: it takes that much memory to read. Level 1 looks back half a megabyte."""


@dataclass(slots=True)
class _Bounded:
    """Decompressed content, no more than was told."""

    reader: zstandard.ZstdDecompressionReader
    limit: int
    at: int = 0

    def read(self, size: int) -> bytes:
        self.at += size
        if self.at > self.limit:
            raise problems.too_large(f"it has more than the {self.limit:,} bytes that it says it has")
        parts: list[bytes] = []
        while size and (data := self.reader.read(size)):
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def skip(self, size: int) -> None:
        while size:
            size -= len(self.read(min(size, CHUNK)) or _cut_off())


def unpack(archive: Path, into: Path, after: Path, told: Packed, bounds: Bounds, going_on: Callable[[], None]) -> None:
    """See the port. `going_on` is called often, and may raise to stop it."""
    if told.size > bounds.size or told.members > bounds.members:
        raise problems.too_large(
            f"it says that it has {told.size:,} bytes in {told.members:,} files, folders and links"
        )
    with archive.open("rb") as file, into.open("xb") as target, after.open("xb") as last:
        decompressor = zstandard.ZstdDecompressor(max_window_size=WINDOW)
        try:
            with decompressor.stream_reader(file, closefd=False) as reader:
                rewriting = _Rewriting(_Bounded(reader, told.size), target, told.members)
                rewriting.run(going_on)
        except (Malformed, zstandard.ZstdError) as error:
            raise problems.broken(str(error)) from error
        except Foreign as error:
            raise problems.unsafe(str(error)) from error
        last.write(b"".join(map(written, rewriting.late_folders)) + END)
    if rewriting.count != told.members:
        cause = f"it has {rewriting.count:,} files, folders and links, and says that it has {told.members:,}"
        raise problems.broken(cause)


@dataclass(slots=True)
class _Rewriting:
    source: _Bounded
    target: BinaryIO
    most: int
    count: int = 0
    """Members beside the folder itself."""
    _folders: dict[bytes, Member] = field(default_factory=dict)
    _linked: set[bytes] = field(default_factory=set)
    """Folders with links in them. busybox makes hard links, and symbolic ones that lead upwards, when all else is done,
    which gives their folders a new time."""

    def run(self, going_on: Callable[[], None]) -> None:
        """Raises LianError, Malformed, Foreign."""
        tree = Tree()
        for member in members(self.source):
            going_on()
            name = relative(member)
            if wrong := fault(name, member) or tree.clash(name, member):
                raise problems.unsafe(wrong, member.name)
            self.count += name != ROOT
            if self.count > self.most:
                raise problems.too_large(f"it has more than the {self.most:,} members that it says it has")
            self._write(name, member, going_on)
        self.target.write(END)

    @property
    def late_folders(self) -> list[Member]:
        """What lies in a folder before the folder."""
        return [self._folders[name] for name in sorted(self._linked & self._folders.keys(), reverse=True)]

    def _write(self, name: bytes, member: Member, going_on: Callable[[], None]) -> None:
        if member.kind == FOLDER:
            member = self._folders[name] = replace(member, name=b"./" if name == ROOT else name + b"/", link=b"")
        else:
            member = replace(member, name=name, link=b"" if member.kind == FILE else member.link)
        if member.kind in {LINK, SYMLINK}:
            self._linked.add(name.rpartition(b"/")[0])
        self.target.write(written(member))
        if member.kind == FILE:
            _content(self.source, self.target, member.size, going_on)


def _content(source: _Bounded, target: BinaryIO, size: int, going_on: Callable[[], None]) -> None:
    left = size + padding(size)
    while left:
        going_on()
        data = source.read(min(left, CHUNK)) or _cut_off()
        target.write(data)
        left -= len(data)


def _cut_off() -> bytes:
    raise Malformed("it is cut off")
