"""What lian once put into the registry and no commit wants any more, as changes of a plan.

Only tags are judged here, by the applied documents: what becomes of images that nothing names any more is for
`lian prune` to say.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.applied import Applied
from reconciler.model.fleet import UNNAMED
from reconciler.model.name import ArtifactName
from reconciler.model.observed import Found
from reconciler.model.plan import Action, Change, Reason, ReasonCode
from reconciler.model.policy import Response
from reconciler.model.problem import Problem
from reconciler.model.reference import Reference
from reconciler.model.wording import short, some
from reconciler.plan.vanished import FEWEST

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator

    from reconciler.model.applied import AppliedTag
    from reconciler.model.desired import Desired
    from reconciler.model.digest import Digest
    from reconciler.model.observed import Observed
    from reconciler.model.reference import Repository


def suspects(desired: Desired, observed: Observed) -> dict[Reference, AppliedTag]:
    """The tags that this fleet's applied documents name for artifacts that the commit does not want there."""
    wanted = {(w.artifact.image, str(name)) for name, w in desired.wanted.items()}
    tags = {Reference(w.artifact.image, tag) for w in desired.wanted.values() for tag in w.artifact.tags}
    return {
        reference: entry
        for repository, applied in _documents(observed)
        for tag, entry in applied.tags.items()
        if (repository, entry.artifact) not in wanted and (reference := Reference(repository, tag)) not in tags
    }


def strangers(desired: Desired, observed: Observed) -> frozenset[str]:
    """Commits behind suspects that the desired repo does not know, if the fleet has no name of its own: another repo's,
    which has not named its fleet either (ADR 049)."""
    if desired.fleet.name != UNNAMED:
        return frozenset()
    revisions = {entry.revision for entry in suspects(desired, observed).values()} - {desired.revision}
    return frozenset(revision for revision in revisions if observed.lineage.get(revision) is None)


def left_to(strangers: Collection[str]) -> tuple[str, ...]:
    """Sentences on what was left alone because of strangers, none if there are none. An empty one is a folder."""
    told: list[str] = []
    if commits := sorted(filter(None, strangers)):
        such = some([short(commit) for commit in commits], 1)
        told.append(
            f"what stands there for commits that this repo does not know, such as {such}, is taken for another repo's; "
            'name this fleet in lian.ncl, fleet = "…", to tell fleets apart'
        )
    if "" in strangers:
        told.append("what was built there from folders that lie in no repository is left alone")
    return tuple(told)


def orphans(desired: Desired, observed: Observed, kept: Iterable[Desired]) -> tuple[Change, ...]:
    """One change for each artifact and repository, sorted. `observed` has the heads of all suspects and knows where the
    commits behind them stand; `kept` are other commits whose wishes count. What was moved by others since, what a newer
    commit put there, and what strangers did, is none of this commit's. Nothing is healed if that were most of all."""
    unknown = strangers(desired, observed)
    others = {(w.artifact.image, str(name)) for one in kept for name, w in one.wanted.items()}
    others_tags = {Reference(w.artifact.image, t) for one in kept for w in one.wanted.values() for t in w.artifact.tags}
    documents = dict(_documents(observed))
    found: dict[tuple[ArtifactName, Repository], dict[str, Digest]] = {}
    for reference, entry in suspects(desired, observed).items():
        repository, tag, name = reference.repository, reference.name, _name(entry.artifact)
        head = observed.heads.get(reference)
        if name is None or not isinstance(head, Found) or not entry.gave(head.digest) or entry.revision in unknown:
            continue
        newer = documents[repository].newer_than(desired.history, tag, observed.lineage)
        if not newer and (repository, entry.artifact) not in others and reference not in others_tags:
            found.setdefault((name, repository), {})[tag] = head.digest
    changes = tuple(_change(desired, *of, dict(sorted(tags.items()))) for of, tags in sorted(found.items()))
    if desired.fleet.name == UNNAMED:
        return _withheld(changes, _unnamed())
    return _unless_most(changes, len(desired.wanted))


def _unless_most(changes: tuple[Change, ...], wanted: int) -> tuple[Change, ...]:
    """The changes; held if a pass would take away more artifacts than the commit wants: it looks like a wrong one."""
    healed = sum(change.action is Action.PRUNE for change in changes)
    if healed < FEWEST or healed <= wanted:
        return changes
    message = f"{healed:,} artifacts would be taken away at once, and only {wanted:,} are wanted"
    hint = "see whether this is the right commit; if it is, `lian prune --allow-most` takes them away"
    return _withheld(changes, Problem("prune-most", message, cause="so many look like a wrong commit", hint=hint))


def _withheld(changes: Iterable[Change], held: Problem) -> tuple[Change, ...]:
    """The changes, but that nothing is taken away."""
    return tuple(
        replace(change.held(change.reasons, [held.of(str(change.artifact))]), left=())
        if change.action is Action.PRUNE
        else change
        for change in changes
    )


def _documents(observed: Observed) -> Iterator[tuple[Repository, Applied]]:
    for repository, applied in observed.applied.items():
        if isinstance(applied, Applied):
            yield repository, applied


def _name(text: str) -> ArtifactName | None:
    """None for what no artifact can be called."""
    try:
        return ArtifactName.parse(text)
    except ValueError:
        return None


def _change(desired: Desired, name: ArtifactName, repository: Repository, tags: dict[str, Digest]) -> Change:
    policy = desired.fleet.policy
    reasons = tuple(Reason(ReasonCode.ORPHANED, str(digest), None, subject=tag) for tag, digest in tags.items())
    digests = set(tags.values())
    action, left = Action.NONE, tuple(tags)
    if policy.drift.orphaned is Response.HOLD:
        action, left = Action.HOLD, ()
    elif policy.drift.orphaned is Response.HEAL:
        left = tuple(tag for tag in tags if policy.prune.keeps(tag))
        action = Action.NONE if len(left) == len(tags) else Action.PRUNE
    return Change(
        artifact=name,
        image=repository,
        tags=tuple(tags),
        platforms=(),
        action=action,
        reasons=reasons,
        digest=digests.pop() if len(digests) == 1 else None,
        holds=(_held(name, repository),) if action is Action.HOLD else (),
        left=left,
    )


def _unnamed() -> Problem:
    """A fork, or a repo made from the same template, knows the commits of the other as its own."""
    message = "a fleet without a name takes nothing away by itself: another repo may be as nameless, and want it"
    return Problem("fleet-unnamed", message, hint='name the fleet in lian.ncl, fleet = "…"')


def _held(name: ArtifactName, repository: Repository) -> Problem:
    hint = "want it again, run `lian prune`, or let passes do it with policy.drift.orphaned = 'Heal in lian.ncl"
    message = f"{repository} holds {name}, which no commit wants any more"
    return Problem("image-orphaned", message, hint=hint).of(str(name))
