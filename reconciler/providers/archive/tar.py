"""The tar format as far as it is used here (tar(5): POSIX ustar headers, GNU's long names). Pure but for reading.

Extended headers, sparse files and volumes are no part of it: each has been a way to make two readers see two things.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

BLOCK = 512
FILE, LINK, SYMLINK, FOLDER = b"0", b"1", b"2", b"5"
KINDS = frozenset({FILE, LINK, SYMLINK, FOLDER})
DEVICES = frozenset({b"3", b"4", b"6"})
"""Character devices, block devices, pipes."""
LONGEST = 4096
"""Bytes of a name or of what a link points at: PATH_MAX."""
END = bytes(2 * BLOCK)
"""Stands at the end of an archive."""
MOST = 2**32 - 1
"""The highest uid, gid and time (it is in the year 2106)."""

_HEADER = struct.Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_GNU, _POSIX = b"ustar  \0", b"ustar\00000"
_LONG_NAME, _LONG_LINK = b"L", b"K"
_OLD_FILE = b"\0"


class Malformed(Exception):
    """Not a tar, or not to its end. The text says why."""


class Foreign(Exception):
    """A kind of header that is no part of it. The text says which."""


class Reading(Protocol):
    """Where an archive comes from."""

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end."""
        ...

    def skip(self, size: int) -> None:
        """Go past so many bytes."""
        ...


@dataclass(frozen=True, slots=True)
class Member:
    """A header. `name` and `link` are as written."""

    name: bytes
    kind: bytes
    mode: int = 0o644
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    link: bytes = b""


def padding(size: int) -> int:
    """Bytes from the end of content to the next block."""
    return -size % BLOCK


def members(source: Reading) -> Iterator[Member]:
    """Every member to the end. Whoever iterates has read a member's content and its padding before the next one.

    Raises Malformed, Foreign.
    """
    name: bytes | None = None
    link: bytes | None = None
    while True:
        block = source.read(BLOCK)
        if len(block) < BLOCK:
            raise Malformed("it is cut off")
        if block == END[:BLOCK]:
            return
        member = _parsed(block)
        if member.kind == _LONG_NAME:
            name = _long(source, member)
        elif member.kind == _LONG_LINK:
            link = _long(source, member)
        elif name is None and link is None:
            yield member
        else:
            yield replace(
                member, name=member.name if name is None else name, link=member.link if link is None else link
            )
            name = link = None


def written(member: Member) -> bytes:
    """The header of a member, with those of long names before it."""
    before = b"".join(
        _plain(Member(b"././@LongLink", kind, 0, size=len(text) + 1)) + text + bytes(1 + padding(len(text) + 1))
        for kind, text in ((_LONG_NAME, member.name), (_LONG_LINK, member.link))
        if len(text) >= 100
    )
    return before + _plain(member)


def _plain(member: Member) -> bytes:
    fields = [
        member.name[:99] if len(member.name) >= 100 else member.name,
        b"%07o" % member.mode,
        _number(member.uid, 8),
        _number(member.gid, 8),
        _number(member.size, 12),
        _number(member.mtime, 12),
        b" " * 8,
        member.kind,
        member.link[:99] if len(member.link) >= 100 else member.link,
        _GNU,
        *(b"",) * 5,
    ]
    block = _HEADER.pack(*fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _number(value: int, width: int) -> bytes:
    """Octal where it fits, else GNU's base 256."""
    if value < 8 ** (width - 1):
        return b"%0*o" % (width - 1, value)
    return b"\x80" + value.to_bytes(width - 1, "big")


def _parsed(block: bytes) -> Member:
    name, mode, uid, gid, size, mtime, told, kind, link, magic, _, _, _, _, prefix = _HEADER.unpack(block)
    if _value(told) != sum(block) - sum(told) + 8 * 32:
        raise Malformed("a header's checksum is wrong")
    name = _text(name)
    if magic == _POSIX and (front := _text(prefix)):
        name = front + b"/" + name
    if kind == _OLD_FILE:
        kind = FILE
    if kind not in KINDS | DEVICES | {_LONG_NAME, _LONG_LINK}:
        raise Foreign(f"it has a header of the kind {kind!r}")
    holds = kind in {FILE, _LONG_NAME, _LONG_LINK}
    return Member(name, kind, _value(mode), _value(uid), _value(gid), _value(mtime), _value(size) * holds, _text(link))


def _long(source: Reading, member: Member) -> bytes:
    if not 0 < member.size <= LONGEST + 1:
        raise Foreign(f"a name in it has {member.size:,} bytes")
    text = source.read(member.size)
    if len(text) < member.size:
        raise Malformed("it is cut off")
    source.skip(padding(member.size))
    return text.removesuffix(b"\0")


def _text(field: bytes) -> bytes:
    return field.partition(b"\0")[0]


def _value(field: bytes) -> int:
    """Of a number. Negative ones are no part of it."""
    if field[0] == 0x80:
        return int.from_bytes(field[1:], "big")
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if not digits.isdigit() or b"8" in digits or b"9" in digits:
        raise Malformed("a number in a header is none")
    return int(digits, 8)
