"""From desired and observed to keys, level by level through the graph.

A child's key needs its parent's output digest, so keys become known in rounds: `still_needed` says which answers of
the registry are missing; when it says none, `identities` is complete.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeAlias

from reconciler.identity.ancestry import images_of, parents_first, parents_in_use
from reconciler.identity.held import Held, broken, unreadable
from reconciler.identity.inputs import Inputs, platform_inputs
from reconciler.identity.keys import artifact_key, content_tag, platform_key
from reconciler.model.applied import Applied, applied_at
from reconciler.model.observed import Absent, Found, Observed, Questions, Unknown
from reconciler.model.policy import Response
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired, Wanted
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.platform import Platform
    from reconciler.model.problem import Problem
    from reconciler.model.reference import Repository


@dataclass(frozen=True, slots=True)
class Keyed:
    """The artifact's identity is known."""

    key: str
    keys: Mapping[Platform, str]
    inputs: Mapping[Platform, Inputs]

    def tag(self, platform: Platform | None = None) -> str:
        """The content tag of the whole, or of one platform's manifest."""
        return content_tag(self.keys[platform] if platform else self.key)


@dataclass(frozen=True, slots=True)
class Pending:
    """The key depends on parents that have to be built first; `inputs` lack their leaves."""

    waits_for: tuple[ArtifactName, ...]
    inputs: Mapping[Platform, Inputs]


Identity: TypeAlias = "Keyed | Pending | Held"
ParentDigests: TypeAlias = "Mapping[tuple[ArtifactName, Platform], Digest]"


def identify(
    wanted: Wanted,
    images: Mapping[Reference, Digest],
    parents: ParentDigests,
    *,
    builder: str | None,
    moment: float,
) -> Keyed:
    """The identity of an artifact all of whose bases and parents are known."""
    inputs = _inputs(wanted, images, parents, builder, moment)
    keys = {platform: platform_key(document) for platform, document in inputs.items()}
    return Keyed(artifact_key(keys), keys, inputs)


def _inputs(
    wanted: Wanted, images: Mapping[Reference, Digest], parents: ParentDigests, builder: str | None, moment: float
) -> dict[Platform, Inputs]:
    artifact, materials = wanted.artifact, wanted.materials
    if materials is None:
        raise ValueError(f"{artifact.name} is held: it has no inputs")
    documents = {}
    for platform in artifact.platforms:
        own = {name: digest for (name, on), digest in parents.items() if on == platform}
        documents[platform] = platform_inputs(
            artifact, materials, platform, images, own, builder=builder, moment=moment
        )
    return documents


@dataclass(slots=True)
class _Asked:
    """What has to be known before an artifact is settled."""

    heads: set[Reference] = field(default_factory=set)
    whole: set[tuple[Repository, Digest]] = field(default_factory=set)
    records: set[tuple[Repository, Digest]] = field(default_factory=set)

    def __bool__(self) -> bool:
        return bool(self.heads or self.whole or self.records)


@dataclass(slots=True)
class Resolution:
    """Identities of one pass. `moment` is the pass time in Unix seconds; `audited` says of which images every part is
    looked for in this pass."""

    desired: Desired
    moment: float
    audited: Callable[[Repository, Digest], bool] = lambda _repository, _digest: False
    forced: frozenset[ArtifactName] = frozenset()
    """What is built anew although it may be there."""
    identities: dict[ArtifactName, Identity] = field(default_factory=dict)
    images: dict[Reference, Digest] = field(default_factory=dict)
    order: list[ArtifactName] = field(init=False)
    _open: list[ArtifactName] = field(init=False)
    _families: set[ArtifactName] = field(init=False)
    _unsettled: set[ArtifactName] = field(init=False)
    _based: dict[ArtifactName, tuple[ArtifactName, ...]] = field(default_factory=dict)
    """Those whose bases are known -> the parents in use."""
    _waits_for: dict[ArtifactName, ArtifactName] = field(default_factory=dict)
    """Artifact -> the parent without which nothing more can be said of it: looking again before would be in vain."""
    _by_key: dict[str, list[ArtifactName]] | None = None
    _donors: dict[tuple[str, str, str], list[tuple[Repository, Digest]]] = field(default_factory=dict)
    """Key, host and workspace -> what stands there for it, as of the last answers."""

    def __post_init__(self) -> None:
        self.order = parents_first(self.desired)
        self._open = list(self.order)
        self._unsettled = set(self.order)
        self._families = {p for w in self.desired.wanted.values() for p in w.artifact.parents}

    def still_needed(self, observed: Observed) -> Questions:
        """Advance as far as `observed` allows; return what has to be asked next, empty when all is settled.

        Each call either asks something new or settles the rest, so the loop ends: after at most one round for each
        level of the graph, and a few about what has drifted, for records may name what is asked about next.
        """
        asked = _Asked()
        self._donors.clear()
        undecided = []
        for name in self._open:
            if self._waits_for.get(name) in self._unsettled or not self._settle(name, observed, asked):
                undecided.append(name)
            else:
                self._unsettled.discard(name)
        self._open = undecided
        if asked:
            return Questions(frozenset(asked.heads), records=frozenset(asked.records), whole=frozenset(asked.whole))
        return self._about_drift(observed)

    def _settle(self, name: ArtifactName, observed: Observed, asked: _Asked) -> bool:
        """Try to settle one artifact, and tell whether it is; what is missing for it is added to what is asked."""
        wanted = self.desired.wanted[name]
        missing = self._unseen(wanted, observed)
        if name not in self.identities:
            missing += self._identify(wanted, observed)
        identity = self.identities.get(name)
        whole: set[tuple[Repository, Digest]] = set()
        records: set[tuple[Repository, Digest]] = set()
        if isinstance(identity, Keyed):
            missing += [ref for ref in self._content(wanted, identity) if ref not in observed.heads]
            whole = self._unaudited(wanted.artifact.image, identity, observed)
            records = {image for image in self._rivals(name, observed) if image not in observed.records}
        asked.heads.update(missing)
        asked.whole |= whole
        asked.records |= records
        return identity is not None and not missing and not whole and not records

    def _unaudited(self, image: Repository, identity: Keyed, observed: Observed) -> set[tuple[Repository, Digest]]:
        """Of what stands under the content tags, that all of which is to be looked for and has not been."""
        there = ((image, digest) for digest in self._there(image, identity, observed))
        return {one for one in there if one not in observed.missing and self.audited(*one)}

    @staticmethod
    def _there(image: Repository, identity: Keyed, observed: Observed) -> set[Digest]:
        """The image under the content tag. If there is certainly none, those of single platforms, of what others stand
        on: a build takes them over."""
        match observed.heads.get(Reference(image, identity.tag())):
            case Found(digest):
                return {digest}
            case Absent() if len(identity.keys) > 1:
                return set(observed.named(image, map(identity.tag, identity.keys)).values())
        return set()

    def _rivals(self, name: ArtifactName, observed: Observed) -> set[tuple[Repository, Digest]]:
        """Of what others stand on, the images beside the content tag's that are named by tags which must never move:
        if one is of the same inputs, it is that one that counts (see `fixed`)."""
        if name not in self._families or not self.desired.fleet.policy.immutable_tags:
            return set()
        artifact, identity = self.desired.wanted[name].artifact, self.identities.get(name)
        if not isinstance(identity, Keyed):
            return set()
        head = observed.heads.get(Reference(artifact.image, identity.tag()))
        if not isinstance(head, Found):
            return set()
        named = observed.named(artifact.image, self._immutable_tags(artifact)).values()
        return {(artifact.image, digest) for digest in named if digest != head.digest}

    def _immutable_tags(self, artifact: Artifact) -> list[str]:
        return [tag for tag in artifact.tags if self.desired.fleet.policy.immutable(tag)]

    def _unseen(self, wanted: Wanted, observed: Observed) -> list[Reference]:
        if wanted.materials is None:
            return []
        image = wanted.artifact.image
        return [ref for tag in wanted.artifact.tags if (ref := Reference(image, tag)) not in observed.heads]

    def _identify(self, wanted: Wanted, observed: Observed) -> list[Reference]:
        """Settle the identity as soon as its bases and parents are known; the bases that nobody has looked at."""
        name, materials = wanted.artifact.name, wanted.materials
        if materials is None:
            self.identities[name] = Held(wanted.holds)
            return []
        if name not in self._based:
            bases = images_of(wanted.artifact, materials)
            if missing := [ref for ref in bases if ref not in observed.heads]:
                return missing
            if unread := unreadable(bases, observed, wanted):
                problems, written = zip(*unread, strict=True)
                self.identities[name] = Held(problems, written=written)
                return []
            self.images |= {ref: head.digest for ref in bases if isinstance(head := observed.heads[ref], Found)}
            self._based[name] = parents_in_use(wanted.artifact, materials)
        self._join_parents(wanted, self._based[name], observed)
        return []

    def _join_parents(self, wanted: Wanted, parents: Iterable[ArtifactName], observed: Observed) -> None:
        """Settle the identity if every parent's state is known; else leave it open for a later round."""
        digests: dict[tuple[ArtifactName, Platform], Digest] = {}
        stale = []
        for parent in parents:
            identity = self.identities.get(parent)
            if identity is None:
                self._waits_for[wanted.artifact.name] = parent
                return
            if isinstance(identity, Held):
                self.identities[wanted.artifact.name] = replace(identity, because_of=identity.because_of or parent)
                return
            outputs = self.outputs(parent, wanted.artifact.platforms, observed)
            if outputs is None:
                self._waits_for[wanted.artifact.name] = parent
                return
            if isinstance(outputs, Held):
                self.identities[wanted.artifact.name] = outputs
                return
            if len(outputs) < len(wanted.artifact.platforms):
                stale.append(parent)
            digests |= {(parent, platform): digest for platform, digest in outputs.items()}
        builder = self.desired.fleet.builder
        if stale:
            inputs = _inputs(wanted, self.images, digests, builder, self.moment)
            self.identities[wanted.artifact.name] = Pending(tuple(stale), inputs)
        else:
            self.identities[wanted.artifact.name] = identify(
                wanted, self.images, digests, builder=builder, moment=self.moment
            )

    def outputs(
        self, parent: ArtifactName, platforms: Iterable[Platform], observed: Observed
    ) -> dict[Platform, Digest] | Held | None:
        """The parent's manifests that exist, Held if a registry's answer is unknown, None if not asked yet."""
        identity = self.identities[parent]
        if not isinstance(identity, Keyed):
            return {}
        repository = self.desired.wanted[parent].artifact.image
        rivals = {image: observed.records.get(image) for image in self._rivals(parent, observed)}
        if self._unaudited(repository, identity, observed) or None in rivals.values():
            return None
        if (problem := self._unusable(parent, rivals.values(), observed)) is not None:
            return Held((problem.of(str(parent)),), because_of=parent)
        if self.rebuilt(parent, observed) or (rivals and self.fixed(parent, observed)):
            return {}
        found = {}
        for platform in platforms:
            head = observed.heads.get(Reference(repository, identity.tag(platform)))
            match head:
                case None:
                    return None
                case Unknown(problem):
                    return Held((problem.of(str(parent)),), because_of=parent)
                case Found(digest):
                    found[platform] = digest
                case Absent():
                    pass
        return found

    def _unusable(self, parent: ArtifactName, rivals: Iterable[object], observed: Observed) -> Problem | None:
        """Why nothing can be built on what is there: which image counts is not known, or a part of it is known to be
        missing, and the fleet wants that held."""
        if unread := next((records.problem for records in rivals if isinstance(records, Unknown)), None):
            return unread
        lost = self.lost_parts(parent, observed)
        if not lost or self._answer_to_broken is not Response.HOLD:
            return None
        return broken(str(self.desired.wanted[parent].artifact.image), lost[0].short)

    def _content(self, wanted: Wanted, identity: Keyed) -> set[Reference]:
        """The content tags to look at: the whole image's, and each platform's where children stand on it."""
        repository = wanted.artifact.image
        tags = {identity.tag()}
        if wanted.artifact.name in self._families:
            tags |= {identity.tag(platform) for platform in identity.keys}
        return {Reference(repository, tag) for tag in tags}

    def rebuilt(self, name: ArtifactName, observed: Observed) -> bool:
        """True if it is built anew though it is there: somebody wants that, or a part of it is known to be missing, and
        the fleet wants that mended."""
        if name in self.forced:
            return True
        return self._answer_to_broken is Response.HEAL and bool(self.lost_parts(name, observed))

    @property
    def _answer_to_broken(self) -> Response:
        return self.desired.fleet.policy.drift.broken

    def lost_parts(self, name: ArtifactName, observed: Observed) -> tuple[Digest, ...]:
        """What is known to be missing of what stands under the content tags."""
        identity, image = self.identities[name], self.desired.wanted[name].artifact.image
        if not isinstance(identity, Keyed):
            return ()
        there = sorted(self._there(image, identity, observed))
        return tuple(dict.fromkeys(part for digest in there for part in observed.lacking(image, digest)))

    def adopted(self, name: ArtifactName, observed: Observed) -> Digest | None:
        """An image of the same inputs that a tag names, as its record says: only its content tag was lost. None if
        there is none, or that tag is there."""
        artifact, identity = self.desired.wanted[name].artifact, self.identities[name]
        if not isinstance(identity, Keyed):
            return None
        if isinstance(observed.heads.get(Reference(artifact.image, identity.tag())), Found):
            return None
        return observed.built_as(artifact.image, artifact.tags, identity.key)

    def donor(self, name: ArtifactName, observed: Observed) -> tuple[Repository, Digest] | None:
        """Where an image of the same inputs stands already, in another repository of the same registry whose
        workspace is trusted with this one; None if there is none."""
        artifact, identity = self.desired.wanted[name].artifact, self.identities[name]
        if not isinstance(identity, Keyed):
            return None
        asking = (identity.key, artifact.image.host, name.workspace)
        if asking not in self._donors:  # a thousand artifacts may have the same inputs: they are looked through once
            self._donors[asking] = self._standing(*asking, identity.tag(), observed)
        return next((found for found in self._donors[asking] if found[0] != artifact.image), None)

    def _standing(
        self, key: str, host: str, workspace: str, tag: str, observed: Observed
    ) -> list[tuple[Repository, Digest]]:
        """Up to two images of a key in different repositories of a host, where a workspace may take them from: one is
        not the asking artifact's own."""
        found: dict[Repository, Digest] = {}
        for other in self._same_key().get(key, ()):
            image = self.desired.wanted[other].artifact.image
            if image.host != host or not self.desired.fleet.policy.trusts(workspace, other.workspace):
                continue
            head = observed.heads.get(Reference(image, tag))
            if isinstance(head, Found) and not observed.lacking(image, head.digest):
                found[image] = head.digest
                if len(found) == 2:
                    break
        return list(found.items())

    def _same_key(self) -> Mapping[str, list[ArtifactName]]:
        """Key -> the artifacts that have it; made once, when all identities are settled."""
        if self._by_key is None:
            found: dict[str, list[ArtifactName]] = {}
            for name in self.order:
                identity = self.identities[name]
                if isinstance(identity, Keyed):
                    found.setdefault(identity.key, []).append(name)
            self._by_key = found
        return self._by_key

    def _about_drift(self, observed: Observed) -> Questions:
        """What explains the drift: the records of images that tags point at and should not, or whose inputs are no
        longer wanted; who put them there; and whether the same inputs were built elsewhere."""
        heads: set[Reference] = set()
        records: set[tuple[Repository, Digest]] = set()
        applied: set[Repository] = set()
        whole: set[tuple[Repository, Digest]] = set()
        fleet = self.desired.fleet.name
        for name, identity in self.identities.items():
            artifact = self.desired.wanted[name].artifact
            if isinstance(identity, Held) or not (away := self._away(artifact, identity, observed)):
                continue
            heads |= self._tags_before(artifact, observed)
            records |= {(artifact.image, digest) for digest in away if digest}
            applied.add(artifact.image)
            if isinstance(identity, Keyed):
                if adopted := self.adopted(name, observed):
                    whole.add((artifact.image, adopted))
                if donor := self.donor(name, observed):
                    records.add(donor)
                    whole.add(donor)
                if fixed := self.fixed(name, observed):
                    whole.add((artifact.image, fixed))
                    records |= {
                        (artifact.image, other) for other in observed.named(artifact.image, artifact.tags).values()
                    }
        return Questions(
            frozenset(reference for reference in heads if reference not in observed.heads),
            records=frozenset(image for image in records if image not in observed.records),
            applied=frozenset(applied_at(image, fleet) for image in applied if image not in observed.applied),
            whole=frozenset(image for image in whole if image not in observed.missing),
        )

    def _tags_before(self, artifact: Artifact, observed: Observed) -> set[Reference]:
        """Where none of the wanted tags is there: the tags that the artifact had last. A release under new tags is
        not to be taken for a loss."""
        document = observed.applied.get(artifact.image)
        if not isinstance(document, Applied) or observed.named(artifact.image, artifact.tags):
            return set()
        return {Reference(artifact.image, tag) for tag in document.last_of(str(artifact.name))}

    def fixed(self, name: ArtifactName, observed: Observed) -> Digest | None:
        """An image of this artifact's inputs that a tag names which must never move. Where two passes built the same
        inputs at once and got different images, that one counts, whatever the content tag names."""
        artifact, identity = self.desired.wanted[name].artifact, self.identities[name]
        tags = self._immutable_tags(artifact)
        if not tags or not isinstance(identity, Keyed):
            return None
        digest = observed.built_as(artifact.image, tags, identity.key)
        return None if digest is None or observed.lacking(artifact.image, digest) else digest

    @staticmethod
    def _away(artifact: Artifact, identity: Keyed | Pending, observed: Observed) -> set[Digest | None]:
        """What the tags point at that is not the wanted content, None for those that point at nothing; empty when
        all is as it should be or cannot be told."""
        content = observed.heads.get(Reference(artifact.image, identity.tag())) if isinstance(identity, Keyed) else None
        if isinstance(content, Unknown):
            return set()
        wanted = content.digest if isinstance(content, Found) else None
        found: set[Digest | None] = set()
        absent = wanted is None
        for tag in artifact.tags:
            head = observed.heads.get(Reference(artifact.image, tag))
            if isinstance(head, Absent):
                absent = True
            elif isinstance(head, Found) and head.digest != wanted:
                found.add(head.digest)
        return found or ({None} if absent else set())
