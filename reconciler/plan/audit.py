"""Which images a pass looks at whole. A manifest that is there says nothing of its blobs, and to ask for each of them
costs several requests an image: a few images in every pass, another few in the next, all of them in turn (ADR 033)."""

from __future__ import annotations

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
    """In how many turns a fleet of so many artifacts is looked at over the network."""
    return -(-artifacts // AT_ONCE) or 1


def audited(desired: Desired, moment: float) -> Callable[[Repository, Digest], bool]:
    """Whose turn it is at `moment` (Unix seconds). Without memory: turns go by the clock and the image's digest, so
    that passes on machines that know nothing of one another get round all the same."""
    among = turns(len(desired.wanted))
    turn = int(moment // TURN_SECONDS) % among

    def due(repository: Repository, digest: Digest) -> bool:
        return repository.layout is not None or int(digest.hex[:12], 16) % among == turn

    return due
