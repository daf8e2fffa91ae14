"""What belongs into a folder, and what would reach out of it. Pure.

A name is a path below the folder of which every part but the last is a folder in it, never a link. So a link that
begins with as many `..` as it lies deep, and goes on with names alone, ends inside: each of its steps does, by the same
rule.
"""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.model.cache import MAX_MOUNT_BYTES, MAX_MOUNT_MEMBERS
from reconciler.providers.archive.tar import DEVICES, FILE, FOLDER, LINK, MOST, SYMLINK, Member

ROOT = b""
"""The name of the folder itself."""
MAX_NAME = 4095
MAX_PART = 255
MAX_MODE = 0o7777


@dataclass(frozen=True, slots=True)
class Bounds:
    """Of one folder: bytes of its archive, compressed or not, and files, folders and links."""

    size: int = MAX_MOUNT_BYTES
    members: int = MAX_MOUNT_MEMBERS


def relative(member: Member) -> bytes:
    """The member's name without what tar puts around it; ROOT for the folder itself."""
    name = member.name
    if member.kind == FOLDER:
        name = name.removesuffix(b"/")
    return ROOT if name == b"." else name.removeprefix(b"./")


def fault(name: bytes, member: Member) -> str | None:
    """Why this member does not belong into a folder, whatever else is in it; `name` is its relative one."""
    if member.kind in DEVICES:
        return "a device or a pipe"
    if name == ROOT:
        return None if member.kind == FOLDER and member.name in {b".", b"./"} else "a member without a name"
    parts = name.split(b"/")
    if len(name) > MAX_NAME or any(len(part) > MAX_PART for part in parts):
        return "a name that is too long"
    if b"\0" in name or b"\0" in member.link:
        return "a name with a NUL"
    if not parts[0]:
        return "an absolute name"
    if any(part in {b"", b".", b".."} for part in parts):
        return "a name that leads out of it, or back"
    if max(member.uid, member.gid, member.mtime) > MOST or member.mode > MAX_MODE:
        return "an owner, a time or a mode that cannot be"
    return _astray(parts, member.link) if member.kind == SYMLINK else None


def _astray(parts: list[bytes], target: bytes) -> str | None:
    """Why a link does not stay inside."""
    if not target or len(target) > MAX_NAME:
        return "a link to nothing, or one that is too long"
    steps = target.split(b"/")
    if not steps[0]:
        return "a link to an absolute path"
    up = 0
    while up < len(steps) and steps[up] == b"..":
        up += 1
    if up >= len(parts) or b".." in steps[up:]:
        return "a link that leads out of it"
    return None


class Tree:
    """The members so far, in any order."""

    def __init__(self) -> None:
        self._kinds: dict[bytes, bytes] = {}
        self._above: set[bytes] = set()
        """Folders because something lies in them."""

    def clash(self, name: bytes, member: Member) -> str | None:
        """Why this member cannot stand beside those before it; else it is one of them."""
        if name in self._kinds:
            return "two members of one name"
        if member.kind != FOLDER and name in self._above:
            return "something in what is no folder"
        if member.kind == LINK and self._kinds.get(member.link) != FILE:
            return "a hard link to something else than a file before it"
        above = name.rpartition(b"/")[0]
        while above and above not in self._above:
            if self._kinds.get(above, FOLDER) != FOLDER:
                return "something in what is no folder"
            self._above.add(above)
            above = above.rpartition(b"/")[0]
        self._kinds[name] = member.kind
        return None
