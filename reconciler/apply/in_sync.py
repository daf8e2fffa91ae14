"""What is in sync needs nothing done: its result, without anything of what carries changes out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.identity.resolve import Keyed
from reconciler.model.observed import Found
from reconciler.model.outcome import Outcome, Result, Status
from reconciler.model.plan import Action
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from reconciler.apply.work import Work
    from reconciler.model.digest import Digest
    from reconciler.model.plan import Change
    from reconciler.model.platform import Platform


def all_in_sync(work: Work) -> Outcome | None:
    """The outcome of a plan that asks for nothing at all; None for one that there is something to do of, or to say."""
    if any(change.action is not Action.NONE for change in work.plan.orphans):
        return None
    results: list[Result] = []
    for change in work.plan.changes:
        result = in_sync(change, work)
        if result is None:
            return None
        results.append(result)
    return Outcome(work.plan.revision, tuple(results), work.plan.problems)


def in_sync(change: Change, work: Work) -> Result | None:
    """The result of a change that says so; None for any other."""
    if change.action is not Action.NONE or change.digest is None:
        return None  # of what a saved plan alone speaks of, nothing else is known
    identity = work.resolution.identities[change.artifact]
    if not isinstance(identity, Keyed):
        return None
    platforms = _seen_platforms(change, identity, change.digest, work)
    return Result(change.artifact, Action.NONE, Status.NONE, change.digest, platforms=platforms)


def _seen_platforms(change: Change, identity: Keyed, digest: Digest, work: Work) -> dict[Platform, Digest]:
    """Platform manifests as the pass observed them; children asked for those they need."""
    if len(identity.keys) == 1:
        return dict.fromkeys(identity.keys, digest)
    heads = work.observed.heads
    refs = {platform: Reference(change.image, identity.tag(platform)) for platform in identity.keys}
    return {p: head.digest for p, ref in refs.items() if isinstance(head := heads.get(ref), Found)}
