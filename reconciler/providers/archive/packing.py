"""From a tar of a folder, as a builder made it, to the archive that is kept. Blocks.

The archive has one form: what lies in a folder comes before the folder, so that a reader that sets times as it goes
leaves them right; names in falling order of their bytes; of a link only where it leads, since nobody can set its time;
no names of users. So the same folder gives the same bytes, and is not put into a registry twice.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import zstandard

from reconciler.ports.archives import Packed
from reconciler.providers.archive import problems
from reconciler.providers.archive.belonging import MAX_MODE, ROOT, Tree, fault, relative
from reconciler.providers.archive.tar import (
    END,
    FILE,
    FOLDER,
    LINK,
    MOST,
    SYMLINK,
    Foreign,
    Malformed,
    Member,
    members,
    padding,
    written,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from typing import BinaryIO

    from reconciler.providers.archive.belonging import Bounds

LEVEL = 1
"""Of zstd. 3 is a tenth smaller and takes twice as long, and a build waits for it."""
CHUNK = 1 << 20


@dataclass(slots=True)
class _Counted:
    """A file whose place is known without asking."""

    file: BinaryIO
    at: int = 0

    def read(self, size: int) -> bytes:
        data = self.file.read(size)
        self.at += len(data)
        return data

    def skip(self, size: int) -> None:
        self.at += size
        self.file.seek(self.at)


@dataclass(frozen=True, slots=True)
class _Placed:
    """A member, and where its content begins."""

    member: Member
    at: int


@dataclass(slots=True)
class _Index:
    found: dict[bytes, _Placed] = field(default_factory=dict)
    dropped: int = 0


def pack(tar: Path, into: Path, bounds: Bounds, going_on: Callable[[], None]) -> Packed:
    """See the port. `going_on` is called often, and may raise to stop it."""
    with tar.open("rb") as source:
        try:
            index = _indexed(_Counted(source), bounds, going_on)
        except (Malformed, Foreign) as error:
            raise problems.broken(str(error)) from error
        chosen = _in_order(index)
        size = len(END)
        with into.open("xb") as target, zstandard.ZstdCompressor(level=LEVEL).stream_writer(target) as writer:
            for placed in chosen:
                size += _copy(placed, source, writer, going_on)
                if size > bounds.size:
                    raise problems.too_large(f"it has more than {bounds.size:,} bytes")
            writer.write(END)
    if into.stat().st_size > bounds.size:
        raise problems.too_large(f"it has more than {bounds.size:,} bytes, and they cannot be compressed")
    own = sum(placed.member.name != b"./" for placed in chosen)
    return Packed(size, own, index.dropped)


def _indexed(source: _Counted, bounds: Bounds, going_on: Callable[[], None]) -> _Index:
    """What belongs into the folder, by name."""
    index, tree = _Index(), Tree()
    for member in members(source):
        going_on()
        name = relative(member)
        settled = _settled(name, member)
        if fault(name, settled) or tree.clash(name, settled):
            index.dropped += 1
        else:
            index.found[name] = _Placed(settled, source.at)
        source.skip(member.size + padding(member.size))
        if len(index.found) - (ROOT in index.found) > bounds.members:
            raise problems.too_large(f"it has more than {bounds.members:,} files, folders and links")
    return index


def _settled(name: bytes, member: Member) -> Member:
    """As the archive has it: what nothing can be made of is left out."""
    if member.kind == SYMLINK:
        return replace(member, mode=0o777, uid=0, gid=0, mtime=0)
    if member.kind == LINK:
        return Member(member.name, LINK, link=member.link.removeprefix(b"./"))
    mtime = member.mtime if member.mtime <= MOST else 0
    return replace(member, mode=member.mode & MAX_MODE, mtime=mtime, link=b"")


def _in_order(index: _Index) -> list[_Placed]:
    """Falling by name. Of several names of one file the first has its content, and the others link to that."""
    names: dict[bytes, list[bytes]] = {}
    for name, placed in index.found.items():
        if placed.member.kind == LINK:
            names.setdefault(placed.member.link, [placed.member.link]).append(name)
    found = dict(index.found)
    for first, group in names.items():
        head = max(group)
        content = index.found[first]
        for name in group:
            found[name] = content if name == head else _Placed(Member(name, LINK, link=head), 0)
    return [
        _Placed(replace(found[name].member, name=_shown(name, found[name].member)), found[name].at)
        for name in sorted(found, reverse=True)
    ]


def _shown(name: bytes, member: Member) -> bytes:
    if member.kind != FOLDER:
        return name
    return b"./" if name == ROOT else name + b"/"


def _copy(
    placed: _Placed, source: BinaryIO, writer: zstandard.ZstdCompressionWriter, going_on: Callable[[], None]
) -> int:
    """Header, content and padding; returns how many bytes."""
    going_on()
    member = placed.member
    header = written(member)
    writer.write(header)
    if member.kind != FILE or not member.size:
        return len(header)
    source.seek(placed.at)
    for data in _parts(source, member.size):
        going_on()
        writer.write(data)
    fill = bytes(padding(member.size))
    writer.write(fill)
    return len(header) + member.size + len(fill)


def _parts(source: BinaryIO, size: int) -> Iterator[bytes]:
    left = size
    while left:
        data = source.read(min(left, CHUNK))
        if not data:
            raise problems.broken("it is cut off")
        left -= len(data)
        yield data
