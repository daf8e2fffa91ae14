"""Which images a pass looks at whole. A manifest that is there says nothing of its blobs, and to ask for each of them
costs several requests an image: a few images in every pass, another few in the next (ADR 033)."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
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
