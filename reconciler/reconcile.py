"""One pass, on one screen: read → key → observe → plan → apply (design section 1)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

from reconciler.apply.in_sync import all_in_sync
from reconciler.apply.work import Work
from reconciler.collector import paused
from reconciler.finishing import all_of
from reconciler.identity.held import Held, placed
from reconciler.identity.resolve import Resolution
from reconciler.model.event import Ended, Noted, Planned
from reconciler.model.observed import Observed, Questions
from reconciler.model.outcome import Status
from reconciler.model.plan import Action
from reconciler.model.policy import Response
from reconciler.model.problem import LianError
from reconciler.model.wording import count
from reconciler.observe.ask import ask, read_listing
from reconciler.observe.lineage import lineage
from reconciler.plan.audit import audited, not_audited
from reconciler.plan.compare import Overrides, make_plan
from reconciler.plan.drift import revisions_behind
from reconciler.plan.files import (
    are_behind,
    built_from,
    changed_files,
    files_behind,
    listings_of,
    with_commits,
    with_files,
)
from reconciler.plan.graph import checked
from reconciler.plan.limit import limited, may_build
from reconciler.plan.origins import with_origins
from reconciler.plan.rules import refuse_force, ruled, violations
from reconciler.plan.saved import (
    done_already,
    followed,
    forced_images,
    notes,
    of_this_fleet,
    to_plan,
)
from reconciler.plan.saved_orphans import tags_to_take
from reconciler.plan.select import Selection, named, narrowed, select
from reconciler.plan.touched import touched
from reconciler.plan.vanished import some_are_gone, unless_vanished

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Sequence

    from reconciler.model.desired import Desired
    from reconciler.model.fleet import Fleet
    from reconciler.model.name import ArtifactName
    from reconciler.model.outcome import Outcome
    from reconciler.model.plan import Change, FileChange, Plan, Reason
    from reconciler.model.problem import Problem
    from reconciler.model.reference import Repository
    from reconciler.model.saved_plan import SavedPlan
    from reconciler.plan.files import Since
    from reconciler.ports.bundle import Ports, Reading
    from reconciler.ports.source import Source

LISTINGS_AT_ONCE = 8
"""Listings of changed contexts that are read at a time; each may be large."""


@dataclass(frozen=True, slots=True)
class Orphaned:
    """What is left over, and what is to be said of it."""

    changes: tuple[Change, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: str | None = None
    """Why nobody can tell what is left over; None where it was looked for, or nobody asked."""


class Orphans(Enum):
    """Whether a pass looks for what no commit wants any more."""

    IGNORED = "ignored"
    HEALED = "healed"
    """Where the fleet's policy is to heal it."""
    TOLD = "told"


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chose for this pass. `build_timeout` in seconds."""

    selection: Selection = field(default_factory=Selection)
    saved: SavedPlan | None = None
    """What was planned before, and is to be carried out: nothing else is done."""
    strict: bool = False
    """All of the saved plan or nothing."""
    forced: tuple[str, ...] = ()
    """Globs of what is built although it is in sync."""
    max_builds: int | None = None
    jobs: int | None = None
    """Builds at a time; None leaves it to `jobs` in lian.ncl, and where that is not set to `cores`."""
    cores: int = 2
    build_timeout: float | None = None
    overrides: Overrides = field(default_factory=Overrides)
    orphans: Orphans = Orphans.IGNORED
    adjusted: Callable[[Desired], Desired] | None = None
    """What a command makes of what the commit asks for, before anything is planned. May raise LianError."""

    @property
    def is_whole(self) -> bool:
        """True if the pass is about all that the commit asks for."""
        return self.selection.is_whole and self.saved is None

    def jobs_in(self, fleet: Fleet) -> int:
        """How many builds there are at a time."""
        return self.jobs or fleet.jobs or self.cores


async def load(ports: Reading) -> Desired:
    """What the commit asks for, checked as a whole. Raises LianError if no commit can be read."""
    return await judged(await ports.source.load(), ports.source)


async def judged(desired: Desired, source: Source) -> Desired:
    """What a commit asks for, checked as a whole, under the rules in it, which may be another commit's; `source` has
    loaded the commit whose directives these are."""
    found = violations(desired)
    places = await source.places(frozenset(one.written for one in found)) if found else {}
    return ruled(checked(desired), [one.problem(places[one.written]) for one in found])


async def plan_once(ports: Reading, options: Options) -> Work:
    """The plan, with what it was made from; `lian diff` stops here. Writes nothing anywhere. Raises LianError."""
    desired = await load(ports)
    if options.adjusted is not None:
        desired = options.adjusted(desired)
    if options.saved is not None:
        return await _follow(ports, desired, options, options.saved)
    selected = select(desired, options.selection, await _changed(ports, desired, options.selection))
    left = await _orphans(ports, desired, options)
    return await plan_for(ports, desired if selected is None else narrowed(desired, selected), options, left)


async def _follow(ports: Reading, desired: Desired, options: Options, plan: SavedPlan) -> Work:
    """What the plan says and still stands. Raises LianError `plan-foreign`."""
    of_this_fleet(plan, desired)
    told = replace(options, orphans=Orphans.TOLD) if plan.takes_away else options
    left = await _orphans(ports, desired, told) if plan.orphans else Orphaned()
    chosen = narrowed(desired, to_plan(plan, desired))
    forced = plan.forced & desired.wanted.keys()
    while True:  # once, and again for each level of forced ones that are done: until then nothing is known of the next
        work = await plan_for(ports, chosen, replace(options, forced=tuple(map(str, forced))), left)
        await read_forced(ports, work)
        if not (done := done_already(work.plan, plan, work.observed)):
            break
        forced -= done
    gone = tags_to_take(plan, left.changes)
    work.observed.take(await ask(Questions(heads=gone - work.observed.heads.keys()), ports.registry))
    now = followed(work.plan, plan, work.resolution, work.observed, strict=options.strict, unread_orphans=left.unknown)
    return replace(work, plan=now, notes=(*work.notes, *notes(work.plan, now, plan)))


async def read_forced(ports: Reading, work: Work) -> None:
    """Let the work's `observed` learn when what is built anew was built last."""
    if images := forced_images(work.plan, work.observed) - work.observed.records.keys():
        work.observed.take(await ask(Questions(records=images), ports.registry))


async def plan_for(ports: Reading, desired: Desired, options: Options, orphans: Orphaned = Orphaned()) -> Work:
    """The plan of what is asked for, whatever of it was chosen, and of the `orphans` that were found. Raises
    LianError."""
    moment = ports.clock()
    forced = named(desired, options.forced, "--force")
    refuse_force(desired, forced)
    resolution = Resolution(desired, moment, audited(desired, moment), forced)
    observed = Observed()
    needed = paused()(resolution.still_needed)
    while questions := needed(observed):  # one round for each level of the graph, each in bulk
        observed.take(await ask(questions, ports.registry))
    await _place_held(resolution, ports.source)
    plan = await decide(ports, resolution, observed, options.overrides, orphans.changes)
    plan = limited(plan, desired, options.max_builds)
    explained = await _explained(plan.changes, resolution, observed, ports)
    changes = await with_history(ports, explained, built_from(resolution, observed))
    notes = (*orphans.notes, *not_audited(desired.fleet.policy, observed))
    return Work(replace(plan, changes=changes), resolution, observed, notes)


async def _place_held(resolution: Resolution, source: Source) -> None:
    """Say in which line the images are named that hold artifacts. Raises LianError for a broken repository."""
    held = {name: one for name, one in resolution.identities.items() if isinstance(one, Held) and one.written}
    if held:
        written = (each for one in held.values() for each in one.written)
        places = await source.places(frozenset(each for each in written if each.image is not None))
        resolution.identities.update({name: placed(one, places) for name, one in held.items()})


async def _changed(ports: Reading, desired: Desired, selection: Selection) -> frozenset[ArtifactName] | None:
    """What is asked for otherwise than where this commit has parted from `selection.since`."""
    if selection.since is None:
        return None
    then = ports.revisions.at(await ports.revisions.parted_from(selection.since))
    return touched(await judged(await then.load(), then), desired)


async def with_history(ports: Reading, changes: Iterable[Change], since: Since) -> tuple[Change, ...]:
    """The changes with the commits that are behind the files in their reasons, where those are not told yet."""
    told = tuple(changes)
    files = files_behind(told, since)
    return with_commits(told, since, await ports.source.last_changed(files)) if files else told


async def decide(
    ports: Reading,
    resolution: Resolution,
    observed: Observed,
    overrides: Overrides,
    orphans: tuple[Change, ...] = (),
) -> Plan:
    """The plan of what was found, without the files behind it; `observed` learns where the commits behind it stand.
    Raises LianError."""
    desired = resolution.desired
    observed.lineage |= await lineage(ports.source, revisions_behind(observed), desired.revision)
    plan = replace(paused()(make_plan)(resolution, observed, overrides), orphans=orphans)
    if overrides.vanished or not some_are_gone(plan, observed):
        return plan
    return unless_vanished(plan, observed, await ports.memory.recall())


async def foreseen(ports: Reading, work: Work, options: Options) -> Work:
    """The same, with how large a runner each build gets, what it is expected to take, and which goes first. Where
    nothing is to be built, nothing is asked. Raises LianError."""
    desired, plan = work.resolution.desired, work.plan
    if not any(change.action in {Action.BUILD, Action.RETAG} for change in plan.changes):
        return work
    from reconciler.observe.foresight import look_for, sized  # most passes find all in sync, and are quicker without
    from reconciler.plan.forecast import forecast, urgency
    from reconciler.plan.warmth import caches_of, warmth

    if not (names := may_build(plan, desired)):
        return work
    caches = caches_of(plan, desired)
    places = [place for those in caches.values() for place in those]
    known = await sized(ports, desired, work.observed, names)
    await look_for(ports.registry, places, work.observed)
    warm = warmth(plan, caches, work.resolution, work.observed)
    plan = forecast(plan, desired, known, warm, options.jobs_in(desired.fleet))
    return replace(work, plan=plan, sized=known, urgency=urgency(plan, desired))


async def _orphans(ports: Reading, desired: Desired, options: Options) -> Orphaned:
    """What is there and no commit wants any more; or why that is not told. Only a whole pass can know."""
    if not options.selection.is_whole or options.orphans is Orphans.IGNORED:
        return Orphaned()
    if options.orphans is Orphans.HEALED and desired.fleet.policy.drift.orphaned is not Response.HEAL:
        return Orphaned()
    if desired.problems:
        return Orphaned(unknown="some directives are invalid")
    from reconciler.observe.kept import load_kept, unknown_wishes  # a pass does without, unless the policy is to heal
    from reconciler.observe.unwanted import find_applied, find_tags
    from reconciler.plan.orphans import left_to, orphans, strangers, suspects

    wanted: dict[Repository, set[str]] = {}
    for one in desired.wanted.values():
        wanted.setdefault(one.artifact.image, set()).update(one.artifact.tags)
    try:
        found = await find_applied(ports, desired, wanted)
        if not (entries := suspects(desired, found)):
            return Orphaned()
        found.take(await find_tags(ports.registry, entries.keys()))
        kept = await load_kept(ports.revisions, desired.fleet.policy.prune.revisions, desired.revision)
        found.lineage |= await lineage(ports.source, (one.revision for one in entries.values()), desired.revision)
    except LianError as error:
        why = error.problems[0].message
        return Orphaned(notes=(f"what no commit wants any more was not looked for: {why}",), unknown=why)
    if problems := unknown_wishes(kept, kept.desired):
        first, more = problems[0], len(problems) - 1
        others = f"; {count(more, 'other problem')} of this kind: see `lian prune --dry-run`" if more else ""
        why = f"{first.message}: {first.cause}" if first.cause else first.message
        return Orphaned(notes=(f"what no commit wants any more is not known, since {why}{others}",), unknown=why)
    return Orphaned(orphans(desired, found, kept.desired), left_to(strangers(desired, found)))


async def reconcile_once(ports: Ports, options: Options) -> tuple[Plan, Outcome]:
    """One pass. What earlier passes left behind is swept before anything is done; what will not go is told in the
    outcome.

    Raises LianError if no plan could be made.
    """
    try:
        work = await foreseen(ports, await plan_once(ports, options), options)
    except LianError as error:  # what is rented goes back whatever the commit says
        stuck = await _sweep(ports, None)
        raise LianError((*error.problems, *stuck)) from error
    stuck = await _sweep(ports, work.resolution.desired.fleet.name)
    for note in (*work.resolution.desired.notes, *work.notes):
        ports.recorder.record(Noted(note))
    ports.recorder.record(Planned(work.plan))
    outcome = all_in_sync(work) or await _carried_out(work, ports, options)
    ports.recorder.record(Ended(outcome))
    if options.is_whole:
        unknown = any(result.status is Status.HELD for result in outcome.results)
        await ports.memory.keep(_there(work, outcome, await ports.memory.recall() if unknown else ()))
    return work.plan, replace(outcome, problems=(*outcome.problems, *stuck))


async def _carried_out(work: Work, ports: Ports, options: Options) -> Outcome:
    from reconciler.apply.artifact import Limits  # most passes find all in sync, and are quicker without
    from reconciler.apply.carry_out import carry_out
    from reconciler.plan.score import score

    jobs = options.jobs_in(work.resolution.desired.fleet)
    outcome = await carry_out(work, ports, jobs, Limits(options.build_timeout, options.overrides.older))
    return replace(outcome, forecast=score(work.plan, outcome))


def _there(work: Work, outcome: Outcome, remembered: Collection[str]) -> set[Repository]:
    """The repositories that hold something of what is wanted; those that did when it was last known, where it could not
    be found out now."""
    wanted = [result for result in outcome.results if result.action is not Action.PRUNE]
    good = {r.artifact for r in wanted if r.status in {Status.DONE, Status.NONE}}
    held = {r.artifact for r in wanted if r.status is Status.HELD}
    changes, named = work.plan.changes, work.observed.named
    there = {c.image for c in changes if c.artifact in good or named(c.image, c.tags)}
    return there | {c.image for c in changes if c.artifact in held and str(c.image) in remembered}


async def _sweep(ports: Ports, fleet: str | None) -> tuple[Problem, ...]:
    """Return what interrupted passes rented; the problems of what could not be returned. Where nobody can look is worth
    no more than a note: the next pass looks again. Without a fleet only those of this machine are known."""
    swept = await ports.compute.sweep(fleet)
    if swept.leases:
        ports.recorder.record(Noted(f"swept what {count(len(swept.leases), 'interrupted build')} had left behind"))
    for problem in swept.unseen:
        ports.recorder.record(Noted(f"what passes elsewhere have left behind is not known: {problem.message}"))
    return swept.problems


async def _explained(
    changes: Sequence[Change], resolution: Resolution, observed: Observed, ports: Reading
) -> tuple[Change, ...]:
    """The changes with the files behind them."""
    gate = asyncio.Semaphore(LISTINGS_AT_ONCE)
    some = [change for change in changes if are_behind(change)]
    told = await all_of(_with_files(change, resolution, observed, ports, gate) for change in some)
    known = {change.artifact: change for change in told}
    return tuple(known.get(change.artifact, change) for change in changes)


async def _with_files(
    change: Change, resolution: Resolution, observed: Observed, ports: Reading, gate: asyncio.Semaphore
) -> Change:
    """Name the files behind each changed context, and the commits where it is another repository's; a listing that
    cannot be had leaves them unnamed."""
    files: dict[Reason, tuple[FileChange, ...]] = {}
    for reason, listings in listings_of(change, resolution, observed).items():
        try:
            async with gate:
                old = await read_listing(ports.registry, listings.repository, listings.old)
                new = await ports.source.listing(listings.new)
        except LianError:
            continue  # the digests in the reason are true without the names
        files[reason] = changed_files(old, new, listings.new.path)
    return with_origins(with_files(change, files, resolution), resolution, observed)
