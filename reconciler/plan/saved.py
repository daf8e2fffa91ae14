"""Writing a plan down, and following it later: of what a pass finds to do, only what the plan says, and only where what
it was decided on still stands."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from reconciler.identity.keys import content_tag
from reconciler.model.plan import Action, Change, Plan, ReasonCode
from reconciler.model.problem import LianError, Problem
from reconciler.model.saved_plan import Bound, SavedPlan
from reconciler.model.wording import some
from reconciler.plan.saved_holds import IDLE, gone, held, held_by_others, held_by_plan, holding, is_stale
from reconciler.plan.saved_orphans import OrphanFollower, bound_orphan
from reconciler.plan.select import with_parents
from reconciler.plan.stale import Stale, inputs_of, made_of, outdated, pointing
from reconciler.plan.unclear import unread

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from reconciler.identity.resolve import Resolution
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Observed
    from reconciler.model.reference import Repository


def saved(plan: Plan, resolution: Resolution, observed: Observed) -> SavedPlan:
    """The plan as it can be written down."""
    bound = {change.artifact: _bound(change, resolution, observed) for change in plan.changes}
    orphans = {(change.artifact, change.image): bound_orphan(change) for change in plan.orphans}
    return SavedPlan(resolution.desired.fleet.name, plan.to_json(), bound, orphans)


def of_this_fleet(plan: SavedPlan, desired: Desired) -> None:
    """Raises LianError `plan-foreign` for a plan of another fleet."""
    if plan.fleet != desired.fleet.name:
        message = f"the plan is of the fleet {plan.fleet}, and this is {desired.fleet.name}"
        raise LianError(Problem("plan-foreign", message, hint="carry it out in the repo it was made for"))


def to_plan(plan: SavedPlan, desired: Desired) -> frozenset[ArtifactName]:
    """What a pass that follows the plan is about, as far as the commit still asks for it."""
    return with_parents(desired, plan.bound.keys() & desired.wanted.keys())


def followed(
    now: Plan,
    plan: SavedPlan,
    resolution: Resolution,
    observed: Observed,
    *,
    strict: bool,
    unread_orphans: str | None = None,
) -> Plan:
    """What a pass finds to do now, held wherever the saved plan does not say the same; what is done already stays done,
    and what is in sync as something else than the plan says was not done. With `strict` one that differs holds all.
    `unread_orphans` tells why nobody knows what is left over, None if it is known. Linear in changes."""
    follower = _Follower(plan, resolution, observed, _remedy(plan, now.revision))
    changes = [follower.wanted(change) for change in now.changes]
    left = OrphanFollower(plan, resolution.desired, observed, follower.hint)
    orphans = [left.left_over(change) for change in now.orphans]
    changes += follower.gone(now.changes)
    orphans += left.not_found(now.orphans, unread_orphans)
    stale = [str(change.artifact) for change in (*changes, *orphans) if is_stale(change)]
    if strict and stale:
        told = some(stale)
        changes, orphans = ([held_by_others(c, told) for c in those] for those in (changes, orphans))
    return replace(now, changes=tuple(changes), orphans=tuple(orphans))


def forced_images(plan: Plan, observed: Observed) -> frozenset[tuple[Repository, Digest]]:
    """The images that are there of what is built anew: their build records tell whether that was done already."""
    return frozenset(image for change in plan.changes if _is_forced(change) for image in _there(change, observed))


def done_already(now: Plan, plan: SavedPlan, observed: Observed) -> frozenset[ArtifactName]:
    """What the saved plan forces, and was built of the same inputs since it was made. What is not known was not."""
    forced = (c for c in now.changes if _is_forced(c) and c.key and c.artifact in plan.forced)
    return frozenset(
        change.artifact for change in forced if _built_since(change, plan.bound[change.artifact], observed)
    )


def notes(found: Plan, now: Plan, plan: SavedPlan) -> Iterator[str]:
    """What a pass has to say beside its results: `found` is what it would do without the plan, `now` what it does."""
    pairs = zip(found.orphans, now.orphans, strict=False)  # what the plan alone speaks of comes last, and is held
    if left := [
        str(then.artifact) for there, then in pairs if there.action is Action.PRUNE and then.action is Action.NONE
    ]:
        told = some(left)
        yield f"what is no longer wanted is left to the next pass without a plan, which takes it away: {told}"
    was = any(bound.action not in IDLE for bound in (*plan.bound.values(), *plan.orphans.values()))
    if was and all(change.action is Action.NONE for change in now.whole):
        yield "nothing is left to do: what the plan says has been done"


def _bound(change: Change, resolution: Resolution, observed: Observed) -> Bound:
    return Bound(
        action=change.action,
        image=change.image,
        tags=change.tags,
        platforms=change.platforms,
        key=change.key,
        inputs=inputs_of(change.artifact, resolution),
        digest=change.digest,
        left=change.left,
        starts=pointing(change, observed),
        forced=_is_forced(change),
        held=next((problem.code for problem in change.holds), None),
        built=_built(change, observed) if _is_forced(change) else None,
        made_of=None if change.action in IDLE else made_of(change.artifact, resolution),
    )


def _is_forced(change: Change) -> bool:
    return any(reason.code is ReasonCode.FORCED for reason in change.reasons)


def _there(change: Change, observed: Observed) -> list[tuple[Repository, Digest]]:
    """What its tags point at, the content tag's included."""
    tags = [*change.tags, *([content_tag(change.key)] if change.key else [])]
    return [(change.image, digest) for digest in observed.named(change.image, tags).values()]


def _built(change: Change, observed: Observed) -> str | None:
    """When the newest build of what is there had started; empty if there is none, None if that is not known."""
    found = [observed.records.get(image) for image in _there(change, observed)]
    started = [record.started for records in found if isinstance(records, tuple) for record in records]
    return max(started, default="") if all(isinstance(records, tuple) for records in found) else None


def _built_since(change: Change, bound: Bound, observed: Observed) -> bool:
    records = (record for image in _there(change, observed) for record in observed.records_of(*image))
    return bound.built is not None and any(r.key == change.key and r.started > bound.built for r in records)


@dataclass(frozen=True, slots=True)
class _Follower:
    """One plan that is followed, on what is found now."""

    plan: SavedPlan
    resolution: Resolution
    observed: Observed
    hint: str
    stale: set[ArtifactName] = field(default_factory=set)
    """What was not as the plan says, so far."""

    def wanted(self, change: Change) -> Change:
        """Of what the commit asks for."""
        now = self._followed(change, self.plan.bound.get(change.artifact))
        if is_stale(now):
            self.stale.add(change.artifact)
        return now

    def _followed(self, change: Change, bound: Bound | None) -> Change:
        if change.action is Action.HOLD or (bound is None and change.action is Action.NONE):
            return change
        if bound is not None and bound.action is Action.HOLD:
            return change if change.action is Action.NONE else held_by_plan(change, bound)
        why = outdated(change, bound, self.resolution, self.observed, self.stale)
        return held(change, why, self.hint) if why else change

    def gone(self, now: Iterable[Change]) -> Iterator[Change]:
        """What the plan was to do with artifacts that are not there any more."""
        there = {change.artifact for change in now}
        unclear = self.resolution.desired.unclear
        for name, bound in self.plan.bound.items():
            if name in there or bound.action in IDLE:
                continue
            if (problem := unread(unclear, name)) is not None:
                yield holding(gone(name, bound), problem, ReasonCode.UNKNOWN)
            else:
                yield held(gone(name, bound), Stale("the commit does not ask for it any more"), self.hint)


def _remedy(plan: SavedPlan, revision: str) -> str:
    """What to try where the plan does not say what is found at this commit."""
    merge = plan.plan.get("merge")
    if merge and merge["base"] == revision:
        return "merge what the plan is of first: this commit is the one that it was to be merged into"
    return "make a new plan: lian diff --out"
