"""Writing a plan down, and following it later: of what a pass finds to do, only what the plan says, and only where what
it was decided on still stands."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.identity.keys import content_tag
from reconciler.identity.resolve import Held
from reconciler.model.artifact import ParentImage
from reconciler.model.canonical import fingerprint
from reconciler.model.observed import Absent, Found
from reconciler.model.plan import Action, Change, Plan, Reason, ReasonCode
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.reference import Reference
from reconciler.model.saved_plan import Bound, SavedPlan
from reconciler.model.wording import some
from reconciler.plan.select import with_parents

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.identity.resolve import Resolution
    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Observed
    from reconciler.model.reference import Repository

NAMED = 3
"""Artifacts that are named for many."""
_IDLE = {Action.NONE, Action.HOLD}


def saved(plan: Plan, resolution: Resolution, observed: Observed) -> SavedPlan:
    """The plan as it can be written down."""
    bound = {change.artifact: _bound(change, resolution, observed) for change in plan.changes}
    orphans = {(change.artifact, change.image): _bound(change, resolution, observed) for change in plan.orphans}
    return SavedPlan(resolution.desired.fleet.name, plan.to_json(), bound, orphans)


def of_this_fleet(plan: SavedPlan, desired: Desired) -> None:
    """Raises LianError `plan-foreign` for a plan of another fleet."""
    if plan.fleet != desired.fleet.name:
        message = f"the plan is of the fleet {plan.fleet}, and this is {desired.fleet.name}"
        raise LianError(Problem("plan-foreign", message, hint="carry it out in the repo it was made for"))


def to_plan(plan: SavedPlan, desired: Desired) -> frozenset[ArtifactName]:
    """What a pass that follows the plan is about, as far as the commit still asks for it."""
    return with_parents(desired, plan.bound.keys() & desired.wanted.keys())


def followed(now: Plan, plan: SavedPlan, resolution: Resolution, observed: Observed, *, strict: bool) -> Plan:
    """What a pass finds to do now, held wherever the saved plan does not say the same; what is done already stays done.
    With `strict` one that differs holds all. Linear in changes."""
    changes = [_followed(c, plan.bound.get(c.artifact), resolution, observed) for c in now.changes]
    orphans = [_left_over(c, plan, resolution, observed) for c in now.orphans]
    changes += _gone(plan, now.changes)
    stale = [str(change.artifact) for change in (*changes, *orphans) if _is_stale(change)]
    if strict and stale:
        told = some(stale, NAMED)
        changes, orphans = ([_held_by_others(c, told) for c in those] for those in (changes, orphans))
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
    pairs = zip(found.orphans, now.orphans, strict=True)
    if left := [
        str(then.artifact) for there, then in pairs if there.action is Action.PRUNE and then.action is Action.NONE
    ]:
        told = some(left, NAMED)
        yield f"what is no longer wanted is left to the next pass without a plan, which takes it away: {told}"
    was = any(bound.action not in _IDLE for bound in (*plan.bound.values(), *plan.orphans.values()))
    if was and all(change.action is Action.NONE for change in now.whole):
        yield "nothing is left to do: what the plan says has been done"


def _bound(change: Change, resolution: Resolution, observed: Observed) -> Bound:
    return Bound(
        action=change.action,
        image=change.image,
        tags=change.tags,
        platforms=change.platforms,
        key=change.key,
        inputs=_inputs(change.artifact, resolution),
        digest=change.digest,
        starts=_pointing(change, observed),
        forced=_is_forced(change),
        held=next((problem.code for problem in change.holds), None),
        built=_built(change, observed) if _is_forced(change) else None,
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


def _pointing(change: Change, observed: Observed) -> dict[str, Digest | None]:
    """Tag -> what it points at, None for one that is not there; without those that could not be read."""
    heads = {tag: observed.heads.get(Reference(change.image, tag)) for tag in change.tags}
    found: dict[str, Digest | None] = {tag: head.digest for tag, head in heads.items() if isinstance(head, Found)}
    return found | {tag: None for tag, head in heads.items() if isinstance(head, Absent)}


def _inputs(name: ArtifactName, resolution: Resolution) -> str | None:
    """Of what an artifact's key is made but for its parents' images, which may be built first."""
    identity = resolution.identities.get(name)
    if identity is None or isinstance(identity, Held):
        return None
    artifact = resolution.desired.wanted[name].artifact
    return fingerprint({str(platform): _own(artifact, leaves) for platform, leaves in identity.inputs.items()})


def _own(artifact: Artifact, leaves: Mapping[str, object]) -> dict[str, object]:
    contexts = leaves.get("contexts", {})
    assert isinstance(contexts, dict)
    own = {name: leaf for name, leaf in contexts.items() if not isinstance(artifact.contexts[name], ParentImage)}
    return {**leaves, "contexts": own}


def _followed(change: Change, bound: Bound | None, resolution: Resolution, observed: Observed) -> Change:
    if change.action in _IDLE:
        return change
    if bound is not None and bound.action is Action.HOLD:
        return _held_by_plan(change, bound)
    why = _difference(change, bound, resolution, observed)
    return _held(change, why) if why else change


def _left_over(change: Change, plan: SavedPlan, resolution: Resolution, observed: Observed) -> Change:
    """Of what is not wanted any more, only what the plan takes away goes. The rest is none of its business, whatever
    the policy says: a plan of a merge cannot know yet what the policy will find."""
    bound = plan.orphans.get((change.artifact, change.image))
    if bound is None or bound.action is Action.NONE:
        return replace(change, action=Action.NONE, holds=(), left=change.tags)
    return _followed(change, bound, resolution, observed)


def _difference(change: Change, bound: Bound | None, resolution: Resolution, observed: Observed) -> str | None:
    """In which way the world is not the plan's any more; None if it is."""
    if bound is None or bound.action is Action.NONE:
        return "the plan leaves it as it was, and it drifts now"
    if (bound.image, bound.tags, bound.platforms) != (change.image, change.tags, change.platforms):
        return "it is wanted under another image, other tags or for other platforms"
    if bound.inputs != _inputs(change.artifact, resolution):
        return "it is made of something else now"
    if bound.key is not None and change.key is not None and bound.key != change.key:
        return "what it stands on came out otherwise"
    if not _leads_to_the_same(change, bound):
        return f"the plan was to {bound.action} it, and now it would be a {change.action}"
    for tag, digest in _pointing(change, observed).items():
        if digest not in {bound.starts.get(tag), change.digest}:
            return f"the tag {tag} was moved meanwhile"
    return None


def _leads_to_the_same(change: Change, bound: Bound) -> bool:
    """Also what is left to do of a build that was cut off: its image is there, and its tags are not all."""
    if bound.action is change.action:
        return bound.action is not Action.RETAG or bound.digest == change.digest
    return bound.action is Action.BUILD and change.action is Action.RETAG


def _gone(plan: SavedPlan, now: Iterable[Change]) -> Iterator[Change]:
    """What the plan was to do with artifacts that are not there any more."""
    there = {change.artifact for change in now}
    for name, bound in plan.bound.items():
        if name not in there and bound.action not in _IDLE:
            reasons = (Reason(ReasonCode.ORPHANED, subject=str(name)),)
            change = Change(name, bound.image, bound.tags, bound.platforms, bound.action, reasons)
            yield _held(change, "the commit does not ask for it any more")


def _held(change: Change, why: str) -> Change:
    return _holding(change, "plan-stale", f"the plan is out of date: {why}", "make a new plan: lian diff --out")


def _held_by_plan(change: Change, bound: Bound) -> Change:
    """What was held when the plan was made was not decided on: that is as it was shown, and nothing is out of date."""
    hint = "make a new plan once that is settled: lian diff --out"
    return _holding(change, "plan-held", f"the plan itself holds it: {bound.held}", hint)


def _held_by_others(change: Change, stale: str) -> Change:
    if change.action in _IDLE:
        return change
    message = f"the plan is out of date for {stale}, and it is to be all or nothing"
    return _holding(change, "plan-strict", message, "make a new plan, or leave --strict out")


def _holding(change: Change, code: str, message: str, hint: str) -> Change:
    problem = Problem(code, message, artifact=str(change.artifact), hint=hint, next=Next.PERSON)
    reasons = (Reason(ReasonCode.STALE, None, code), *change.reasons)
    return replace(change, action=Action.HOLD, reasons=reasons, holds=(problem,), conditional=False, replaces=False)


def _is_stale(change: Change) -> bool:
    return any(problem.code == "plan-stale" for problem in change.holds)
