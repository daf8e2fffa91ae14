"""What stands under an artifact's tags that should not: whose it is, and what the fleet's policy says to that."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.identity.held import broken
from reconciler.model.applied import Applied
from reconciler.model.fleet import UNNAMED
from reconciler.model.observed import Absent, Found, Unknown
from reconciler.model.plan import Reason, ReasonCode
from reconciler.model.policy import Response
from reconciler.model.problem import Next, Problem
from reconciler.model.record import nearest
from reconciler.model.reference import Reference
from reconciler.model.wording import short
from reconciler.plan.explain import OF_INPUTS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.applied import History
    from reconciler.model.artifact import Artifact
    from reconciler.model.digest import Digest
    from reconciler.model.observed import Observed, Sighting
    from reconciler.model.plan import Change
    from reconciler.model.policy import Policy
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Repository

_LAST_NUMBER = re.compile(r"(?P<head>.*?)(?P<number>[0-9]+)(?P<tail>[^0-9]*)")


@dataclass(slots=True)
class TagDrift:
    """One artifact's tags beside what was observed. `allow_older` lets a commit undo what a newer one applied,
    `allow_foreign` lets it take over what someone else did."""

    artifact: Artifact
    observed: Observed
    fleet: str
    policy: Policy
    history: History
    allow_older: bool = False
    allow_foreign: bool = False
    heads: Mapping[str, Sighting] = field(init=False)
    """What each wanted tag names."""
    records: tuple[BuildRecord, ...] = field(init=False)
    """Those of all images that the tags name."""

    def __post_init__(self) -> None:
        image, heads = self.artifact.image, self.observed.heads
        self.heads = {tag: heads[Reference(image, tag)] for tag in self.artifact.tags}
        there = (head.digest for head in self.heads.values() if isinstance(head, Found))
        self.records = tuple(record for digest in there for record in self.observed.records_of(image, digest))

    @property
    def own_records(self) -> tuple[BuildRecord, ...]:
        """Those that tell of this artifact: others may have come out as the same image, from other inputs."""
        return nearest(self.records, str(self.artifact.name), self.fleet)

    def moves(self, wanted: Digest | None) -> list[Reason]:
        """A reason for each tag that does not point at the wanted image; with None, for each that points at any."""
        return [reason for tag in self.artifact.tags if (reason := self._move(tag, wanted))]

    def _move(self, tag: str, wanted: Digest | None) -> Reason | None:
        new = str(wanted) if wanted else None
        match self.heads[tag]:
            case Found(there) if there != wanted:
                return Reason(self._whose(tag, there), str(there), new, subject=tag)
            case Absent() if wanted:
                return Reason(ReasonCode.ABSENT, None, new, subject=tag)
        return None

    def _whose(self, tag: str, there: Digest) -> ReasonCode:
        """Who put the tag where it is: the applied document tells, else the image's own build record."""
        last = self._applied.tags.get(tag) if self._applied else None
        if last is not None and last.gave(there):
            return ReasonCode.TAG_DIFFERS
        records = self.observed.records_of(self.artifact.image, there)
        if not any(self._is_ours(record) for record in records):
            return ReasonCode.FOREIGN
        return ReasonCode.TAG_DIFFERS if last is None else ReasonCode.RETAGGED

    def _is_ours(self, record: BuildRecord) -> bool:
        """Also of this repo's commits before the fleet was given a name (ADR 049)."""
        if record.fleet != UNNAMED:
            return record.fleet in {"", self.fleet}
        ours = record.revision != "" and record.revision == self.history.revision
        known = ours or self.observed.lineage.get(record.revision) is not None
        return known or self.fleet == UNNAMED

    @property
    def _applied(self) -> Applied | None:
        applied = self.observed.applied.get(self.artifact.image)
        return None if isinstance(applied, Unknown) else applied

    def stuck(self, moves: Iterable[Reason]) -> list[Reason]:
        """Tags that must never move, and would have to."""
        return [
            Reason(ReasonCode.IMMUTABLE, reason.old, reason.new, subject=reason.subject)
            for reason in moves
            if reason.old is not None and self.policy.immutable(reason.subject or "")
        ]

    def superseded(self) -> Reason | None:
        """A newer commit has been applied to this repository, or has built what a tag points at. No commit is newer
        than a folder: whoever asks for one wants it now."""
        if self.allow_older or not self.history.revision:
            return None
        newer = self._newer_applied() or self._newer_built()
        return Reason(ReasonCode.SUPERSEDED, newer, self.history.revision) if newer else None

    def _newer_applied(self) -> str | None:
        applied = self._applied
        if applied is None:
            return None
        found = (applied.newer_than(self.history, tag, self.observed.lineage) for tag in self.artifact.tags)
        return next((revision for revision in found if revision), None)

    def _newer_built(self) -> str | None:
        ours = (record for record in self.records if record.fleet == self.fleet)
        return next((r.revision for r in ours if self.observed.lineage.get(r.revision)), None)

    def response(self, reason: Reason) -> Response:
        """What the policy says to this reason; whatever is not by another's hand is healed."""
        if self.allow_foreign and reason.code in _BY_ANOTHER:
            return Response.HEAL
        match reason.code:
            case ReasonCode.FOREIGN:
                return self.policy.drift.foreign
            case ReasonCode.RETAGGED:
                return self.policy.drift.retagged
            case ReasonCode.BROKEN:
                return self.policy.drift.broken
            case ReasonCode.IMMUTABLE | ReasonCode.SUPERSEDED:
                return Response.HOLD
        return Response.HEAL

    def problem(self, reason: Reason, change: Change) -> Problem:
        """Why this reason holds the artifact, for which the change is what there is to do, and what a person can do."""
        return self._problem(reason, change).at(self.artifact.place).of(str(self.artifact.name))

    def _problem(self, reason: Reason, change: Change) -> Problem:
        image, tag = self.artifact.image, reason.subject or ""
        if reason.code is ReasonCode.BROKEN:
            return broken(str(image), _short(reason.old))
        said = self._fixed(reason, change) if reason.code is ReasonCode.IMMUTABLE else _SAID[reason.code]
        where = image if reason.code is ReasonCode.SUPERSEDED else f"{image}:{tag}" if tag else image
        message = said.message.format(where=where, old=_short(reason.old), new=_short(reason.new))
        next_ = Next.RETRY if reason.code is ReasonCode.SUPERSEDED else Next.PERSON
        return Problem(said.code, message, hint=said.hint, next=next_)

    def _fixed(self, reason: Reason, change: Change) -> _Said:
        """Of a tag that must not move: only where the artifact is made of something else is another tag the way on."""
        tag = reason.subject or ""
        there = self.heads[tag]
        assert isinstance(there, Found)
        back = f"move it back to {_short(reason.new)}, or remove it" if reason.new else "remove it"
        hint = f"{back}: lian sets a tag that is not there"
        codes = {each.code for each in change.reasons if each.subject in {None, tag}}
        match next(iter(codes & _BY_ANOTHER), None):
            case ReasonCode.RETAGGED:
                return _Said(_FIXED, "{where} must not move, and was moved to {old} by someone else", hint)
            case ReasonCode.FOREIGN:
                return _Said(_FIXED, "{where} must not move, and points at {old}, which lian did not make", hint)
            case _ if self._is_of_other_inputs(there.digest, change):
                hint = f"write a new tag in the directive, such as {next_tag(tag)}"
                return _Said(_FIXED, "{where} must not move, and its inputs changed", hint)
            case _ if ReasonCode.FORCED in codes:
                hint = f"leave {self.artifact.name} out of --force"
                return _Said(_FIXED, "{where} must not move, and a forced build would move it", hint)
        return _Said(_FIXED, "{where} must not move, and points at another image, {old}", hint)

    def _is_of_other_inputs(self, there: Digest, change: Change) -> bool:
        """Whether the image that lian left under a tag is known to be of other inputs than those of the change."""
        if change.key is None:  # parents are built first, and what differs beside them is known
            unbuilt = (ReasonCode.PARENT_CHANGED, None)
            return any(r.code in OF_INPUTS and (r.code, r.new) != unbuilt for r in change.reasons)
        records = self.observed.records_of(self.artifact.image, there)
        return bool(records) and all(record.key != change.key for record in records)


_BY_ANOTHER = {ReasonCode.FOREIGN, ReasonCode.RETAGGED}


@dataclass(frozen=True, slots=True)
class _Said:
    code: str
    message: str
    hint: str


_FIXED = "tag-immutable"
_SAID = {
    ReasonCode.FOREIGN: _Said(
        "tag-foreign",
        "{where} points at {old}, an image that lian did not make",
        "move that tag away, want another tag, or let lian take it over with policy.drift.foreign = 'Heal in lian.ncl; "
        "`lian build` has --allow-foreign",
    ),
    ReasonCode.RETAGGED: _Said(
        "tag-retagged",
        "{where} was moved to {old} by someone else",
        "move it back, or let lian do so with policy.drift.retagged = 'Heal in lian.ncl",
    ),
    ReasonCode.SUPERSEDED: _Said(
        "superseded",
        "a newer commit, {old}, has been applied to {where}",
        "reconcile that commit or a later one; to go back on purpose give --allow-older",
    ),
}


def revisions_behind(observed: Observed) -> set[str]:
    """The commits that were applied to, or built, what was found: where they stand tells who is newer."""
    applied: set[str] = set()
    tags = _tags_of(observed)
    for repository, document in observed.applied.items():
        if isinstance(document, Applied):
            applied |= document.revisions(tags.get(repository, ()))
    records = (found for found in observed.records.values() if not isinstance(found, Unknown))
    return applied | {record.revision for found in records for record in found}


def _tags_of(observed: Observed) -> dict[Repository, list[str]]:
    """The tags that were looked at, of the repositories whose applied document was."""
    found: dict[Repository, list[str]] = {repository: [] for repository in observed.applied}
    for reference in observed.heads:
        if reference.tag and reference.repository in found:
            found[reference.repository].append(reference.tag)
    return found


def next_tag(tag: str) -> str:
    """A tag that could follow this one: its last number plus one, `1.4.2` → `1.4.3`."""
    match = _LAST_NUMBER.fullmatch(tag)
    if not match:
        return f"{tag}-2"
    number = str(int(match["number"]) + 1).zfill(len(match["number"]))
    return f"{match['head']}{number}{match['tail']}"


def _short(value: str | None) -> str:
    return short(value or "")
