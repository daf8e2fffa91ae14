"""What hangs on an image and holds, with all that the statements say: lian itself keeps only of what kind they are."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.attest.find import MAX_BUNDLE, Signatures
from reconciler.model.attestation import Bundle, Statement
from reconciler.model.digest import Digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.attest.verify import Verdict
    from reconciler.model.reference import Repository
    from reconciler.ports.registry import Registry
    from reconciler.ports.signer import Verifier


async def verdict_on(registry: Registry, repository: Repository, subject: Digest, keys: Sequence[Verifier]) -> Verdict:
    """As `Signatures.verdict`."""
    found = await Signatures(registry).verdict(repository, subject, keys)
    statements = [await _statement(registry, repository, vouched.referrer) for vouched in found.vouched]
    whole = [replace(v, statement=said) for v, said in zip(found.vouched, statements, strict=True)]
    return replace(found, vouched=tuple(whole))


async def _statement(registry: Registry, repository: Repository, referrer: Digest) -> Statement:
    (layer,) = (await registry.manifest(repository, referrer)).document["layers"]
    data = await registry.blob(repository, Digest.parse(layer["digest"]), MAX_BUNDLE)
    return Statement.parse(Bundle.parse(data).envelope.payload)
