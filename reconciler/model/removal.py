"""What a prune takes away, what it keeps, and why. The plan is a value, as a pass's is."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.digest import Digest
    from reconciler.model.problem import Problem
    from reconciler.model.reference import Repository


class Gone(StrEnum):
    """Why an image goes."""

    ORPHANED = "orphaned"
    """Its artifact is wanted by no kept revision any more, in this repository."""
    OUTDATED = "outdated"
    """Its artifact is wanted, from other inputs."""
    LEFT_OVER = "left-over"
    """A prune that was interrupted left it, or its tags were taken away by others."""


class Kept(StrEnum):
    """Why an image stays; the first that applies."""

    WANTED = "wanted"
    """A kept revision asks for it."""
    KEEP_TAG = "keep-tag"
    """It has a tag that matches `keep_tags`."""
    VERSION_TAG = "version-tag"
    """lian once gave it a tag of an artifact that is still wanted."""
    TAGGED_BY_OTHERS = "tagged-by-others"
    """It has a tag that lian did not give it."""
    IN_USE = "in-use"
    """`--keep-from` names it."""
    NEWEST = "newest"
    """It is among the `keep_last` newest of its artifact."""
    YOUNG = "young"
    """It was built within `min_age`, or nothing tells when."""
    PART = "part"
    """An index that stays names it."""
    FOREIGN = "foreign"
    """Nothing says that this fleet made it."""


@dataclass(frozen=True, slots=True)
class Doomed:
    """An image that goes, with all that goes with it. `size` in bytes, `built` in Unix seconds, None if nothing tells.

    `parts` are manifests that it names and nothing that stays does, parents first. `reach` is all that it names: if it
    is spared after all, that stays too.
    """

    digest: Digest
    why: Gone
    artifacts: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    """Of the image and of its parts."""
    built: float | None = None
    size: int = 0
    parts: tuple[Digest, ...] = ()
    attached: Mapping[Digest, Digest] = field(default_factory=dict)
    """What refers to one of these -> to which."""
    lists: tuple[str, ...] = ()
    """Tags made of their digests, that go at the end."""
    reach: frozenset[Digest] = frozenset()

    @property
    def digests(self) -> tuple[Digest, ...]:
        """All manifests that go."""
        return (self.digest, *self.parts, *self.attached)

    def to_json(self) -> dict[str, Any]:
        """As it stands in prune.json (schemas/json/prune.json)."""
        return {
            "digest": str(self.digest),
            "why": self.why.value,
            "artifacts": list(self.artifacts),
            "tags": list(self.tags),
            "built": None if self.built is None else datetime.fromtimestamp(self.built, UTC).isoformat(),
            "size": self.size,
            "parts": [str(part) for part in self.parts],
            "attached": [str(referrer) for referrer in self.attached],
        }


@dataclass(frozen=True, slots=True)
class Untagged:
    """A tag that goes from an image that stays."""

    tag: str
    digest: Digest
    artifact: str

    def to_json(self) -> dict[str, Any]:
        """As it stands in prune.json."""
        return {"tag": self.tag, "digest": str(self.digest), "artifact": self.artifact}


@dataclass(frozen=True, slots=True)
class Removal:
    """What goes from one repository. `seen` are its tags when this was decided: what has moved since is spared."""

    repository: Repository
    images: tuple[Doomed, ...] = ()
    tags: tuple[Untagged, ...] = ()
    kept: Mapping[Kept, int] = field(default_factory=dict)
    """Why -> how many images stay for it; foreign ones are not counted among the fleet's."""
    seen: Mapping[str, Digest] = field(default_factory=dict)
    forget: tuple[str, ...] = ()
    """Tags of unwanted artifacts that the applied document names and that are not there any more."""
    unfinished: Digest | None = None
    """The announcement of an interrupted prune, or of one that is at work, which still stands."""
    claims: Mapping[str, Digest] = field(default_factory=dict)
    """Tags of other prunes, that are at work or were killed."""
    strays: Mapping[Digest, Digest] = field(default_factory=dict)
    """What refers to an image of the fleet that is gone already -> that image."""
    lists: tuple[str, ...] = ()
    """Tags made of the digests of such images."""
    problems: tuple[Problem, ...] = ()
    """Why nothing can be decided here; then nothing goes."""

    @property
    def any(self) -> bool:
        """True if something that holds an image goes."""
        return bool(self.images or self.tags)

    @property
    def chores(self) -> bool:
        """True if something is to be done here, if only to tidy up."""
        return self.any or bool(self.unfinished or self.forget or self.claims or self.strays or self.lists)

    @property
    def size(self) -> int:
        """Bytes; what images share is counted for each."""
        return sum(image.size for image in self.images)

    @property
    def ours(self) -> int:
        """How many images of the fleet are here, those that go included."""
        kept = sum(number for why, number in self.kept.items() if why not in {Kept.FOREIGN, Kept.PART})
        return kept + len(self.images)

    def to_json(self) -> dict[str, Any]:
        """As it stands in prune.json."""
        return {
            "repository": str(self.repository),
            "images": [image.to_json() for image in self.images],
            "tags": [tag.to_json() for tag in self.tags],
            "kept": {why.value: self.kept[why] for why in Kept if self.kept.get(why)},
            "problems": [problem.to_json() for problem in self.problems],
        }


@dataclass(frozen=True, slots=True)
class KeptRevision:
    """A commit whose wishes are kept, and the refs that name it; none for the one that was asked for."""

    revision: str
    refs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """All that would go. With `problems` nothing goes at all."""

    fleet: str
    revision: str
    revisions: tuple[KeptRevision, ...] = ()
    removals: tuple[Removal, ...] = ()
    problems: tuple[Problem, ...] = ()
    notes: tuple[str, ...] = ()
    refs: Mapping[str, str] = field(default_factory=dict)
    """The refs that were kept -> the commits they named."""
    elsewhere: int = 0
    """Images of the fleet in repositories that this is not about."""

    @property
    def images(self) -> int:
        """How many go."""
        return sum(len(removal.images) for removal in self.removals)

    @property
    def tags(self) -> int:
        """How many tags go from images that stay."""
        return sum(len(removal.tags) for removal in self.removals)

    @property
    def ours(self) -> int:
        """How many images of the fleet were found."""
        return self.elsewhere + sum(removal.ours for removal in self.removals)

    @property
    def size(self) -> int:
        """Bytes of what goes."""
        return sum(removal.size for removal in self.removals)

    @property
    def kept(self) -> Mapping[Kept, int]:
        """Why -> how many images stay for it."""
        counts: Counter[Kept] = Counter()
        for removal in self.removals:
            counts.update(removal.kept)
        return {why: counts[why] for why in Kept if counts[why]}

    def to_json(self, ends: Mapping[Repository, Pruned] | None = None) -> dict[str, Any]:
        """The document of `lian prune --json`; `ends` where it was carried out."""
        return {
            "kind": "prune",
            "version": 1,
            "fleet": self.fleet,
            "revision": self.revision,
            "revisions": [{"revision": kept.revision, "refs": list(kept.refs)} for kept in self.revisions],
            "summary": {
                "images": self.images,
                "tags": self.tags,
                "size": self.size,
                "kept": {why.value: number for why, number in self.kept.items()},
            },
            "repositories": [
                {**removal.to_json(), "outcome": None if ends is None else _outcome(ends.get(removal.repository))}
                for removal in self.removals
            ],
            "problems": [problem.to_json() for problem in self.problems],
            "notes": list(self.notes),
        }


class PruneStatus(StrEnum):
    """How a prune ended in one repository."""

    DONE = "done"
    HELD = "held"
    """Something could not be read, or another prune is at work there."""
    FAILED = "failed"
    NONE = "none"
    """There was nothing to do."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What became of one repository. `spared` are images that someone has come to want meanwhile."""

    repository: Repository
    status: PruneStatus
    images: tuple[Digest, ...] = ()
    """Those that are gone."""
    tags: tuple[str, ...] = ()
    """Those that are gone from images that stay."""
    spared: tuple[Digest, ...] = ()
    problems: tuple[Problem, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As it stands in prune.json."""
        return {
            "status": self.status.value,
            "images": [str(digest) for digest in self.images],
            "tags": list(self.tags),
            "spared": [str(digest) for digest in self.spared],
            "problems": [problem.to_json() for problem in self.problems],
        }


def _outcome(end: Pruned | None) -> dict[str, Any] | None:
    return end.to_json() if end else None
