"""A pass that is only planned, about what two revisions ask for differently (ADR 067)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.finishing import all_of
from reconciler.identity.ancestry import images_of
from reconciler.model.observed import Found, Questions
from reconciler.model.plan import Action, Change, Merge, Reason, ReasonCode
from reconciler.model.wording import count, some
from reconciler.observe.ask import ask
from reconciler.plan.files import built_from, changed_files, folders_behind, naming
from reconciler.plan.graph import checked
from reconciler.plan.limit import limited
from reconciler.plan.merging import asked, because
from reconciler.plan.origins import between
from reconciler.plan.select import narrowed, select, with_parents
from reconciler.plan.touched import dropped, touched
from reconciler.plan.unclear import with_unclear
from reconciler.reconcile import LISTINGS_AT_ONCE, judged, plan_for, with_history

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from reconciler.apply.work import Work
    from reconciler.model.desired import Desired, Wanted
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.reference import Reference
    from reconciler.plan.files import Since
    from reconciler.ports.bundle import Previewing
    from reconciler.ports.source import Source
    from reconciler.reconcile import Options


async def preview_once(ports: Previewing, options: Options) -> Work:
    """The plan of a pass after the merge, as far as the merge is why: of artifacts that it changes, and of what stands
    on them. Writes nothing anywhere. Raises LianError, also where the two cannot be merged."""
    asked_for = await ports.source.load()
    old = ports.before()
    before = checked(await old.load())
    own = touched(before, checked(asked_for))
    after = with_unclear(before, await judged(asked_for, ports.source))
    told, gone = own | (after.wanted.keys() - asked_for.wanted.keys()), dropped(before, after)
    if not options.selection.is_whole:
        told, gone = told & (select(after, options.selection) or frozenset()), frozenset()
    work = await plan_for(ports, narrowed(after, with_parents(after, told)), replace(options, max_builds=None))
    images = await _bases(ports, work, before, told)
    sides = _Sides(old, before, ports.source, after, images, asyncio.Semaphore(LISTINGS_AT_ONCE))
    shown = replace(work.plan, changes=tuple(change for change in work.plan.changes if change.artifact in told))
    changes = limited(shown, after, options.max_builds).changes  # what drifts already is not the merge's
    explained = await all_of(map(sides.explained, changes))
    plan = replace(
        work.plan,
        changes=await with_history(ports, explained, _of_the_base(work, before)),
        orphans=tuple(_left_over(before, after, sorted(gone))),
        merge=Merge(before.revision, after.revision, ports.base, ports.head),
    )
    return replace(work, plan=plan, notes=(*work.notes, *_amiss_already(work, told, ports.base)))


@dataclass(frozen=True, slots=True)
class _Sides:
    """Both revisions, where each is read."""

    old: Source
    before: Desired
    new: Source
    after: Desired
    images: Mapping[Reference, Digest]
    """What the tags of base images point at, as far as it is known."""
    gate: asyncio.Semaphore

    async def explained(self, change: Change) -> Change:
        """With what the merge is the reason of, and the files behind it."""
        was, now = self.before.wanted.get(change.artifact), self.after.wanted[change.artifact]
        if change.action is Action.NONE or was is None or was.materials is None or now.materials is None:
            return change
        reasons = between(asked(was, now, self.after.fleet.builder, self.images), was.materials, now.materials)
        files = {}
        for reason, (one, other) in folders_behind(reasons, was.materials, now.materials).items():
            async with self.gate:
                listings = await self.old.listing(one), await self.new.listing(other)
            files[reason] = changed_files(*listings, other.path)
        return because(change, naming(reasons, files, now.materials.dockerfile_path))


async def _bases(
    ports: Previewing, work: Work, before: Desired, told: Collection[ArtifactName]
) -> Mapping[Reference, Digest]:
    """The digests of base images: of those that the plan has looked at, and of those that only the base names."""
    known = work.resolution.images
    sides = ((before.wanted.get(name), work.resolution.desired.wanted[name]) for name in told)
    both = ((was, now) for was, now in sides if was is not None and was.materials and now.materials)
    gone = {ref for was, now in both for ref in _images(was) - _images(now)} - known.keys()
    if not gone:
        return known
    heads = (await ask(Questions(heads=frozenset(gone)), ports.registry)).heads
    return {**known, **{ref: head.digest for ref, head in heads.items() if isinstance(head, Found)}}


def _images(wanted: Wanted) -> set[Reference]:
    return images_of(wanted.artifact, wanted.materials) if wanted.materials else set()


def _of_the_base(work: Work, before: Desired) -> Since:
    """What the merge is the reason of differs from its base; the rest is told as in any pass."""
    built = built_from(work.resolution, work.observed)
    own = {change.artifact: set(change.reasons) for change in work.plan.changes}
    return lambda change, reason: built(change, reason) if reason in own[change.artifact] else before.revision


def _left_over(before: Desired, after: Desired, gone: Iterable[ArtifactName]) -> Iterator[Change]:
    """What nobody wants once it is merged. Tags that another artifact wants then, such as a renamed one, stay."""
    wanted = {(one.artifact.image, tag) for one in after.wanted.values() for tag in one.artifact.tags}
    for name in gone:
        artifact = before.wanted[name].artifact
        if tags := tuple(tag for tag in artifact.tags if (artifact.image, tag) not in wanted):
            reason = Reason(ReasonCode.ORPHANED, subject=str(name))
            yield Change(name, artifact.image, tags, artifact.platforms, Action.NONE, (reason,))


def _amiss_already(work: Work, told: frozenset[ArtifactName], base: str) -> Iterator[str]:
    """What the changed ones stand on, and is not in sync although the merge leaves it alone: one sentence for what
    drifts, one for what is held."""
    others = [c for c in work.plan.changes if c.artifact not in told and c.action is not Action.NONE]
    drifting = [str(change.artifact) for change in others if change.action is not Action.HOLD]
    held = [str(change.artifact) for change in others if change.action is Action.HOLD]
    if drifting:
        drift, come = ("drifts", "comes") if len(drifting) == 1 else ("drift", "come")
        what = f"{count(len(drifting), 'artifact')} that this stands on"
        yield f"{what} {drift} at {base} already, and {come} first: {some(drifting)}"
    if held:
        what = f"{count(len(held), 'artifact')} that this stands on"
        yield f"{what} {'is' if len(held) == 1 else 'are'} held at {base} already: {some(held)}"
