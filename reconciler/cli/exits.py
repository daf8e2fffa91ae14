"""Exit codes: one table for all commands (design section 9)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.outcome import Status

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.adopt.init import Initiation
    from reconciler.audit.findings import Verification
    from reconciler.audit.holdings import RegistryStatus
    from reconciler.audit.images import Images
    from reconciler.audit.sizing import Explanation, Suggestions
    from reconciler.audit.stats import Stats
    from reconciler.cache.holding import CacheEnd, CachePlan
    from reconciler.checks.doctor import Report
    from reconciler.model.lock_report import LockReport
    from reconciler.model.outcome import Outcome
    from reconciler.model.plan import Plan
    from reconciler.model.removal import Pruned, PrunePlan

DONE = 0
ERROR = 1
DRIFT = 2
FAILED = 3
HELD = 4
INTERRUPTED = 130
PRECEDENCE = (INTERRUPTED, ERROR, FAILED, HELD, DRIFT)
"""When several apply, the first of these."""


def worst(codes: Iterable[int]) -> int:
    """The code to exit with when all these apply; DONE for none."""
    present = set(codes)
    return next((code for code in PRECEDENCE if code in present), DONE)


def of_plan(plan: Plan) -> int:
    """What `lian diff` exits with. What a merge only proposes is a change that it makes, though not one that can be
    foreseen: no preview stays red until the merge for it."""
    drift = plan.drift or plan.proposed
    return worst(code for code, applies in ((ERROR, plan.problems), (HELD, plan.held), (DRIFT, drift)) if applies)


def of_outcome(outcome: Outcome) -> int:
    """What `lian reconcile --once` exits with."""
    invalid = {p.artifact for p in outcome.problems}
    failed = [r for r in outcome.results if r.status in {Status.FAILED, Status.SKIPPED}]
    held = [r for r in outcome.results if r.status is Status.HELD and str(r.artifact) not in invalid]
    return worst(code for code, applies in ((ERROR, outcome.problems), (FAILED, failed), (HELD, held)) if applies)


def of_images(told: Images) -> int:
    """What `lian images` exits with: as `lian diff`, and 2 also for a drift that the policy only reports."""
    left = {left.why.value for left in told.left_out}
    return worst(
        code for code, applies in ((ERROR, told.problems), (HELD, "held" in left), (DRIFT, "drift" in left)) if applies
    )


def of_verification(told: Verification) -> int:
    """What `lian verify` exits with: 3 for an image that is not what it should be, 4 where that is not known, 2 for
    one that is not there yet."""
    found = {result.state.value for result in told.results}
    codes = ((FAILED, {"broken", "unsigned", "unrecorded"}), (HELD, {"unknown", "held"}), (DRIFT, {"drift"}))
    return worst([code for code, states in codes if states & found] + ([ERROR] if told.problems else []))


def of_lock(told: LockReport, *, check: bool) -> int:
    """What `lian lock` exits with: 4 where something could not be found out, 2 where a check found a difference."""
    codes = ((ERROR, told.problems), (HELD, told.unresolved), (DRIFT, check and told.changes))
    return worst(code for code, applies in codes if applies)


def of_status(told: RegistryStatus) -> int:
    """What `lian registry status` exits with: a drift is what it is there to tell, what could not be read is not."""
    return worst(code for code, applies in ((ERROR, told.problems), (HELD, told.unread)) if applies)


def of_prune_plan(plan: PrunePlan) -> int:
    """What `lian prune --dry-run` exits with: 2 if something would go."""
    held = plan.problems or any(removal.problems for removal in plan.removals)
    return worst(code for code, applies in ((HELD, held), (DRIFT, plan.images or plan.tags)) if applies)


def of_prune(ends: Iterable[Pruned]) -> int:
    """What `lian prune` exits with when it has done what it could."""
    codes = {"failed": FAILED, "held": HELD}
    return worst(codes[end.status.value] for end in ends if end.status.value in codes)


def of_cache_plan(plan: CachePlan) -> int:
    """What `lian cache prune --dry-run` exits with: 2 if something would go."""
    held = plan.problems or plan.caches.unread
    return worst(code for code, applies in ((HELD, held), (DRIFT, plan.going)) if applies)


def of_cache_ends(plan: CachePlan, ends: Iterable[CacheEnd]) -> int:
    """What `lian cache prune` exits with when it has done what it could."""
    codes = {"failed": FAILED, "held": HELD}
    ended = [codes[end.status.value] for end in ends if end.status.value in codes]
    return worst(ended + ([HELD] if plan.caches.unread else []))


def of_sizing(told: Explanation) -> int:
    """What `lian sizing explain` exits with."""
    held = told.unread or (told.wanted.holds and not told.invalid)
    return worst(code for code, applies in ((ERROR, told.invalid), (HELD, held)) if applies)


def of_suggestions(told: Suggestions) -> int:
    """What `lian sizing suggest` exits with: what it suggests is what it is there to tell."""
    return worst(code for code, applies in ((ERROR, told.problems), (HELD, told.unread)) if applies)


def of_stats(told: Stats) -> int:
    """What `lian stats` exits with: a forecast that was wrong is what it is there to tell."""
    return worst(code for code, applies in ((ERROR, told.problems), (HELD, told.unread)) if applies)


def of_report(report: Report) -> int:
    """What `lian doctor` exits with: what is missing for a pass is an error in the environment."""
    return DONE if report.converges else ERROR


def of_initiation(told: Initiation) -> int:
    """What `lian init` exits with: what is left out is still to be done by hand."""
    return FAILED if told.adopted and told.adopted.left_out else DONE
