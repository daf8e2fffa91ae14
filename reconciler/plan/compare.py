"""Desired against observed: one change for each artifact, never without a reason."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.identity.keys import content_tag
from reconciler.identity.resolve import Held, Keyed, Pending, Resolution
from reconciler.model.artifact import ParentImage
from reconciler.model.observed import Absent, Found, Unknown
from reconciler.model.plan import Action, Change, Plan, Reason, ReasonCode
from reconciler.model.reference import Reference
from reconciler.plan.explain import reasons as explain

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from reconciler.identity.resolve import Identity
    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Observed, Sighting
    from reconciler.model.problem import Problem


def make_plan(resolution: Resolution, observed: Observed, selected: Collection[ArtifactName] | None = None) -> Plan:
    """The plan of a settled resolution, for all artifacts or for the selected ones. Parents come before children."""
    desired = resolution.desired
    invalid = {problem.artifact for problem in desired.problems}
    changes = []
    for name in resolution.order:
        if selected is None or name in selected:
            artifact = desired.wanted[name].artifact
            view = _View(artifact, observed, desired, frozenset(invalid))
            changes.append(view.change(resolution.identities[name]))
    return Plan(desired.revision, tuple(changes), desired.problems)


@dataclass(frozen=True, slots=True)
class _View:
    """One artifact beside everything that was observed."""

    artifact: Artifact
    observed: Observed
    desired: Desired
    invalid: frozenset[str | None]
    """Names of the artifacts that are wrong in the commit."""

    def change(self, identity: Identity) -> Change:
        match identity:
            case Held(problems, because_of):
                return self._held(problems, because_of)
            case Pending():
                return self._pending(identity)
            case Keyed():
                return self._keyed(identity)

    def _head(self, tag: str) -> Sighting:
        return self.observed.heads[Reference(self.artifact.image, tag)]

    def _make(
        self,
        action: Action,
        reasons: Sequence[Reason],
        *,
        key: str | None = None,
        digest: Digest | None = None,
        waits_for: tuple[ArtifactName, ...] = (),
        conditional: bool = False,
        holds: tuple[Problem, ...] = (),
    ) -> Change:
        a = self.artifact
        return Change(
            a.name, a.image, a.tags, a.platforms, action, tuple(reasons), key, digest, waits_for, conditional, holds
        )

    def _held(self, problems: tuple[Problem, ...], because_of: ArtifactName | None) -> Change:
        held = because_of or self.artifact.name
        if str(held) in self.invalid:
            code = ReasonCode.INVALID
        elif self.desired.wanted[held].materials is None:
            code = ReasonCode.UNSUPPORTED  # the source holds what it could read and lian cannot serve yet
        else:
            code = ReasonCode.UNKNOWN
        subject = str(because_of) if because_of else None
        reasons = [Reason(code, None, problem.code, subject=subject) for problem in problems]
        return self._make(Action.HOLD, reasons, holds=problems)

    def _unreadable(self, tags: Sequence[str]) -> tuple[Problem, ...]:
        heads = (self._head(tag) for tag in tags)
        problems = dict.fromkeys(
            head.problem.of(str(self.artifact.name)) for head in heads if isinstance(head, Unknown)
        )
        return tuple(problems)

    def _keyed(self, identity: Keyed) -> Change:
        tags = [identity.tag(), *self.artifact.tags]
        if problems := self._unreadable(tags):
            return self._held(problems, None)
        content = self._head(identity.tag())
        if isinstance(content, Found):
            return self._converged(identity, content.digest)
        if problems := self._unread_records():
            return self._held(problems, None)
        if adopted := self.observed.built_as(self.artifact.image, self.artifact.tags, identity.key):
            reason = Reason(ReasonCode.ABSENT, None, str(adopted), subject=content_tag(identity.key))
            return self._make(Action.RETAG, [reason, *self._tag_reasons(adopted)], key=identity.key, digest=adopted)
        return self._make(Action.BUILD, self._why(identity, set()), key=identity.key)

    def _converged(self, identity: Keyed, digest: Digest) -> Change:
        """The content is there: are the tags?"""
        if moves := [*self._lost_platforms(identity), *self._tag_reasons(digest)]:
            return self._make(Action.RETAG, moves, key=identity.key, digest=digest)
        return self._make(Action.NONE, [Reason(ReasonCode.IN_SYNC)], key=identity.key, digest=digest)

    def _lost_platforms(self, identity: Keyed) -> list[Reason]:
        """Content tags of single platforms that children stand on (only those were asked for), and that are gone."""
        tags = [identity.tag(platform) for platform in sorted(identity.keys)] if len(identity.keys) > 1 else []
        heads = ((tag, self.observed.heads.get(Reference(self.artifact.image, tag))) for tag in tags)
        return [Reason(ReasonCode.ABSENT, subject=tag) for tag, head in heads if isinstance(head, Absent)]

    def _unread_records(self) -> tuple[Problem, ...]:
        """Records that could not be read: they might say that nothing has to be built."""
        digests = self.observed.named(self.artifact.image, self.artifact.tags).values()
        records = (self.observed.records.get((self.artifact.image, digest)) for digest in digests)
        unread = dict.fromkeys(r.problem.of(str(self.artifact.name)) for r in records if isinstance(r, Unknown))
        return tuple(unread)

    def _tag_reasons(self, digest: Digest) -> list[Reason]:
        found = []
        for tag in self.artifact.tags:
            match self._head(tag):
                case Found(there) if there != digest:
                    found.append(Reason(ReasonCode.TAG_DIFFERS, str(there), str(digest), subject=tag))
                case Absent():
                    found.append(Reason(ReasonCode.ABSENT, None, str(digest), subject=tag))
        return found

    def _why(self, identity: Keyed | Pending, waiting: set[str]) -> list[Reason]:
        """Why a build is due; empty if only the parents that are waited for can make it due."""
        found = self.observed.named(self.artifact.image, self.artifact.tags)
        if not found:
            return [Reason(ReasonCode.ABSENT, subject=tag) for tag in self.artifact.tags]
        records = self.observed.records_behind(self.artifact.image, self.artifact.tags)
        for record in records:
            if differences := explain(self.artifact, record, identity.inputs, waiting):
                return list(differences)
        if waiting and records:
            return []
        return [Reason(ReasonCode.TAG_DIFFERS, str(digest), None, subject=tag) for tag, digest in found.items()]

    def _pending(self, identity: Pending) -> Change:
        if problems := self._unreadable(self.artifact.tags):
            return self._held(problems, None)
        contexts = self.artifact.contexts
        waiting = {n for n, c in contexts.items() if isinstance(c, ParentImage) and c.artifact in identity.waits_for}
        if problems := self._unread_records():
            return self._held(problems, None)
        own = self._why(identity, waiting)
        parents = [Reason(ReasonCode.PARENT_CHANGED, *self._old_parent(p), subject=str(p)) for p in identity.waits_for]
        return self._make(Action.BUILD, [*own, *parents], waits_for=identity.waits_for, conditional=not own)

    def _old_parent(self, parent: ArtifactName) -> tuple[str | None, None]:
        """The parent's digest that the present image stands on, if a record tells; the new one is not known yet."""
        names = [n for n, c in self.artifact.contexts.items() if isinstance(c, ParentImage) and c.artifact == parent]
        for record in self.observed.records_behind(self.artifact.image, self.artifact.tags):
            for build in record.platforms.values():
                leaves: Mapping[str, Mapping[str, str]] = build.inputs.get("contexts", {})
                for name in names:
                    if name in leaves:
                        return leaves[name].get("image"), None
        return None, None
