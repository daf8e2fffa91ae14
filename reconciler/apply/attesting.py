"""What a pass says of its images under a signature, where the fleet's policy asks for it (ADR 038, 045).

A pass signs what it has built. What others have put there it takes over in place of a build only if the fleet's own key
has signed it: else who may push to one repository could have his image signed, by putting it where lian looks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.attest.find import Signatures
from reconciler.attest.sign import attach
from reconciler.model.attestation import signature_statement
from reconciler.model.problem import LianError, Next
from reconciler.model.provenance import provenance_statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from reconciler.attest.verify import Verdict
    from reconciler.model.attestation import Statement
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor
    from reconciler.model.policy import SignPolicy
    from reconciler.model.problem import Problem
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Reference, Repository
    from reconciler.ports.bundle import Ports
    from reconciler.ports.signer import Signer


@dataclass(frozen=True, slots=True)
class Recorded:
    """An image in its repository: as a whole, the manifests of its platforms (of a single-platform image the whole
    itself) with what a scanner said of them, and the record of its build."""

    whole: Descriptor
    platforms: Sequence[Descriptor]
    record: BuildRecord
    sboms: Mapping[Digest, Sequence[Statement]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Said:
    """A statement, the manifest it is attached to, and when what it says came about."""

    subject: Descriptor
    statement: Statement
    created: str | None = None


@dataclass(slots=True)
class Attester:
    """Signs for one pass. Where the policy asks for no signatures it does nothing, and loads nothing."""

    ports: Ports
    desired: Desired
    _signer: Signer | None = None
    _signatures: Signatures | None = None
    _lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    _refusal: tuple[Problem, ...] | None = None
    """Why the key cannot be used; empty if it can, None while nobody has asked."""

    @property
    def scanner(self) -> Reference | None:
        """What every build is to be scanned with."""
        policy = self._policy
        return policy.scanner if policy else None

    @property
    def _policy(self) -> SignPolicy | None:
        return self.desired.fleet.policy.sign

    async def prepare(self) -> None:
        """Before anything is built: nothing shall be that cannot be signed then. The key is asked for once in a pass.
        Raises LianError of the signer."""
        if (policy := self._policy) is None:
            return
        async with self._lock:
            if self._refusal is None:
                self._refusal = await _refusal(self._by(policy))
        if self._refusal:
            raise LianError(self._refusal)

    async def attest(self, repository: Repository, image: Recorded) -> None:
        """Attach all that the policy asks for. Raises LianError of the signer, of the registry."""
        if (policy := self._policy) is None:
            return
        for said in tuple(self._said(policy, image)):
            await self._attach(repository, said, policy)

    async def complete(self, repository: Repository, image: Recorded) -> bool:
        """Attach what lacks of that; True if something did. Raises LianError as `attest` does, and for what could not
        be read of what is there."""
        if (policy := self._policy) is None:
            return False
        there: dict[Digest, Verdict] = {}
        lacked = False
        for said in tuple(self._said(policy, image)):
            digest = said.subject.digest
            if digest not in there:
                there[digest] = await self._verdict(repository, digest, policy)
            if there[digest].of(said.statement.predicate_type):
                continue
            if there[digest].unread:
                raise LianError(there[digest].unread)
            await self._attach(repository, said, policy)
            lacked = True
        return lacked

    async def vouches(self, repository: Repository, digest: Digest) -> bool:
        """Whether this image may be taken over in place of a build: the fleet's own key has signed it, or the policy
        asks for no signatures. Raises LianError if that could not be found out."""
        if (policy := self._policy) is None:
            return True
        found = await self._verdict(repository, digest, policy)
        if found.problem is not None and found.unread:
            raise LianError(found.problem)
        return found.problem is None

    async def carry_over(self, source: Repository, target: Repository, digests: Iterable[Digest]) -> None:
        """Copy what the fleet's own key has said of these images; it speaks of digests, so it holds there as well.
        Raises LianError, also if something could not be read and may be another time."""
        if (policy := self._policy) is None:
            return
        for digest in digests:
            found = await self._verdict(source, digest, policy)
            if again := [problem for problem in found.unread if problem.next is Next.RETRY]:
                raise LianError(again)
            for vouched in found.vouched:
                await self.ports.publisher.copy(source, target, vouched.referrer)

    def _said(self, policy: SignPolicy, image: Recorded) -> Iterator[_Said]:
        """A multi-platform image is signed as a whole and platform by platform: a build for one more platform takes the
        others over. Signatures are undated, so that signing again changes nothing. The whole's is last: with it,
        everything is there."""
        for manifest in image.platforms:
            for sbom in image.sboms.get(manifest.digest, ()):
                yield _Said(manifest, sbom, image.record.started)
            if manifest.digest != image.whole.digest:
                yield _Said(manifest, signature_statement(manifest.digest))
        if policy.provenance:
            provenance = provenance_statement(image.record, self.desired.fleet.name, self.desired.source)
            yield _Said(image.whole, provenance, image.record.started)
        yield _Said(image.whole, signature_statement(image.whole.digest))

    async def _attach(self, repository: Repository, said: _Said, policy: SignPolicy) -> None:
        signer = self._by(policy)
        await attach(self.ports.publisher, repository, said.subject, said.statement, signer, said.created)

    async def _verdict(self, repository: Repository, digest: Digest, policy: SignPolicy) -> Verdict:
        if self._signatures is None:
            self._signatures = Signatures(self.ports.registry)
        return await self._signatures.verdict(repository, digest, [await self._by(policy).verifier()])

    def _by(self, policy: SignPolicy) -> Signer:
        if self._signer is None:
            self._signer = self.ports.keyring.signer(policy.key)
        return self._signer


async def _refusal(signer: Signer) -> tuple[Problem, ...]:
    try:
        await signer.prepare()
    except LianError as error:
        return error.problems
    return ()
