"""`lian verify`: is what a commit asks for there, whole, recorded, and signed by one who may?

A pass looks at a few images whole; this looks at all that are chosen. What could not be read is unknown, never well.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.attest.find import Signatures
from reconciler.audit.certainty import DAMAGED, judged
from reconciler.audit.chosen import chosen
from reconciler.audit.examine import Examination, without_doubles
from reconciler.audit.expected import drift, expected, with_holds
from reconciler.audit.findings import Finding, State, Verification, Verified
from reconciler.audit.scrub import Scrub
from reconciler.identity.ancestry import parents_in_use
from reconciler.identity.held import Held
from reconciler.identity.resolve import Keyed, Pending, Resolution
from reconciler.model.observed import Absent, Found, Observed, Unknown
from reconciler.model.policy import Response
from reconciler.model.reference import Reference
from reconciler.observe.ask import ask
from reconciler.plan.audit import turns
from reconciler.plan.select import Selection, narrowed, select
from reconciler.ports.registry import GONE
from reconciler.reconcile import load

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.plan import Change
    from reconciler.model.policy import Policy
    from reconciler.model.problem import Problem
    from reconciler.ports.bundle import Reading
    from reconciler.ports.signer import Verifier

    MakeVerifier = Callable[[bytes, str], Verifier]
    """From the bytes of a PEM file and its name. Raises LianError."""

IMAGES_AT_ONCE = 8


@dataclass(frozen=True, slots=True)
class Options:
    """`only` are globs over `workspace/artifact`; empty means all. `deep`: every blob is read and hashed. `keys` are
    trusted in place of those that the commit names: who does not trust the commit brings their own."""

    only: tuple[str, ...] = ()
    deep: bool = False
    keys: tuple[Verifier, ...] = ()


async def verify(ports: Reading, options: Options, verifier: MakeVerifier) -> Verification:
    """Looks at each chosen artifact's image. Raises LianError `selection-empty`, for a key that cannot be used, and if
    no commit can be read."""
    desired = await load(ports)
    keys = options.keys or await _keys(ports, desired, verifier)
    wanted = select(desired, Selection(options.only))
    narrow = desired if wanted is None else narrowed(desired, wanted)
    resolution, observed = Resolution(narrow, ports.clock()), Observed()
    while questions := resolution.still_needed(observed):
        observed.take(await ask(questions, ports.registry))
    scrub = Scrub(ports.registry, desired.registries) if options.deep else None
    invalid = frozenset(problem.artifact for problem in narrow.problems)
    signatures = Signatures(ports.registry)
    changes = await expected(ports, resolution, observed)
    examiner = _Examiner(
        ports, resolution, observed, changes, keys, signatures, scrub, options.only, len(desired.wanted), invalid
    )
    results = await examiner.all()
    names = tuple(key.name for key in keys)
    read = scrub.read if scrub else 0
    return Verification(desired.revision, options.deep, names, results, read, narrow.problems, desired.notes)


async def _keys(ports: Reading, desired: Desired, verifier: MakeVerifier) -> tuple[Verifier, ...]:
    paths = desired.fleet.policy.verify_keys
    return tuple([verifier(await ports.source.blob(path), path) for path in paths])


@dataclass(frozen=True, slots=True)
class _Examiner:
    """Everything that is known of the chosen artifacts (`only`) and what they stand on. `changes` is what a pass would
    make of them, `fleet` counts all artifacts of the commit, `invalid` names those that are wrong in it."""

    ports: Reading
    resolution: Resolution
    observed: Observed
    changes: Mapping[ArtifactName, Change]
    keys: tuple[Verifier, ...]
    signatures: Signatures
    scrub: Scrub | None
    only: tuple[str, ...]
    fleet: int
    invalid: frozenset[str | None]

    @property
    def policy(self) -> Policy:
        return self.resolution.desired.fleet.policy

    async def all(self) -> tuple[Verified, ...]:
        """By name."""
        gate = asyncio.Semaphore(IMAGES_AT_ONCE)

        async def one(name: ArtifactName) -> Verified:
            async with gate:
                return await self._verified(name)

        results = await asyncio.gather(*(one(name) for name in sorted(self.resolution.order)))
        broken = {result.artifact for result in results if result.state is State.BROKEN}
        asked = [result for result in results if chosen(result.artifact, self.only)]
        return tuple(replace(r, parents=self._parents(r.artifact, broken), remedy=self._remedy(r)) for r in asked)

    async def _verified(self, name: ArtifactName) -> Verified:
        found = await self._looked_at(name)
        return replace(found, findings=with_holds(found.findings, self.changes[name]))

    async def _looked_at(self, name: ArtifactName) -> Verified:
        artifact = self.resolution.desired.wanted[name].artifact
        plain = Verified(name, artifact.image, artifact.tags)
        match self.resolution.identities[name]:
            case Held(problems, because_of):
                return replace(plain, findings=self._held(name, problems, because_of))
            case Pending(waits_for):
                message = f"{name} is not built for this commit: it stands on {', '.join(map(str, waits_for))}"
                return replace(plain, findings=(drift("image-absent", message, self.changes[name]),))
            case Keyed() as identity:
                return await self._keyed(replace(plain, key=identity.key), artifact, identity)

    def _held(
        self, name: ArtifactName, problems: Sequence[Problem], because_of: ArtifactName | None
    ) -> tuple[Finding, ...]:
        desired, held = self.resolution.desired, because_of or name
        if str(held) in self.invalid:
            state = State.INVALID
        else:
            state = State.HELD if desired.wanted[held].materials is None else State.UNKNOWN
        return tuple(Finding(state, problem) for problem in problems)

    async def _keyed(self, plain: Verified, artifact: Artifact, identity: Keyed) -> Verified:
        image = artifact.image
        content = self.observed.heads[Reference(image, identity.tag())]
        if isinstance(content, Unknown):
            return replace(plain, findings=judged((content.problem,), str(artifact.name)))
        kept = self.observed.built_as(image, artifact.tags, identity.key)
        digest = content.digest if isinstance(content, Found) else kept
        if digest is None:
            message = f"the image that the commit asks for is not in {image}"
            return replace(plain, findings=(drift("image-absent", message, self.changes[artifact.name]),))
        found = await self._examined(Examination(self.ports.registry, artifact, identity, digest))
        return replace(
            plain,
            digest=digest,
            findings=without_doubles((*self._tags(artifact, identity, digest), *found.findings)),
            missing=found.missing,
            damaged=found.damaged,
            record=found.record,
            vouched=found.vouched,
        )

    async def _examined(self, image: Examination) -> Examination:
        """A parent that was not chosen is looked at only as far as its children need it."""
        await image.parts()
        if chosen(image.artifact.name, self.only):
            if self.scrub:
                await image.bytes(self.scrub)
            await image.contents()
            await image.recorded()
            if self.keys:
                await image.signed(self.signatures, self.keys, self.policy.sign)
        return image

    def _tags(self, artifact: Artifact, identity: Keyed, digest: Digest) -> tuple[Finding, ...]:
        """The tags that do not point at the image."""
        findings: list[Finding] = []
        change = self.changes[artifact.name]
        for tag in (identity.tag(), *artifact.tags):
            where = f"{artifact.image}:{tag}"
            match self.observed.heads[Reference(artifact.image, tag)]:
                case Found(there) if there != digest:
                    message = f"{where} points at {there.short}, not at the image that the commit asks for"
                    findings.append(drift("tag-elsewhere", message, change, tag))
                case Absent():
                    findings.append(drift("tag-absent", f"{where} is not there", change, tag))
                case Unknown(problem):
                    findings += judged((problem,), str(artifact.name))
        return tuple(findings)

    def _parents(self, name: ArtifactName, broken: set[ArtifactName]) -> tuple[ArtifactName, ...]:
        wanted = self.resolution.desired.wanted[name]
        parents = parents_in_use(wanted.artifact, wanted.materials) if wanted.materials else wanted.artifact.parents
        return tuple(parent for parent in parents if parent in broken)

    def _remedy(self, result: Verified) -> str | None:
        """What `lian reconcile` makes of what is broken."""
        codes = {finding.problem.code for finding in result.findings if finding.state is State.BROKEN}
        response = self.policy.drift.broken
        if codes & (DAMAGED | {"image-damaged"}):
            return _DAMAGED[response]
        if not codes & (GONE | {"image-broken"}):
            return None
        passes = 1 if result.image.layout is not None else turns(self.fleet)
        if response is Response.HEAL and passes > 1:
            name = result.artifact
            return f"`lian reconcile --once --only {name}` rebuilds it; a whole pass looks at one image in {passes} so"
        return _MISSING[response]


_MISSING: Mapping[Response, str] = {
    Response.HEAL: "the next `lian reconcile` rebuilds it",
    Response.HOLD: "`lian reconcile` holds it, as policy.drift.broken says: push the missing parts again",
    Response.REPORT: "`lian reconcile` leaves it, as policy.drift.broken says: push the missing parts again",
}
_UNSEEN = "`lian reconcile` does not read what is there: delete the damaged parts in the registry's storage,"
_DAMAGED: Mapping[Response, str] = {
    Response.HEAL: f"{_UNSEEN} and it rebuilds the image",
    Response.HOLD: f"{_UNSEEN} and push them again",
    Response.REPORT: f"{_UNSEEN} and push them again",
}
