"""What registries answered. Unknown is never treated as absent (design section 5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from reconciler.model.manifest import Descriptor
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.applied import Applied
    from reconciler.model.digest import Digest
    from reconciler.model.problem import Problem
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Repository


@dataclass(frozen=True, slots=True)
class Found:
    """The reference exists and names this content. Where a registry told the digest alone, as a list of many images
    does, `media_type` is empty and `size` 0."""

    digest: Digest
    media_type: str = ""
    size: int = 0

    @property
    def descriptor(self) -> Descriptor | None:
        """To name the content in an index; None if not all that takes was told."""
        return Descriptor(self.media_type, self.digest, self.size) if self.media_type and self.size else None


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
    applied: dict[Repository, Applied | Unknown | None] = field(default_factory=dict)
    """The applied document of a repository, None where there is none; read only on drift."""
    missing: dict[tuple[Repository, Digest], tuple[Digest, ...] | Unknown] = field(default_factory=dict)
    """Of images that were looked at whole: what of them is not there; empty for an image that is complete."""
    lineage: dict[str, bool | None] = field(default_factory=dict)
    """Commit -> whether it descends from the one that is wanted, None where the desired repo cannot tell."""

    def take(self, other: Observed) -> None:
        """Add another round's answers; what is known already stays."""
        for reference, sighting in other.heads.items():
            self.heads.setdefault(reference, sighting)
        for image, records in other.records.items():
            self.records.setdefault(image, records)
        for repository, applied in other.applied.items():
            self.applied.setdefault(repository, applied)
        for image, missing in other.missing.items():
            self.missing.setdefault(image, missing)

    def named(self, repository: Repository, tags: Iterable[str]) -> dict[str, Digest]:
        """Tag -> what it points at, for those of these tags that are known to be there, in their order."""
        heads = {tag: self.heads.get(Reference(repository, tag)) for tag in tags}
        return {tag: head.digest for tag, head in heads.items() if isinstance(head, Found)}

    def records_of(self, repository: Repository, digest: Digest) -> tuple[BuildRecord, ...]:
        """The image's build records; empty also where they were not asked for or could not be read."""
        records = self.records.get((repository, digest), ())
        return () if isinstance(records, Unknown) else records

    def records_behind(self, repository: Repository, tags: Iterable[str]) -> tuple[BuildRecord, ...]:
        """The build records of all that these tags point at, tag by tag."""
        if not self.records:
            return ()
        return tuple(r for d in self.named(repository, tags).values() for r in self.records_of(repository, d))

    def lacking(self, repository: Repository, digest: Digest) -> tuple[Digest, ...]:
        """What is known to be missing of this image; empty also where nobody looked or the answer is unknown."""
        missing = self.missing.get((repository, digest), ())
        return () if isinstance(missing, Unknown) else missing

    def built_as(self, repository: Repository, tags: Iterable[str], key: str) -> Digest | None:
        """The image that one of these tags points at whose record has this key: only its content tag was lost."""
        images = self.named(repository, tags).values()
        return next((d for d in images if any(r.key == key for r in self.records_of(repository, d))), None)


@dataclass(frozen=True, slots=True)
class Questions:
    """What pure code still needs to know."""

    heads: frozenset[Reference] = frozenset()
    records: frozenset[tuple[Repository, Digest]] = frozenset()
    applied: frozenset[Reference] = frozenset()
    """Applied documents, by where they lie."""
    whole: frozenset[tuple[Repository, Digest]] = frozenset()
    """Images of which every part is asked for: does it exist?"""

    def __bool__(self) -> bool:
        return bool(self.heads or self.records or self.applied or self.whole)
