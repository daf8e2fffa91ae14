"""The applied document: what lian last made the tags of one repository point at, and for which commit (design
section 5). It tells a tag that someone else moved from a revert, and stops an older pass that finishes late.

It lies in the repository itself, as an artifact under a tag with the fleet's name: fleets that share a repository do
not write over one another's. Registries have no compare-and-swap, so it is a witness, not a lock: what two writers in
the same moment lose of it costs a reason in a plan, or an older pass that is not stopped, until the next pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import packed
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.manifest import Manifest
    from reconciler.model.reference import Repository

APPLIED_PREFIX = "lian-applied-"
APPLIED_TYPE = "application/vnd.lian.applied.v1"
APPLIED_LAYER = "application/vnd.lian.applied.v1+json"
VERSION = 1
ANCESTORS = 256
"""Ancestors of the applied commit that a document names: a pass that is further behind than that is no race."""
LOOKED_AT = 4
"""So many of an artifact's last tags tell whether its images are still there."""
_SHORT = 16
"""Hex digits kept of an ancestor's id."""


@dataclass(frozen=True, slots=True)
class History:
    """A commit and where it stands: `time` of the commit in Unix seconds, the newest of its ancestors (shortened ids),
    and whether these are all it has. A folder that lies in no repository has an empty `revision`, and is neither older
    nor newer than any commit."""

    revision: str
    time: int = 0
    ancestors: tuple[str, ...] = ()
    complete: bool = False

    @classmethod
    def of(cls, revision: str, time: int, ancestors: tuple[str, ...], *, complete: bool) -> History:
        """`ancestors` newest first, at any length; `complete` says that there are no more than these."""
        kept = tuple(ancestor[:_SHORT] for ancestor in ancestors[:ANCESTORS])
        return cls(revision, time, kept, complete and len(ancestors) <= ANCESTORS)

    def descends_from(self, revision: str) -> bool | None:
        """True or False as far as this history tells, None where it is cut off."""
        if revision[:_SHORT] in self.ancestors:
            return True
        return False if self.complete or revision == self.revision else None


def applied_at(repository: Repository, fleet: str, digest: Digest | None = None) -> Reference:
    """Where a fleet's document of a repository lies; `digest` where the tag is known to point."""
    return Reference(repository, APPLIED_PREFIX + fleet, digest)


@dataclass(frozen=True, slots=True)
class AppliedTag:
    """What lian pointed a tag at, for which artifact, and the commit (`time` in Unix seconds) that asked for it."""

    digest: Digest
    artifact: str
    revision: str
    time: int = 0
    next: Digest | None = None
    """Where a pass was about to move it. The entry still says so if that pass was cut off after the move (ADR 048)."""

    def gave(self, digest: Digest) -> bool:
        """True if it was lian that pointed the tag at this."""
        return digest in {self.digest, self.next}


@dataclass(frozen=True, slots=True)
class Applied:
    """The document. `history` is that of the commit whose pass wrote it last."""

    fleet: str
    history: History
    tags: Mapping[str, AppliedTag] = field(default_factory=dict)

    def moved(self, history: History, tags: Mapping[str, AppliedTag]) -> Applied:
        """The document after these tags were moved for this commit."""
        return replace(self, history=history, tags={**self.tags, **tags})

    def about_to_move(self, targets: Mapping[str, Digest]) -> Applied:
        """The document before tags are moved to these targets. It is the same where no entry would be contradicted: of
        a tag that has none, the image's own record tells whose it is."""
        entries = {tag: last for tag in targets if (last := self.tags.get(tag)) and last.digest != targets[tag]}
        announced = {tag: replace(last, next=targets[tag]) for tag, last in entries.items()}
        return replace(self, tags={**self.tags, **announced})

    def last_of(self, artifact: str) -> tuple[str, ...]:
        """The tags that this artifact was given last, at most LOOKED_AT, the newest first."""
        own = [(last.time, tag) for tag, last in self.tags.items() if last.artifact == artifact]
        return tuple(tag for _, tag in sorted(own, reverse=True)[:LOOKED_AT])

    def revisions(self, tags: Iterable[str]) -> set[str]:
        """The commits of which one has to know where they stand before these tags are moved."""
        return {self.history.revision} | {last.revision for tag in tags if (last := self.tags.get(tag))}

    def newer_than(self, ours: History, tag: str, known: Mapping[str, bool | None]) -> str | None:
        """The commit newer than `ours` that was applied here, so that moving `tag` for ours would roll it back: the one
        that this document was written for, or the one that moved this very tag (a pass of another branch may have
        written the document since). None if there is none.

        `known` is what the desired repo itself tells: commit -> whether it descends from ours; None, or nothing, for
        one that it does not know (a clone that is older, or shallow). Where nobody can tell, the later commit time of
        the pass that moved this very tag decides: a hold can be overridden, a rollback is not even noticed.
        """
        if self.stands_after(ours, known):
            return self.history.revision
        last = self.overtaking(ours, tag, known)
        return last.revision if last else None

    def overtaking(self, ours: History, tag: str, known: Mapping[str, bool | None]) -> AppliedTag | None:
        """What a commit newer than `ours` pointed this very tag at, None if it was none; `known` as for newer_than."""
        last = self.tags.get(tag)
        if last is None or last.revision == ours.revision:
            return None
        answer = self._descends(last.revision, ours, known)
        newer = last.time > ours.time if answer is None else answer
        return last if newer else None

    def stands_after(self, ours: History, known: Mapping[str, bool | None]) -> bool:
        """True if the commit that this document was written for certainly descends from `ours`."""
        return self._descends(self.history.revision, ours, known) is True

    def _descends(self, revision: str, ours: History, known: Mapping[str, bool | None]) -> bool | None:
        """Whether a commit named here descends from ours, None if neither git nor the two histories tell."""
        if revision == ours.revision:
            return False
        answers = {known.get(revision)}
        if revision == self.history.revision:
            answers.add(self.history.descends_from(ours.revision))
        if True in answers:
            return True
        if False in answers or ours.descends_from(revision):
            return False
        return False if self._came_before(revision, ours, known) else None

    def _came_before(self, revision: str, ours: History, known: Mapping[str, bool | None]) -> bool:
        """True for an ancestor of the document's commit if that one does not descend from ours: then none of them
        does."""
        inside = revision != self.history.revision and self.history.descends_from(revision) is True
        return inside and self._descends(self.history.revision, ours, known) is False

    def to_json(self) -> dict[str, Any]:
        """The layer's document."""
        return {
            "kind": "applied",
            "version": VERSION,
            "fleet": self.fleet,
            "revision": self.history.revision,
            "time": self.history.time,
            "ancestors": list(self.history.ancestors),
            "complete": self.history.complete,
            "tags": {tag: _entry(a) for tag, a in sorted(self.tags.items())},
        }

    @classmethod
    def from_json(cls, document: Any) -> Applied:
        """Raises ValueError for anything that is not a document of a version known here."""
        try:
            if document["kind"] != "applied" or document["version"] != VERSION:
                raise ValueError(f"not an applied document of version {VERSION}")
            history = History(
                _text(document["revision"]),
                _moment(document["time"]),
                tuple(_text(a) for a in document["ancestors"]),
                document["complete"] is True,
            )
            tags = {_text(tag): _applied_tag(a) for tag, a in document["tags"].items()}
            return cls(_text(document["fleet"]), history, tags)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an applied document: {error}") from error

    def packed(self) -> tuple[Manifest, dict[Digest, bytes]]:
        """The manifest to put under the fleet's tag, and its blobs."""
        return packed(APPLIED_TYPE, APPLIED_LAYER, canonical(self.to_json()))


def _entry(a: AppliedTag) -> dict[str, Any]:
    said = {"digest": str(a.digest), "artifact": a.artifact, "revision": a.revision, "time": a.time}
    return said | ({"next": str(a.next)} if a.next else {})


def _applied_tag(entry: Any) -> AppliedTag:
    return AppliedTag(
        Digest.parse(entry["digest"]),
        _text(entry["artifact"]),
        _text(entry["revision"]),
        _moment(entry["time"]),
        Digest.parse(entry["next"]) if "next" in entry else None,
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not an applied document: expected a text")
    return value


def _moment(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("not an applied document: expected a time in seconds")
    return value
