"""A whole plan: every change as soon as its own parents are done, at most `jobs` at a time; of those that are ready the
one on which the longest path of builds still stands goes first."""

from __future__ import annotations

import asyncio
import time
import traceback
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.apply.artifact import Limits, Worker
from reconciler.apply.attesting import Attester
from reconciler.apply.held import HeldBack
from reconciler.apply.hosts import frontends_of_shares, hosts_of_shares, share_of
from reconciler.apply.in_sync import in_sync
from reconciler.apply.orphans import take_away
from reconciler.apply.places import AT_ONCE, Places
from reconciler.apply.pool import Room
from reconciler.apply.runners import Runners
from reconciler.apply.settling import Settler
from reconciler.apply.tagging import Tagger
from reconciler.apply.taken_over import is_whole
from reconciler.apply.witness import Witness
from reconciler.identity.ancestry import parents_in_use, parents_of_build
from reconciler.identity.resolve import Keyed
from reconciler.model.event import Finished, Noted, Waiting
from reconciler.model.observed import Found
from reconciler.model.outcome import Outcome, Result, Status
from reconciler.model.plan import Action
from reconciler.model.problem import LianError, Next, Problem
from reconciler.observe.ask import known_heads

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.apply.work import Work
    from reconciler.model.desired import Desired, Wanted
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.plan import Change
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Repository
    from reconciler.ports.bundle import Ports
    from reconciler.sizing.choose import Sizing

_GOOD = {Status.DONE, Status.NONE}


async def carry_out(work: Work, ports: Ports, jobs: int, limits: Limits) -> Outcome:
    """Apply the plan; one artifact's failure stops only what stands on it.

    However this is left, every runner has been returned; one that could not be is a problem of the outcome.
    """
    plan = work.plan
    desired = work.resolution.desired
    began = time.monotonic()
    sized = work.sized
    shares = {name: share_of(name, work.resolution, _machine(desired, s)) for name, s in sized.sizings.items()}
    runners = Runners.of(
        ports.compute,
        desired.fleet.name,
        ports.pass_id,
        jobs,
        hosts_of_shares(desired, shares.items()),
        shares,
        Room.of(desired.fleet, jobs),
        frontends_of_shares(desired, shares.items()),
    )
    allow_older = limits.allow_older or not desired.committed  # a folder is older than no commit
    tagger = Tagger(ports, desired, work.observed, Witness(ports, desired, allow_older))
    attester = Attester(ports, desired)
    settler = Settler(ports, tagger, attester)
    builds = [change.artifact for change in plan.changes if change.action is Action.BUILD]
    # Behind all that they stand on: what is to be copied may be built, too.
    after = {name: sorted(parents_of_build(desired.wanted[name])) for name in builds}
    places = Places(jobs, work.urgency, after if jobs > 1 else {})  # with one, no order makes the pass shorter
    foreseen = {change.artifact: change.forecast for change in plan.changes if change.forecast}
    worker = Worker(
        ports,
        work.resolution,
        runners=runners,
        limits=limits,
        places=places,
        settler=settler,
        attester=attester,
        observed=work.observed,
        sized=sized,
        forecasts=foreseen,
        shares=shares,
    )
    carrier = _Carrier(work, worker, tagger, runners, shares)
    problems = plan.problems
    results: tuple[Result, ...] | None = None
    try:
        async with runners:
            try:
                results = await carrier.run()
            finally:
                await worker.close()
    except LianError as error:  # single artifacts' errors are in the results: this is a runner that is still out
        if results is None:  # and the pass was interrupted
            raise
        problems = (*problems, *error.problems)
    left = await take_away(ports, desired.fleet.name, plan.orphans)
    return Outcome(plan.revision, (*results, *left), problems, time.monotonic() - began)


def _machine(desired: Desired, sizing: Sizing) -> str:
    return sizing.tier.name if desired.fleet.compute.provider.rents_sizes else ""


@dataclass(slots=True)
class _Carrier:
    work: Work
    worker: Worker
    tagger: Tagger
    runners: Runners
    shares: Mapping[ArtifactName, str]
    """What each artifact that may be built shares a runner with."""
    tasks: dict[ArtifactName, asyncio.Task[Result]] = field(default_factory=dict)

    async def run(self) -> tuple[Result, ...]:
        """One task for each change that does something; the others have their result already."""
        async with asyncio.TaskGroup() as group:
            for change in self.work.plan.changes:
                self.tasks[change.artifact] = group.create_task(self._one(change), name=str(change.artifact))
        return tuple(task.result() for task in self.tasks.values())

    async def _one(self, change: Change) -> Result:
        try:
            result = await self._act(change)
        except HeldBack as error:
            result = Result.ended(change.artifact, change.action, Status.HELD, error.problems)
        except LianError as error:
            result = Result.ended(change.artifact, change.action, Status.FAILED, error.problems)
        except Exception as error:  # noqa: BLE001 - a bug in one artifact must not stop the others; it is reported as one
            result = Result.ended(change.artifact, change.action, Status.FAILED, [_bug(error)])
        if change.action is not Action.NONE or result.status is not Status.NONE:
            self.worker.ports.recorder.record(Finished(result))
        self.worker.places.ended(change.artifact)
        if (share := self.shares.get(change.artifact)) is not None:
            self.runners.done(share)
        return result

    async def _act(self, change: Change) -> Result:
        if change.action is Action.HOLD:  # of what a saved plan alone speaks of, nothing else is known
            return Result.ended(change.artifact, change.action, Status.HELD, change.holds)
        wanted = self.work.resolution.desired.wanted[change.artifact]
        identity = self.work.resolution.identities[change.artifact]
        match change.action:
            case Action.NONE if result := in_sync(change, self.work):
                return result
            case Action.RETAG if change.digest and isinstance(identity, Keyed):
                known = self.work.observed.records_behind(change.image, change.tags)
                async with self.worker.places.of(change.artifact, AT_ONCE):
                    if change.source is None or await self._may_copy(change.source, change.digest):
                        return await self.worker.converge(
                            wanted, identity, change.digest, change.left, change.source, known
                        )
                return await self._build(change, wanted)
            case Action.BUILD:
                return await self._build(change, wanted)
            case _:
                raise ValueError(f"the plan says {change.action} of {change.artifact} without what that takes")

    async def _may_copy(self, source: Repository, digest: Digest) -> bool:
        """Raises LianError if that could not be found out."""
        attester = self.worker.attester
        await attester.prepare()
        if await attester.vouches(source, digest):
            return True
        text = f"{digest.short} in {source} is not signed with the fleet's key: it is built instead of copied"
        self.worker.ports.recorder.record(Noted(text))
        return False

    async def _build(self, change: Change, wanted: Wanted) -> Result:
        name = change.artifact
        identity = self.work.resolution.identities[name]
        parents = self._known_parents(wanted) if isinstance(identity, Keyed) else {}
        for parent in sorted(parents_of_build(wanted) - {parent for parent, _ in parents}):
            result = await self._parent(name, parent)
            if result.status not in _GOOD:
                return self._behind(change, result)
            parents |= {(parent, platform): digest for platform, digest in result.platforms.items()}
            if lacking := set(wanted.artifact.platforms) - result.platforms.keys():
                raise LianError(_unseen(parent, lacking))
        if isinstance(identity, Keyed):
            return await self.worker.build(wanted, identity, parents, change.left, replaces=change.replaces)
        return await self._unless_there(change, wanted, parents)

    async def _unless_there(
        self, change: Change, wanted: Wanted, parents: Mapping[tuple[ArtifactName, Platform], Digest]
    ) -> Result:
        """Early cutoff: the parents are there now; what they turned out to be may have been built on before."""
        registry, settled = self.worker.ports.registry, self.worker.identify(wanted, parents)
        content = (await known_heads(registry, change.image, [settled.tag()]))[settled.tag()]
        tagged = isinstance(content, Found)
        adopted = self.work.observed.built_as(change.image, change.tags, settled.key)
        digest = content.digest if isinstance(content, Found) else adopted
        replaces = change.replaces
        if digest is not None and not replaces:
            async with self.worker.places.of(change.artifact, AT_ONCE):
                if await is_whole(registry, self.work.resolution, change.image, digest, tagged=tagged):
                    return await self.worker.converge(wanted, settled, digest, change.left)
            replaces = tagged  # what is under the content tag must give way
        self.tagger.unless_stuck(wanted.artifact, change.left)
        return await self.worker.build(wanted, settled, parents, change.left, replaces=replaces)

    def _known_parents(self, wanted: Wanted) -> dict[tuple[ArtifactName, Platform], Digest]:
        """The outputs that an identity which is known stands on. They are there, whatever becomes of their tags."""
        parents = parents_in_use(wanted.artifact, wanted.materials) if wanted.materials else ()
        found: dict[tuple[ArtifactName, Platform], Digest] = {}
        for parent in parents:
            outputs = self.work.resolution.outputs(parent, wanted.artifact.platforms, self.work.observed)
            if isinstance(outputs, dict):
                found |= {(parent, platform): digest for platform, digest in outputs.items()}
        return found

    async def _parent(self, child: ArtifactName, parent: ArtifactName) -> Result:
        task = self.tasks[parent]
        if not task.done():
            self.worker.ports.recorder.record(Waiting(child, str(parent)))
        return await asyncio.shield(task)

    def _behind(self, change: Change, parent: Result) -> Result:
        """What stands on something that was not built: held if that is, so that a pass in which nothing failed does
        not end as if something had."""
        held = parent.status is Status.HELD
        problem = Problem(
            "parent-held" if held else "parent-failed",
            f"not built, because {parent.artifact} was not",
            artifact=str(change.artifact),
            hint=f"see what became of {parent.artifact}: this one follows by itself once it is built",
            next=Next.RETRY,
        )
        return Result(change.artifact, change.action, Status.HELD if held else Status.SKIPPED, problem=problem)


def _unseen(parent: ArtifactName, platforms: Collection[Platform]) -> Problem:
    """A parent that is there, as its own result says, and nobody could look at what it is on each platform."""
    told = ", ".join(sorted(map(str, platforms)))
    hint = f"see what `lian why {parent}` says; the next pass looks again"
    return Problem("parent-unseen", f"what {parent} is on {told} could not be looked up", hint=hint, next=Next.RETRY)


def _bug(error: Exception) -> Problem:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return Problem(
        "internal-error",
        f"lian itself failed: {type(error).__name__}: {error}",
        cause=f"in {where.name}, line {where.lineno}",
        hint="run again with --debug and report what it prints",
        next=Next.BUG,
    )
