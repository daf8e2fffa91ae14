"""Orphaned tags, where the fleet's policy is to heal them: taken away as a prune does it, and nothing with them."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from reconciler.apply.prune import prune
from reconciler.model.digest import Digest
from reconciler.model.event import Finished, Started
from reconciler.model.outcome import Result, Status
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.removal import PruneStatus, Removal, Untagged

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.model.plan import Change
    from reconciler.ports.bundle import Ports

_STATUS = {PruneStatus.DONE: Status.DONE, PruneStatus.NONE: Status.NONE, PruneStatus.HELD: Status.HELD}


async def take_away(ports: Ports, fleet: str, orphans: Iterable[Change]) -> tuple[Result, ...]:
    """What became of each orphan that is to be pruned or holds; one that is only told of has no result."""
    return tuple([await _end(ports, fleet, change) for change in orphans if change.action is not Action.NONE])


async def _end(ports: Ports, fleet: str, change: Change) -> Result:
    if change.action is not Action.PRUNE:
        return Result.ended(change.artifact, change.action, Status.HELD, change.holds, change.digest)
    ports.recorder.record(Started(change.artifact))
    start = time.monotonic()
    pruned = await prune(ports, fleet, _removal(change))
    status = _STATUS.get(pruned.status, Status.FAILED)
    took = time.monotonic() - start
    result = Result.ended(change.artifact, Action.PRUNE, status, pruned.problems, change.digest, took)
    ports.recorder.record(Finished(result))
    return result


def _removal(change: Change) -> Removal:
    """Tags alone: what they named stays, for a commit that wants it again, or for `lian prune`."""
    tags = {
        reason.subject: Digest.parse(reason.old)
        for reason in change.reasons
        if reason.code is ReasonCode.ORPHANED and reason.subject and reason.old and reason.subject not in change.left
    }
    untagged = tuple(Untagged(tag, digest, str(change.artifact)) for tag, digest in tags.items())
    return Removal(change.image, tags=untagged, seen=tags)
