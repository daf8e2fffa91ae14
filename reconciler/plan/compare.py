"""Desired against observed: one change for each artifact, never without a reason."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.identity.held import Held
from reconciler.identity.keys import content_tag
from reconciler.identity.resolve import Keyed, Pending, Resolution
from reconciler.model.artifact import ParentImage
from reconciler.model.observed import Absent, Found, Unknown
from reconciler.model.plan import Action, Change, Plan, Reason, ReasonCode
from reconciler.model.policy import Response
from reconciler.model.reference import Reference
from reconciler.plan.behind import behind, behind_checks
from reconciler.plan.drift import TagDrift
from reconciler.plan.explain import reasons as explain
from reconciler.plan.holding import Holding
from reconciler.plan.standing import Standing, is_on_none_of, of_others, old_parent, stood_on, told_by_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence, Set
    from typing import TypeAlias

    from reconciler.identity.inputs import Inputs
    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Observed, Sighting
    from reconciler.model.platform import Platform
    from reconciler.model.problem import Problem
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Repository

    _Compared: TypeAlias = tuple[BuildRecord, tuple[Reason, ...]]


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a person lets one pass do that is held otherwise."""

    older: bool = False
    """Undo what a newer commit applied."""
    vanished: bool = False
    """Build anew although most of what was there is gone."""
    foreign: bool = False
    """Take over tags that lian did not set, or that someone else has moved since."""


def make_plan(resolution: Resolution, observed: Observed, overrides: Overrides = Overrides()) -> Plan:
    """The plan of a settled resolution. Parents come before children."""
    desired = resolution.desired
    invalid = frozenset(problem.artifact for problem in desired.problems)
    changes: dict[ArtifactName, Change] = {}
    standing = Standing(desired, observed)
    for name in resolution.order:
        holding = Holding(desired.wanted[name], desired, invalid)
        match resolution.identities[name]:
            case Held(problems, because_of):
                changes[name] = holding.change(problems, because_of and desired.wanted[because_of])
            case Pending() as identity:
                change = _View(resolution, observed, holding, overrides, standing).pending(identity)
                changes[name] = behind(change, changes)
            case Keyed() as identity:
                changes[name] = _View(resolution, observed, holding, overrides, standing).keyed(identity)
        if changes[name].action is Action.BUILD and desired.wanted[name].artifact.checks:
            changes[name] = behind_checks(changes[name], holding, resolution, observed, changes)
    others = len(desired.others) + len(desired.unread)
    return Plan(desired.revision, tuple(changes.values()), desired.problems, others=others)


@dataclass(slots=True)
class _View:
    """One artifact, of which something is known, beside everything that was observed."""

    resolution: Resolution
    observed: Observed
    holding: Holding
    overrides: Overrides
    standing: Standing
    artifact: Artifact = field(init=False)
    drift: TagDrift = field(init=False)

    def __post_init__(self) -> None:
        self.artifact = self.holding.wanted.artifact
        fleet, given = self.desired.fleet, self.overrides
        self.drift = TagDrift(
            self.artifact, self.observed, fleet.name, fleet.policy, self.desired.history, given.older, given.foreign
        )

    @property
    def desired(self) -> Desired:
        return self.resolution.desired

    def _make(
        self,
        action: Action,
        reasons: Sequence[Reason],
        *,
        key: str | None = None,
        digest: Digest | None = None,
        waits_for: tuple[ArtifactName, ...] = (),
        conditional: bool = False,
        replaces: bool = False,
    ) -> Change:
        a = self.artifact
        return Change(
            a.name,
            a.image,
            a.tags,
            a.platforms,
            action,
            tuple(reasons),
            key=key,
            digest=digest,
            waits_for=waits_for,
            conditional=conditional,
            replaces=replaces,
        )

    def _by_policy(self, change: Change, moves: Sequence[Reason]) -> Change:
        """The change as the policy wants it: held, or with the tags left alone that it only wants reported. `moves`
        are the tags that carrying it out would move."""
        if change.action is Action.NONE:
            return change
        superseded = self.drift.superseded()
        responses = [(reason, self.drift.response(reason)) for reason in change.reasons]
        holding = [*self.drift.stuck(moves), *([superseded] if superseded else [])]
        holding += [reason for reason, response in responses if response is Response.HOLD]
        if holding:
            rest = [reason for reason in change.reasons if reason not in holding]
            problems = dict.fromkeys(self.drift.problem(reason, change) for reason in holding)
            return change.held((*holding, *rest), problems)
        reported = [reason for reason, response in responses if response is Response.REPORT]
        if not reported:
            return change
        left = {reason.subject for reason in reported}
        idle = change.action is Action.RETAG and len(reported) == len(change.reasons)
        action = Action.NONE if idle else change.action
        return replace(change, action=action, left=tuple(tag for tag in self.artifact.tags if tag in left))

    def _unreadable(self, *more: Sighting) -> tuple[Problem, ...]:
        """What of the tags, and of these, could not be read."""
        return self._told_of(*self.drift.heads.values(), *more)

    def _told_of(self, *answers: object) -> tuple[Problem, ...]:
        """The problems of those that are unknown, each once."""
        unread = [answer.problem for answer in answers if isinstance(answer, Unknown)]
        return tuple(dict.fromkeys(problem.of(str(self.artifact.name)) for problem in unread)) if unread else ()

    def keyed(self, identity: Keyed) -> Change:
        """All that it stands on is known."""
        content = self.observed.heads[Reference(self.artifact.image, identity.tag())]
        platforms = (self.observed.heads.get(Reference(self.artifact.image, identity.tag(p))) for p in identity.keys)
        if problems := self._unreadable(content) or self._unread_drift(content, *platforms):
            return self.holding.change(problems)
        if self._is_forced:
            return self._forced(identity, content.digest if isinstance(content, Found) else None)
        if isinstance(content, Found):
            digest = self.resolution.fixed(self.artifact.name, self.observed) or content.digest
            moves = self.drift.moves(digest)
            away = [Reason(ReasonCode.TAG_DIFFERS, str(content.digest), str(digest), subject=identity.tag())]
            reasons = moves if digest == content.digest else [*away, *moves]
            return self._by_policy(self._converged(identity, digest, reasons), moves)
        if here := self._made_before(identity.key):
            moves = self.drift.moves(here[1])
            lost = Reason(ReasonCode.ABSENT, None, str(here[1]), subject=content_tag(identity.key))
            change = self._make(Action.RETAG, [lost, *moves], key=identity.key, digest=here[1])
            return self._by_policy(replace(change, source=here[0]), moves)
        moves = self.drift.moves(None)
        why = [*self._lost_of_it(), *self._why(self._compared(identity.inputs), moves)]
        return self._by_policy(self._make(Action.BUILD, why, key=identity.key), moves)

    def _lost_of_it(self) -> list[Reason]:
        """Parts that are missing of what a build would have been saved by: of an image that lacks its content tag, or
        of those of single platforms."""
        name, observed = self.artifact.name, self.observed
        adopted = self.resolution.adopted(name, observed)
        lost = observed.lacking(self.artifact.image, adopted) if adopted else ()
        parts = dict.fromkeys((*lost, *self.resolution.lost_parts(name, observed)))
        return [Reason(ReasonCode.BROKEN, str(part)) for part in parts]

    @property
    def _is_forced(self) -> bool:
        return self.artifact.name in self.resolution.forced

    def _forced(self, identity: Keyed, there: Digest | None) -> Change:
        """Built anew, whatever is there; all its tags will move, so one that must not holds it."""
        moves = self.drift.moves(None)
        why = self.drift.moves(there) if there else self._why(self._compared(identity.inputs), moves)
        change = self._make(Action.BUILD, [Reason(ReasonCode.FORCED), *why], key=identity.key, replaces=True)
        return self._by_policy(change, moves)

    def _converged(self, identity: Keyed, digest: Digest, moves: Sequence[Reason]) -> Change:
        """The content is there: is all of it, and are the tags?"""
        lacking = self.observed.lacking(self.artifact.image, digest)
        broken = [Reason(ReasonCode.BROKEN, str(part)) for part in lacking]
        if broken and self.drift.response(broken[0]) is not Response.REPORT:
            return self._make(Action.BUILD, [*broken, *moves], key=identity.key, replaces=True)
        reasons = [*broken, *self._lost_platforms(identity), *moves]
        if not reasons:
            return self._make(Action.NONE, [Reason(ReasonCode.IN_SYNC)], key=identity.key, digest=digest)
        return self._make(Action.RETAG, reasons, key=identity.key, digest=digest)

    def _made_before(self, key: str) -> tuple[Repository | None, Digest] | None:
        """An image of this key that only lacks its content tag here, or stands in another repository (the first part)
        to copy it from; in both cases its own record says so, and no part of it is known to be missing."""
        adopted = self.resolution.adopted(self.artifact.name, self.observed)
        whole = adopted and not self.observed.lacking(self.artifact.image, adopted)
        return (None, adopted) if adopted and whole else self._donor(key)

    def _donor(self, key: str) -> tuple[Repository, Digest] | None:
        """Another repository to copy the image from, if all of it is there and its record says that it is what the key
        says."""
        found = self.resolution.donor(self.artifact.name, self.observed)
        if found is None or isinstance(self.observed.missing.get(found), Unknown):
            return None
        records = self.observed.records_of(*found)
        fleet = self.desired.fleet.name
        verified = any(r.key == key and r.digest == found[1] and r.fleet == fleet for r in records)
        return found if verified else None

    def _lost_platforms(self, identity: Keyed) -> list[Reason]:
        """Content tags of single platforms that children stand on (only those were asked for), and that are gone."""
        tags = [identity.tag(platform) for platform in sorted(identity.keys)] if len(identity.keys) > 1 else []
        heads = ((tag, self.observed.heads.get(Reference(self.artifact.image, tag))) for tag in tags)
        return [Reason(ReasonCode.ABSENT, subject=tag) for tag, head in heads if isinstance(head, Absent)]

    def _unread_drift(self, *more: Sighting | None) -> tuple[Problem, ...]:
        """What could not be read of the drift's story, that of these images included: it might say that nothing has to
        be built, or that the tag is not lian's."""
        image = self.artifact.image
        digests = [head.digest for head in (*self.drift.heads.values(), *more) if isinstance(head, Found)]
        answers: list[object] = [self.observed.records.get((image, digest)) for digest in digests]
        if digests and self.desired.fleet.policy.drift.broken is not Response.REPORT:
            answers += [self.observed.missing.get((image, digest)) for digest in digests]
        return self._told_of(*answers, self.observed.applied.get(image))

    def _why(self, told: Sequence[_Compared], moves: Sequence[Reason], *, waits: bool = False) -> list[Reason]:
        """Why a build is due; empty if it `waits` for parents and only these can make it due. `told` is how its inputs
        differ from each record's, `moves` are the tags that point at something now."""
        others = [reason for reason in moves if reason.code in _BY_OTHERS]
        if not moves:
            return [Reason(ReasonCode.ABSENT, subject=tag) for tag in self.artifact.tags]
        if waits and any(not differences for _, differences in told):
            return others
        differing = [differences for _, differences in told if differences]
        if not differing:
            return others or list(moves)
        least: tuple[Reason, ...] = min(differing, key=len)
        return [*others, *told_by_name(self.artifact, least, self.standing)]

    def _compared(self, inputs: Mapping[Platform, Inputs], waiting: Set[str] = frozenset()) -> list[_Compared]:
        """Each of its own records, newest first, with how the inputs differ. One image may have been made of several:
        the record that differs least tells why, for what came and went meanwhile is no reason."""
        return [(one, explain(self.artifact, one, inputs, waiting)) for one in self.drift.own_records]

    def pending(self, identity: Pending) -> Change:
        """Parents are built first, and it behind them if they come out different."""
        if problems := self._unreadable() or self._unread_drift():
            return self.holding.change(problems)
        contexts = self.artifact.contexts
        waiting = {n for n, c in contexts.items() if isinstance(c, ParentImage) and c.artifact in identity.waits_for}
        told = self._compared(identity.inputs, waiting)
        record = min(told, key=lambda one: len(one[1]))[0] if told else None
        stood = {} if record is None else stood_on(record)
        moves, forced = self.drift.moves(None), self._is_forced
        own = [*([Reason(ReasonCode.FORCED)] if forced else []), *self._why(told, moves, waits=bool(waiting))]
        own += of_others(self.artifact, sorted(waiting), stood, self.standing)
        certain = own or ([] if record is None else self._certain(record))
        parents = [
            Reason(ReasonCode.PARENT_CHANGED, old_parent(self.artifact, parent, stood), subject=str(parent))
            for parent in identity.waits_for
        ]
        decided = bool(own) or is_on_none_of(self.artifact, waiting, stood, self.standing)
        change = self._make(
            Action.BUILD, [*certain, *parents], waits_for=identity.waits_for, conditional=not decided, replaces=forced
        )
        return self._by_policy(change, moves if decided else certain)

    def _certain(self, record: BuildRecord) -> list[Reason]:
        """What has to be done even if all parents come out identical, so that the image stays that of the record."""
        return [reason for reason in self.drift.moves(record.digest) if reason.code not in _BY_OTHERS]


_BY_OTHERS = {ReasonCode.FOREIGN, ReasonCode.RETAGGED}
