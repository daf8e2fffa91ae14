"""One pass, on one screen: read → key → observe → plan → apply (design section 1)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.apply.artifact import Limits
from reconciler.apply.carry_out import Work, carry_out
from reconciler.identity.resolve import Resolution
from reconciler.model.event import Noted, Planned
from reconciler.model.observed import Observed, Questions
from reconciler.model.plan import Action, Reason, ReasonCode
from reconciler.model.problem import LianError
from reconciler.observe.ask import ask, read_listing
from reconciler.plan.compare import make_plan
from reconciler.plan.explain import changed_files
from reconciler.plan.graph import checked
from reconciler.plan.select import narrowed, select
from reconciler.plan.story import image_of, tell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.desired import Desired, SentFolder
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.outcome import Outcome
    from reconciler.model.plan import Change, Plan
    from reconciler.model.problem import Problem
    from reconciler.model.reference import Repository
    from reconciler.plan.story import Story
    from reconciler.ports.bundle import Ports, Reading


@dataclass(frozen=True, slots=True)
class Options:
    """What a person chose for this pass. `build_timeout` in seconds."""

    only: tuple[str, ...] = ()
    jobs: int = 2
    build_timeout: float | None = None


async def load(ports: Reading) -> Desired:
    """What the commit asks for, checked as a whole. Raises LianError if no commit can be read."""
    return checked(await ports.source.load())


async def plan_once(ports: Reading, options: Options) -> Work:
    """The plan, with what it was made from; `lian diff` stops here. Writes nothing anywhere. Raises LianError."""
    desired = await load(ports)
    selected = select(desired, options.only)
    if selected is not None:
        desired = narrowed(desired, selected)
    resolution = Resolution(desired, ports.clock())
    observed = Observed()
    while questions := resolution.still_needed(observed):  # one round for each level of the graph, each in bulk
        observed.take(await ask(questions, ports.registry))
    plan = make_plan(resolution, observed)
    changes = tuple([await _with_files(change, resolution, observed, ports) for change in plan.changes])
    return Work(replace(plan, changes=changes), resolution, observed)


async def reconcile_once(ports: Ports, options: Options) -> tuple[Plan, Outcome]:
    """One pass. What earlier passes left behind is swept first; what will not go is told in the outcome.

    Raises LianError if no plan could be made.
    """
    stuck = await _sweep(ports)
    work = await plan_once(ports, options)
    for note in work.resolution.desired.notes:
        ports.recorder.record(Noted(note))
    ports.recorder.record(Planned(work.plan))
    outcome = await carry_out(work, ports, options.jobs, Limits(options.build_timeout))
    return work.plan, replace(outcome, problems=(*outcome.problems, *stuck))


async def _sweep(ports: Ports) -> tuple[Problem, ...]:
    """Return what interrupted passes rented; the problems of what could not be returned."""
    try:
        swept = await ports.compute.sweep()
    except LianError as error:
        return error.problems
    if swept:
        ports.recorder.record(Noted(f"swept what {len(swept)} interrupted build(s) had left behind"))
    return ()


async def why_once(ports: Reading, name: ArtifactName) -> Story:
    """The story of one artifact, with its build record also when it is in sync.

    Raises LianError `selection-empty` if there is no such artifact, or if no plan could be made.
    """
    work = await plan_once(ports, Options(only=(str(name),)))
    change = next(change for change in work.plan.changes if change.artifact == name)
    image = image_of(change, work.observed)
    if image is not None and (change.image, image) not in work.observed.records:
        questions = Questions(records=frozenset({(change.image, image)}))
        work.observed.take(await ask(questions, ports.registry))
    return tell(work.plan, name, work.resolution, work.observed)


async def _with_files(change: Change, resolution: Resolution, observed: Observed, ports: Reading) -> Change:
    """Name the files behind each changed context; a listing that cannot be had leaves them unnamed."""
    if change.action is not Action.BUILD or not any(r.code in _CONTEXTS for r in change.reasons):
        return change
    reasons = [await _named(reason, change, resolution, observed, ports) for reason in change.reasons]
    return replace(change, reasons=tuple(_without_echo(reasons, change, resolution)))


_CONTEXTS = {ReasonCode.CONTEXT_CHANGED, ReasonCode.NAMED_CONTEXT_CHANGED}


async def _named(reason: Reason, change: Change, resolution: Resolution, observed: Observed, ports: Reading) -> Reason:
    layer = _listing_of(change, reason, observed)
    folder = _folder_of(change, reason, resolution)
    if layer is None or folder is None:
        return reason
    try:
        old = await read_listing(ports.registry, layer[0], layer[1])
        new = await ports.source.listing(folder)
    except LianError:
        return reason  # the digests in the reason are true without the names
    return replace(reason, files=changed_files({e.path: e for e in old}, {e.path: e for e in new}))


def _listing_of(change: Change, reason: Reason, observed: Observed) -> tuple[Repository, Digest] | None:
    for record in observed.records_behind(change.image, change.tags):
        if listing := record.listings.get(reason.old or ""):
            return change.image, listing
    return None


def _folder_of(change: Change, reason: Reason, resolution: Resolution) -> SentFolder | None:
    materials = resolution.desired.wanted[change.artifact].materials
    folders = [materials.context, *materials.folders.values()] if materials else []
    return next((folder for folder in folders if folder.root == reason.new), None)


def _without_echo(reasons: Sequence[Reason], change: Change, resolution: Resolution) -> list[Reason]:
    """A Dockerfile inside its own context shows up twice; the more telling of the two reasons is kept."""
    materials = resolution.desired.wanted[change.artifact].materials
    if materials is None or not any(r.code is ReasonCode.DOCKERFILE_CHANGED for r in reasons):
        return list(reasons)
    own = materials.dockerfile_path
    prefix = "" if materials.context.path == "." else materials.context.path + "/"
    return [r for r in reasons if not (r.code is ReasonCode.CONTEXT_CHANGED and [prefix + f for f in r.files] == [own])]
