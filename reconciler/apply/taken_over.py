"""What a pass finds there when parents have been built, and takes over in place of a build: only if all of it is there,
as far as the plan would have looked, had it known (ADR 033)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.apply.held import HeldBack
from reconciler.identity.held import broken
from reconciler.model.policy import Response

if TYPE_CHECKING:
    from reconciler.identity.resolve import Resolution
    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository
    from reconciler.ports.registry import Registry


async def is_whole(
    registry: Registry, resolution: Resolution, repository: Repository, digest: Digest, *, tagged: bool = True
) -> bool:
    """Whether an image may be taken over. It is looked at if this pass looks at it at all, and the fleet does not only
    want broken ones reported; one that is not `tagged` always: a registry refuses to tag what lacks a part. Raises
    HeldBack where the fleet wants a broken one held, LianError if that could not be found out."""
    response = resolution.desired.fleet.policy.drift.broken
    if tagged and (response is Response.REPORT or not resolution.audited(repository, digest)):
        return True
    lacking = await registry.missing(repository, digest)
    if lacking and response is Response.HOLD:
        raise HeldBack(broken(f"{repository}@{digest.short}", lacking[0].short))
    return not lacking
