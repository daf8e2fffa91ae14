"""The applied document: what lian last made the tags of one repository point at, and for which commit (design
section 5). It tells a tag that someone else moved from a revert, and stops an older pass that finishes late.

It lies in the repository itself, as an artifact under the tag APPLIED_TAG. Registries have no compare-and-swap, so it
is a witness, not a lock: what two writers in the same moment lose of it costs a reason in a plan, never an image.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import packed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.manifest import Manifest

APPLIED_TAG = "lian-applied"
APPLIED_TYPE = "application/vnd.lian.applied.v1"
APPLIED_LAYER = "application/vnd.lian.applied.v1+json"
VERSION = 1
ANCESTORS = 256
"""Ancestors of the applied commit that a document names: a pass that is further behind than that is no race."""
_SHORT = 16
"""Hex digits kept of an ancestor's id."""


@dataclass(frozen=True, slots=True)
class History:
    """A commit and where it stands: `time` of the commit in Unix seconds, the newest of its ancestors (shortened ids),
    and whether these are all it has."""

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


@dataclass(frozen=True, slots=True)
class AppliedTag:
    """What lian pointed a tag at, for which artifact, and the commit (`time` in Unix seconds) that asked for it."""

    digest: Digest
    artifact: str
    revision: str
    time: int = 0


@dataclass(frozen=True, slots=True)
class Applied:
    """The document. `history` is that of the commit whose pass wrote it last."""

    fleet: str
    history: History
    tags: Mapping[str, AppliedTag] = field(default_factory=dict)

    def moved(self, history: History, tags: Mapping[str, AppliedTag]) -> Applied:
        """The document after these tags were moved for this commit."""
        return replace(self, history=history, tags={**self.tags, **tags})

    def supersedes(self, ours: History, tag: str, known: bool | None) -> bool:
        """True if the commit that was applied is newer than `ours`, so that moving `tag` for ours would roll it back.

        `known` is what the desired repo itself tells: whether the applied commit descends from ours, None if it does
        not know that commit (a clone that is older, or shallow). Where nobody can tell, the later commit time of the
        pass that moved this very tag decides: a hold can be overridden, a rollback is not even noticed.
        """
        if self.history.revision == ours.revision:
            return False
        answers = (known, self.history.descends_from(ours.revision))
        if True in answers:
            return True
        if False in answers or ours.descends_from(self.history.revision):
            return False
        last = self.tags.get(tag)
        return last is not None and last.revision != ours.revision and last.time > ours.time

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
            "tags": {
                tag: {"digest": str(a.digest), "artifact": a.artifact, "revision": a.revision, "time": a.time}
                for tag, a in sorted(self.tags.items())
            },
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
            tags = {
                _text(tag): AppliedTag(
                    Digest.parse(a["digest"]), _text(a["artifact"]), _text(a["revision"]), _moment(a["time"])
                )
                for tag, a in document["tags"].items()
            }
            return cls(_text(document["fleet"]), history, tags)
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not an applied document: {error}") from error

    def packed(self) -> tuple[Manifest, dict[Digest, bytes]]:
        """The manifest to put under APPLIED_TAG, and its blobs."""
        return packed(APPLIED_TYPE, APPLIED_LAYER, canonical(self.to_json()))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("not an applied document: expected a text")
    return value


def _moment(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("not an applied document: expected a time in seconds")
    return value
