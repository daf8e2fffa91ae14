"""What registries hold after a commit was applied, worked out without applying it: facts for the planner's cases."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reconciler.identity.ancestry import images_of, parents_first, parents_in_use
from reconciler.identity.resolve import Resolution, identify
from reconciler.model.applied import Applied, AppliedTag
from reconciler.model.artifact import Folder
from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.observed import ABSENT, Found, Observed, Unknown
from reconciler.model.platform import Platform
from reconciler.model.policy import DriftPolicy, Policy, Response
from reconciler.model.problem import Problem
from reconciler.model.record import BuildRecord, PlatformBuild
from reconciler.model.reference import Reference, Repository
from reconciler.plan.compare import Overrides, make_plan
from reconciler.plan.graph import checked
from reconciler.plan.vanished import some_are_gone, unless_vanished
from tests.commits import HOST, Commit, artifact

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.identity.resolve import Keyed
    from reconciler.model.desired import Desired
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Questions
    from reconciler.model.plan import Plan

MOMENT = 1_000_000_000.0
_DOWN = Unknown(Problem("registry-down", "the registry does not answer"))


def commit_of(document: Mapping[str, Any]) -> Commit:
    """A commit as a case writes it: artifact -> its fields, with `from` (the Dockerfile's lines) and `app` (a file)."""
    artifacts, files = [], {}
    for name, fields in document["artifacts"].items():
        lines = fields.get("from", "scratch")
        files[f"{name}/Dockerfile"] = "".join(f"FROM {line}\n" for line in lines.split()).encode()
        files[f"{name}/app"] = fields.get("app", "1").encode()
        more = {key: value for key, value in fields.items() if key not in {"from", "app", "hold"}}
        if "platforms" in more:
            more["platforms"] = tuple(map(Platform.parse, more["platforms"]))
        for sequence in {"tags", "checks"} & more.keys():
            more[sequence] = tuple(more[sequence])
        artifacts.append(replace(artifact(name, **more), context=Folder(name)))
    files |= {path: text.encode() for path, text in document.get("files", {}).items()}
    holds = {n: Problem(f["hold"], "held by the case") for n, f in document["artifacts"].items() if "hold" in f}
    policy = Policy(
        drift=DriftPolicy(**{name: Response(text) for name, text in document.get("drift", {}).items()}),
        immutable_tags=tuple(document.get("immutable_tags", ())),
        trust=tuple(frozenset(group) for group in document.get("trust", ())),
    )
    revision, before = document.get("revision", "0" * 40), tuple(document.get("after", ()))
    return Commit(
        tuple(artifacts),
        files,
        revision=revision,
        builder=document.get("builder"),
        holds=holds,
        policy=policy,
        before=before,
        pins=document.get("pins", {}),
        frontend=document.get("frontend"),
    )


@dataclass
class Evidence:
    """Tags and records of all registries; images of others exist unless `set` says otherwise."""

    heads: dict[Reference, Found | Unknown | None] = field(default_factory=dict)
    records: dict[tuple[Repository, Digest], Any] = field(default_factory=dict)
    applied: dict[Repository, Any] = field(default_factory=dict)
    missing: dict[tuple[Repository, Digest], Any] = field(default_factory=dict)
    lineage: dict[str, bool | None] = field(default_factory=dict)
    rounds: int = 0

    def head(self, reference: Reference) -> Any:
        """What a reference names."""
        if reference in self.heads:
            return self.heads[reference] or ABSENT
        outside = reference.repository.host != HOST
        return Found(Digest.of(str(reference).encode())) if outside else ABSENT

    def answer(self, questions: Questions) -> Observed:
        """One round."""
        self.rounds += 1
        return Observed(
            {ref: self.head(ref) for ref in questions.heads},
            {image: self.records.get(image, ()) for image in questions.records},
            {where.repository: self.applied.get(where.repository) for where in questions.applied},
            {image: self.missing.get(image, ()) for image in questions.whole},
        )

    def apply(self, desired: Desired, moment: float = MOMENT) -> None:
        """Everything that is wanted, as if it had just been built and tagged."""
        outputs: dict[tuple[ArtifactName, Platform], Digest] = {}
        for name in parents_first(desired):
            wanted = desired.wanted[name]
            if wanted.materials is None:
                continue
            images = {ref: self.head(ref).digest for ref in images_of(wanted.artifact, wanted.materials)}
            used = parents_in_use(wanted.artifact, wanted.materials)
            parents = {key: digest for key, digest in outputs.items() if key[0] in used}
            identity = identify(wanted, images, parents, builder=desired.fleet.builder, moment=moment)
            digests = {p: Digest.of(canonical(inputs)) for p, inputs in identity.inputs.items()}
            outputs |= {(name, platform): digest for platform, digest in digests.items()}
            self._publish(wanted.artifact.image, wanted.artifact.tags, str(name), identity, digests, desired, moment)

    def _publish(
        self,
        image: Repository,
        tags: tuple[str, ...],
        name: str,
        identity: Keyed,
        digests: dict[Platform, Digest],
        desired: Desired,
        moment: float,
    ) -> None:
        several = len(digests) > 1
        whole = Digest.of(canonical(sorted(map(str, digests.values())))) if several else next(iter(digests.values()))
        for tag in (identity.tag(), *tags):
            self.heads[Reference(image, tag)] = Found(whole)
        for platform, digest in digests.items():
            self.heads[Reference(image, identity.tag(platform))] = Found(digest)
        builds = {p: PlatformBuild(identity.keys[p], identity.inputs[p], digests[p]) for p in digests}
        started = datetime.fromtimestamp(moment, UTC).isoformat()
        record = BuildRecord(
            name, desired.revision, identity.key, whole, builds, started, 1.0, fleet=desired.fleet.name
        )
        applied = self.applied.get(image) or Applied(desired.fleet.name, desired.history)
        entry = AppliedTag(whole, name, desired.revision, desired.history.time)
        self.applied[image] = applied.moved(desired.history, dict.fromkeys(tags, entry))
        self.records[image, whole] = (record, *(r for r in self.records.get((image, whole), ()) if r.key != record.key))

    def set(self, what: str, state: str | None) -> None:
        """`IMAGE:TAG` (`lian-`: every content tag), `records of IMAGE`, `applied of IMAGE` or `parts of IMAGE`: absent,
        `unknown` or a digest of the text; a tag also `=OTHER`, what another tag of that image names."""
        if what.startswith("applied of "):
            image = Repository.parse(what.removeprefix("applied of "), HOST)
            self.applied[image] = _DOWN if state == "unknown" else None
            return
        if what.startswith("parts of "):
            image = Repository.parse(what.removeprefix("parts of "), HOST)
            for digest in {h.digest for r, h in self.heads.items() if r.repository == image and isinstance(h, Found)}:
                self.missing[image, digest] = _DOWN if state == "unknown" else (Digest.of((state or "").encode()),)
            return
        if what.startswith("records of "):
            image = Repository.parse(what.removeprefix("records of "), HOST)
            for key in [key for key in self.records if key[0] == image]:
                self.records[key] = _DOWN if state == "unknown" else ()
            return
        name, _, tag = what.rpartition(":")
        named = Repository.parse(name, HOST)
        reference = Reference(named, tag) if Reference(named, tag) in self.heads else Reference.parse(what)
        references = [r for r in self.heads if r.repository == named and str(r.tag).startswith("lian-")]
        if state is not None and state.startswith("="):
            self.heads[reference] = self.heads[Reference(named, state[1:])]
            return
        for one in references if tag == "lian-" else [reference]:
            self.heads[one] = (
                None if state is None else _DOWN if state == "unknown" else Found(Digest.of(state.encode()))
            )


def resolved(
    commit: Commit, evidence: Evidence, moment: float = MOMENT, forced: frozenset[ArtifactName] = frozenset()
) -> tuple[Resolution, Observed]:
    """The identities, and what had to be asked for them."""
    resolution = Resolution(checked(commit.desired), moment, lambda _repository, _digest: True, forced)
    observed = Observed(lineage=evidence.lineage)
    while questions := resolution.still_needed(observed):
        observed.take(evidence.answer(questions))
        assert evidence.rounds < 50, "asked without end"
    return resolution, observed


def plan(
    commit: Commit,
    evidence: Evidence,
    moment: float = MOMENT,
    overrides: Overrides | None = None,
    remembered: Collection[str] = (),
) -> Plan:
    """The plan as a pass makes it, with every image looked at whole."""
    overrides = overrides or Overrides()
    resolution, observed = resolved(commit, evidence, moment)
    made = make_plan(resolution, observed, overrides)
    if overrides.vanished or not some_are_gone(made, observed):
        return made
    return unless_vanished(made, observed, remembered)
