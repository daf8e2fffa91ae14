"""Words of the build cache: who builds, what is kept, and what a build made of it (design section 6)."""

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
