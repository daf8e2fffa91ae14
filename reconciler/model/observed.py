"""What registries answered. Unknown is never treated as absent (design section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from reconciler.model.digest import Digest
    from reconciler.model.problem import Problem
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Reference, Repository


@dataclass(frozen=True, slots=True)
class Found:
    """The reference exists and names this content."""

    digest: Digest
    media_type: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Absent:
    """A 404 with an OCI error code, under credentials that were granted pull."""


@dataclass(frozen=True, slots=True)
class Unknown:
    """Anything else: it holds, it never builds."""

    problem: Problem


Sighting: TypeAlias = "Found | Absent | Unknown"
ABSENT = Absent()


@dataclass(slots=True)
class Observed:
    """All answers of one pass. Grows round by round; nothing in it is ever changed or taken back."""

    heads: dict[Reference, Sighting] = field(default_factory=dict)
    records: dict[tuple[Repository, Digest], tuple[BuildRecord, ...] | Unknown] = field(default_factory=dict)
    """Build records attached to an image, newest first; read only on drift."""

    def take(self, other: Observed) -> None:
        """Add another round's answers; what is known already stays."""
        for reference, sighting in other.heads.items():
            self.heads.setdefault(reference, sighting)
        for image, records in other.records.items():
            self.records.setdefault(image, records)


@dataclass(frozen=True, slots=True)
class Questions:
    """What pure code still needs to know."""

    heads: frozenset[Reference] = frozenset()
    records: frozenset[tuple[Repository, Digest]] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.heads or self.records)
