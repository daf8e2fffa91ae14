"""Which images a pass looks at whole. A manifest that is there says nothing of its blobs, and to ask for each of them
costs several requests an image: a few images in every pass, another few in the next (ADR 033)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from reconciler.model.observed import Unknown
from reconciler.model.policy import Response

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.observed import Observed
    from reconciler.model.policy import Policy
    from reconciler.model.reference import Repository

AT_ONCE = 32
"""Images that one pass looks at over the network; a registry on disk is looked at whole."""
TURN_SECONDS = 60.0


def turns(artifacts: int) -> int:
    """One in so many images of a fleet of this size is looked at over the network in a pass."""
    return -(-artifacts // AT_ONCE) or 1


def audited(desired: Desired, moment: float) -> Callable[[Repository, Digest], bool]:
    """Which images are looked at in a pass at `moment` (Unix seconds): about AT_ONCE, drawn by clock and digest so that
    passes on machines that know nothing of one another get round, whatever their schedule."""
    among, now = turns(len(desired.wanted)), int(moment // TURN_SECONDS)

    def due(repository: Repository, digest: Digest) -> bool:
        if repository.layout is not None or among == 1:
            return True
        draw = hashlib.sha256(f"{now} {digest}".encode()).digest()
        return int.from_bytes(draw[:8], "big") % among == 0

    return due


def not_audited(policy: Policy, observed: Observed) -> tuple[str, ...]:
    """A sentence on images that could not be looked at whole, where that holds nothing because the policy only wants
    broken ones reported."""
    if policy.drift.broken is not Response.REPORT:
        return ()
    unread = [(where, answer.problem) for where, answer in observed.missing.items() if isinstance(answer, Unknown)]
    if not unread:
        return ()
    (repository, digest), problem = min(unread, key=lambda one: one[0])
    such = f"{repository}@{digest.short}" + (f" and {len(unread) - 1:,} more" if len(unread) > 1 else "")
    return (f"whether all of {such} is there could not be found out: {problem.message}",)
