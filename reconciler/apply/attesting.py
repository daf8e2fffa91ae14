"""What a pass says of its images under a signature, where the fleet's policy asks for it (ADR 038).

A pass signs what it has built. What others have put there it takes over in place of a build only if the fleet's own key
has signed it: else who may push to one repository could have his image signed, by putting it where lian looks.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.attest.find import find_bundles
from reconciler.attest.sign import attach
from reconciler.attest.verify import verdict
from reconciler.model.attestation import signature_statement
from reconciler.model.problem import LianError, Next
from reconciler.model.provenance import provenance_statement

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

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
class Fresh:
    """An image that was just built and is in its repository: as a whole, and the manifests of its platforms with what
    the scanner said of them (the one manifest of a single-platform image is the whole)."""

    whole: Descriptor
    platforms: Sequence[Descriptor]
    record: BuildRecord
    sboms: Mapping[Digest, Sequence[Statement]] = field(default_factory=dict)


@dataclass(slots=True)
class Attester:
    """Signs for one pass. Where the policy asks for no signatures it does nothing, and loads nothing."""

    ports: Ports
    desired: Desired
    _signer: Signer | None = None
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

    async def attest(self, repository: Repository, image: Fresh) -> None:
        """Attach what the policy asks for. A multi-platform image is signed as a whole and platform by platform: who
        builds for one more platform takes the others over. The whole's signature is last: with it, everything is there.
        Raises LianError of the signer, of the registry."""
        if (policy := self._policy) is None:
            return
        signer, record = self._by(policy), image.record
        for manifest in image.platforms:
            for sbom in image.sboms.get(manifest.digest, ()):
                await attach(self.ports.publisher, repository, manifest, sbom, signer, record.started)
            if manifest.digest != image.whole.digest:
                await self._sign(repository, manifest, signer)
        if policy.provenance:
            said = provenance_statement(record, record.fleet, self.desired.source)
            await attach(self.ports.publisher, repository, image.whole, said, signer, record.started)
        await self._sign(repository, image.whole, signer)

    async def vouches(self, repository: Repository, digest: Digest) -> bool:
        """Whether this image may be taken over in place of a build: the fleet's own key has signed it, or the policy
        asks for no signatures. Raises LianError if that could not be found out."""
        if (policy := self._policy) is None:
            return True
        found = await self._verdict(repository, digest, self._by(policy))
        if found.problem is not None and found.unread:
            raise LianError(found.problem)
        return found.problem is None

    async def carry_over(self, source: Repository, target: Repository, digests: Iterable[Digest]) -> None:
        """Copy what the fleet's own key has said of these images; it speaks of digests, so it holds there as well.
        Raises LianError, also if something could not be read and may be another time."""
        if (policy := self._policy) is None:
            return
        for digest in digests:
            found = await self._verdict(source, digest, self._by(policy))
            if again := [problem for problem in found.unread if problem.next is Next.RETRY]:
                raise LianError(again)
            for vouched in found.vouched:
                await self.ports.publisher.copy(source, target, vouched.referrer)

    async def _sign(self, repository: Repository, subject: Descriptor, signer: Signer) -> None:
        """Undated, so that signing again changes nothing."""
        await attach(self.ports.publisher, repository, subject, signature_statement(subject.digest), signer)

    async def _verdict(self, repository: Repository, digest: Digest, signer: Signer) -> Verdict:
        bundles = await find_bundles(self.ports.registry, repository, digest)
        return verdict(digest, bundles, [await signer.verifier()])

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
