"""What nobody wants any more, in a saved plan: writing down what goes, and later taking away only that."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.digest import Digest
from reconciler.model.observed import Found, Unknown
from reconciler.model.plan import Action, ReasonCode
from reconciler.model.problem import Problem
from reconciler.model.reference import Reference
from reconciler.model.saved_plan import Bound
from reconciler.model.wording import some
from reconciler.plan.saved_holds import IDLE, gone, held, held_by_plan, holding
from reconciler.plan.stale import Stale, from_to

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from reconciler.model.desired import Desired
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Observed
    from reconciler.model.plan import Change
    from reconciler.model.saved_plan import SavedPlan


def bound_orphan(change: Change) -> Bound:
    """Of what nobody wants: it has no inputs, and its reasons tell where its tags point."""
    return Bound(
        action=change.action,
        image=change.image,
        tags=change.tags,
        platforms=change.platforms,
        key=None,
        inputs=None,
        digest=change.digest,
        left=change.left,
        starts={reason.subject: Digest.parse(reason.old) for reason in change.reasons if reason.subject and reason.old},
        held=next((problem.code for problem in change.holds), None),
    )


def tags_to_take(plan: SavedPlan, found: Collection[Change]) -> frozenset[Reference]:
    """The tags that the plan takes away, of what is not among the changes that were found: whether they are gone, the
    registry alone can tell."""
    known = {(change.artifact, change.image) for change in found}
    return frozenset(
        Reference(image, tag)
        for (name, image), bound in plan.orphans.items()
        if bound.action is Action.PRUNE and (name, image) not in known
        for tag in _taken(bound)
    )


@dataclass(frozen=True, slots=True)
class OrphanFollower:
    """One plan that is followed, on what is found left over now."""

    plan: SavedPlan
    desired: Desired
    observed: Observed
    hint: str

    def left_over(self, change: Change) -> Change:
        """Of what is not wanted any more, only what the plan takes away goes. The rest is none of its business,
        whatever the policy says: a plan of a merge cannot know yet what the policy will find."""
        bound = self.plan.orphans.get((change.artifact, change.image))
        if bound is None or bound.action is Action.NONE:
            return replace(change, action=Action.NONE, holds=(), left=change.tags)
        if bound.action is Action.PRUNE and change.action is Action.NONE and {*_taken(bound)}.intersection(change.tags):
            return held(change, Stale("the plan takes it away, and lian.ncl leaves it where it is"), self.hint)
        if change.action in IDLE:
            return change
        if bound.action is Action.HOLD:
            return held_by_plan(change, bound)
        if more := sorted({*change.tags}.difference(change.left, _taken(bound))):
            return held(change, Stale("it would take away more than the plan says", some(more)), self.hint)
        return change

    def not_found(self, now: Iterable[Change], unread: str | None) -> Iterator[Change]:
        """What the plan takes away, and was not found among what no commit wants any more: done if its tags are gone.
        `unread` tells why nobody knows what no commit wants."""
        found = {(change.artifact, change.image) for change in now}
        for (name, image), bound in self.plan.orphans.items():
            if bound.action is Action.PRUNE and (name, image) not in found:
                problem = self._still_there(name, bound, unread)
                if isinstance(problem, Stale):
                    yield held(gone(name, bound), problem, self.hint)
                elif problem is not None:
                    yield holding(gone(name, bound), problem, ReasonCode.UNKNOWN)

    def _still_there(self, name: ArtifactName, bound: Bound, unread: str | None) -> Stale | Problem | None:
        """Why it is not taken away; None if it is gone."""
        one = self.desired.wanted.get(name) or self.desired.others.get(name)
        if one is not None and one.artifact.image == bound.image:
            return Stale("the plan takes it away, and the commit asks for it")
        for tag in _taken(bound):
            match self.observed.heads[Reference(bound.image, tag)]:
                case Unknown(problem):
                    return problem
                case Found(digest) if digest != bound.starts.get(tag):
                    return Stale(f"the tag {tag} was moved meanwhile", from_to(bound.starts.get(tag), digest))
                case Found() if unread is not None:
                    message = "the plan takes it away, and what no commit wants any more is not known"
                    hint = "carry out the plan again once that is known"
                    return Problem("orphans-unread", message, cause=unread, hint=hint)
                case Found():
                    return Stale("the plan takes it away, and a branch or a newer commit wants it")
        return None


def _taken(bound: Bound) -> list[str]:
    """The tags that go."""
    return [tag for tag in bound.tags if tag not in bound.left]
