"""The mount table of this process (proc(5), /proc/PID/mountinfo)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from reconciler.providers.compute.processes import PROC

_ESCAPE = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """One mount: where, of which file system type, with the options of its super block."""

    point: Path
    kind: str
    options: frozenset[str]


def parse_mounts(text: str) -> list[Mount]:
    """The content of a mountinfo file, in its order: later mounts may cover earlier ones."""
    found = []
    for line in text.splitlines():
        mount, _, source = line.partition(" - ")
        kind, _, options = source.split(" ")[:3]
        point = _ESCAPE.sub(lambda match: chr(int(match[1], 8)), mount.split(" ")[4])
        found.append(Mount(Path(point), kind, frozenset(options.split(","))))
    return found


def read_mounts() -> list[Mount]:
    """What is mounted now, as this process sees it."""
    return parse_mounts((PROC / "self/mountinfo").read_text(errors="surrogateescape"))


def mounts_below(folder: Path) -> list[Path]:
    """Mount points at or below a folder, the last mounted first: the order to unmount them in."""
    return [mount.point for mount in reversed(read_mounts()) if mount.point.is_relative_to(folder)]
