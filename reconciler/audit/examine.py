"""One image looked at from all sides. Each question is answered for itself, whatever became of the others."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.audit.certainty import judged
from reconciler.audit.findings import Finding, State
from reconciler.audit.records import fitting_record, other_platforms
from reconciler.model.attestation import SBOM_PREDICATE
from reconciler.model.manifest import platforms_of
from reconciler.model.problem import LianError, Problem
from reconciler.model.provenance import PROVENANCE_PREDICATE
from reconciler.model.wording import count, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.attest.find import Signatures
    from reconciler.attest.verify import Verdict, Vouched
    from reconciler.audit.scrub import Scrub
    from reconciler.identity.resolve import Keyed
    from reconciler.model.artifact import Artifact
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest
    from reconciler.model.platform import Platform
    from reconciler.model.policy import SignPolicy
    from reconciler.model.record import BuildRecord
    from reconciler.ports.registry import Registry
    from reconciler.ports.signer import Verifier


@dataclass(slots=True)
class Examination:
    """What is found out about the image of an artifact. Grows question by question."""

    registry: Registry
    artifact: Artifact
    identity: Keyed
    digest: Digest
    findings: list[Finding] = field(default_factory=list)
    missing: tuple[Digest, ...] = ()
    damaged: tuple[Digest, ...] = ()
    platforms: Mapping[Platform, Digest] = field(default_factory=dict)
    """What the image holds for each platform; empty where it cannot be told, or is not what is wanted."""
    record: BuildRecord | None = None
    vouched: tuple[Vouched, ...] = ()

    async def parts(self) -> None:
        """Is every part of it there?"""
        try:
            self.missing = await self.registry.missing(self.artifact.image, self.digest)
        except LianError as error:
            self._heard(error)
        if self.missing:
            self._find(State.BROKEN, self._listed("image-broken", "not in the registry", self.missing))

    async def bytes(self, scrub: Scrub) -> None:
        """Has every part of it the bytes that its digest says?"""
        scrubbed = await scrub.image(self.artifact.image, self.digest)
        self.damaged = tuple(sorted(set(scrubbed.damaged) - set(self.missing)))
        self.findings += judged(scrubbed.unread, str(self.artifact.name))
        if self.damaged:
            self._find(State.BROKEN, self._listed("image-damaged", "damaged", self.damaged))

    async def contents(self) -> None:
        """Is it for the wanted platforms, no more and no less?"""
        if self.digest in self.missing:
            return
        try:
            manifest = await self.registry.manifest(self.artifact.image, self.digest)
            held = _platforms(self.artifact, manifest)
        except LianError as error:
            self._heard(error)
            return
        except ValueError as error:
            self._for_others(str(error))
            return
        if set(held) == set(self.artifact.platforms):
            self.platforms = held
        else:
            self._for_others(f"it is for {', '.join(map(str, sorted(held))) or 'none'}")

    async def recorded(self) -> None:
        """Does a build record say that it is what the commit asks for?"""
        try:
            found = await fitting_record(self.registry, self.artifact.image, self.digest, self.identity.key)
        except LianError as error:
            for unread in error.problems:
                self._find(State.UNKNOWN, unread)
            return
        if isinstance(found, Problem):
            self._unrecorded(found)
        elif problem := other_platforms(found, self.platforms):
            self._unrecorded(problem)
        else:
            self.record = found

    async def signed(self, signatures: Signatures, keys: Sequence[Verifier], made: SignPolicy | None) -> None:
        """Does a signature by one of the keys hold, and do the attestations that the policy has made?"""
        whole = await self._judged_by(signatures, keys, self.digest)
        if whole is None:
            return
        self.vouched = whole.vouched
        self._unsigned(whole.problem)
        if made is not None and made.provenance:
            self._unsigned(whole.lacks(PROVENANCE_PREDICATE, "provenance"))
        for digest in sorted(set(self.platforms.values())) if made is not None and made.scanner else ():
            one = whole if digest == self.digest else await self._judged_by(signatures, keys, digest)
            if one is not None:
                self._unsigned(one.lacks(SBOM_PREDICATE, "SBOM"))

    def _unrecorded(self, problem: Problem) -> None:
        hint = f"delete the content tag {self.identity.tag()}: the next `lian reconcile` builds it again, with a record"
        self._find(State.UNRECORDED, replace(problem, hint=hint))

    async def _judged_by(self, signatures: Signatures, keys: Sequence[Verifier], digest: Digest) -> Verdict | None:
        try:
            return await signatures.verdict(self.artifact.image, digest, keys)
        except LianError as error:
            for problem in error.problems:
                self._find(State.UNKNOWN, problem)
            return None

    def _unsigned(self, problem: Problem | None) -> None:
        if problem is not None:
            self._find(State.UNKNOWN if problem.code == "signatures-unknown" else State.UNSIGNED, problem)

    def _for_others(self, cause: str) -> None:
        wanted = ", ".join(map(str, self.artifact.platforms))
        message = f"{self._image} is not the image for {wanted} that it should be"
        hint = f"delete the content tag {self.identity.tag()}: the next `lian reconcile` builds it again"
        self._find(State.BROKEN, Problem("index-wrong", message, cause=cause, hint=hint))

    def _listed(self, code: str, what: str, digests: Sequence[Digest]) -> Problem:
        cause = some(digests)
        parts = count(len(digests), "part")
        return Problem(code, f"{parts} of {self._image} {'is' if len(digests) == 1 else 'are'} {what}", cause=cause)

    @property
    def _image(self) -> str:
        return f"{self.artifact.image}@{self.digest.short}"

    def _heard(self, error: LianError) -> None:
        self.findings += judged(error.problems, str(self.artifact.name))

    def _find(self, state: State, problem: Problem) -> None:
        self.findings.append(Finding(state, problem.of(str(self.artifact.name))))


def _platforms(artifact: Artifact, manifest: Manifest) -> dict[Platform, Digest]:
    """Raises ValueError for an index where one platform is wanted, and for no index where several are."""
    is_index = "manifests" in manifest.document
    if len(artifact.platforms) == 1:
        if is_index:
            raise ValueError("it is an image index, as several platforms have one")
        return {artifact.platforms[0]: manifest.digest}
    if not is_index:
        raise ValueError("it is the manifest of a single platform")
    return platforms_of(manifest)


def without_doubles(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Each finding once: several questions may meet the same fault."""
    return tuple(dict.fromkeys(findings))
