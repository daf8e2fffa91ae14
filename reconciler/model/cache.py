"""Words of the build cache: who builds, and what of it is kept (design section 6)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias

from reconciler.model.name import is_name


class CacheMode(StrEnum):
    """How much of a build is kept (BuildKit: README, "Export cache")."""

    MAX = "max"
    """Every layer of every stage."""
    MIN = "min"
    """The layers of the result."""
    OFF = "off"
    """Nothing is kept and nothing is read."""


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How much an artifact's builds keep, and whether their `RUN --mount=type=cache` folders are kept as well. No part
    of any key."""

    mode: CacheMode = CacheMode.MAX
    mounts: bool = False
    beside: tuple[str, ...] = ()
    """Artifacts of the same workspace whose caches are read too, where `lian build` is asked to."""
    instead: str | None = None
    """The artifact of the same workspace whose cache is written in place of the own one, likewise."""


MAX_MOUNTS = 32
"""Cache mounts of one build that are kept."""
MAX_MOUNT_ID = 1024
"""Characters of a cache mount's id."""
MAX_MOUNT_BYTES = 4 << 30
"""Of one mount's archive before it is compressed. What is larger is not kept: to bring it would take longer than most
builds."""
MAX_MOUNTS_BYTES = 2 * MAX_MOUNT_BYTES
"""Of all archives of one build."""
MAX_MOUNT_MEMBERS = 500_000
"""Files, folders and links of one mount."""


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose a cache mount's folder is when it is made. `mode` holds permission bits."""

    uid: int = 0
    gid: int = 0
    mode: int = 0o755

    def __str__(self) -> str:
        return f"{self.uid}:{self.gid}:{self.mode:o}"


@dataclass(frozen=True, slots=True)
class CacheMount:
    """A folder of `RUN --mount=type=cache`. BuildKit knows it by its id and, where the step says whose it is, by that
    as well: two mounts that differ in either are two folders."""

    id: str
    """The `id` of the mount, or where it has none its target."""
    owner: Owner | None = None
    """None exactly where the step says neither uid nor gid nor mode."""

    def __str__(self) -> str:
        return self.id if self.owner is None else f"{self.id} ({self.owner})"


@dataclass(frozen=True, slots=True)
class Ci:
    """CI builds, from a commit."""

    def __str__(self) -> str:
        return "ci"


@dataclass(frozen=True, slots=True)
class Session:
    """An actor builds. Raises ValueError for what is no actor's name."""

    actor: str

    def __post_init__(self) -> None:
        if not is_name(self.actor):
            raise ValueError(f"not an actor's name: {self.actor[:140]!r}; 1 to 63 of a-z, 0-9 and inner dashes")

    def __str__(self) -> str:
        return f"session of {self.actor}"


BuildMode: TypeAlias = "Ci | Session"
