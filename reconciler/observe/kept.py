"""What the desired repo's other branches and tags ask for: it is kept, though this pass is not about it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import chain
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.wording import count, short

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.desired import Desired
    from reconciler.ports.revisions import Revisions
    from reconciler.ports.source import Source

MOVED = "revisions-moved"
"""Code of the problem."""
TOLD = 3
"""Problems of one revision that are named; they have one remedy."""
_SETTINGS = "lian.ncl"
_NONE = "no-directives"


@dataclass(frozen=True, slots=True)
class Kept:
    """Commits other than the one this is about: the refs that name each, and what they ask for as far as it could be
    read. `problems` are of what could not."""

    refs: Mapping[str, str]
    """Full name -> commit."""
    desired: tuple[Desired, ...] = ()
    problems: tuple[Problem, ...] = ()

    def names(self, revision: str) -> tuple[str, ...]:
        """The refs that name a commit."""
        return tuple(ref for ref, commit in self.refs.items() if commit == revision)


async def load_kept(revisions: Revisions, globs: Sequence[str], but: str) -> Kept:
    """What the refs that match ask for, beside the commit `but`. A commit that has nothing to do with lian asks for
    nothing. Raises LianError if the refs cannot be read."""
    kept = Kept(await _matching(revisions, globs))
    found: list[Desired] = []
    problems: list[Problem] = []
    for commit in sorted(set(kept.refs.values()) - {but}):
        source = revisions.at(commit)
        try:
            desired = await source.load()
            if not await _is_not_lians(source, desired):
                found.append(desired)
        except LianError as error:
            problems += unread(kept.names(commit), commit, error.problems)
    return replace(kept, desired=tuple(found), problems=tuple(problems))


async def unmoved(source: Source, revisions: Revisions, revision: str, refs: Mapping[str, str]) -> None:
    """Raises LianError `revisions-moved` if the desired repo is no longer at this commit, with these kept refs: a plan
    may have been thought over for an hour, and what someone has pushed meanwhile is wanted too."""
    head = await source.load()
    now = await _matching(revisions, head.fleet.policy.prune.revisions)
    if head.revision != revision or dict(now) != dict(refs):
        message = "the desired repo has moved since this was planned, so nothing was removed"
        raise LianError(Problem(MOVED, message, hint="run again", next=Next.RETRY))


async def _matching(revisions: Revisions, globs: Sequence[str]) -> Mapping[str, str]:
    return await revisions.matching(globs) if globs else {}


async def _is_not_lians(source: Source, desired: Desired) -> bool:
    """True for a commit without directives and without lian's settings, such as one from before lian was adopted."""
    if desired.wanted or [problem.code for problem in desired.problems] != [_NONE]:
        return False
    try:
        await source.blob(_SETTINGS)
    except LianError as error:
        if error.problems[0].code != "path-missing":
            raise
        return True
    return False


def unknown_wishes(kept: Kept, desired: Iterable[Desired]) -> tuple[Problem, ...]:
    """Why what these commits and the kept ones want is not known completely."""
    unknown = [unread(kept.names(one.revision), one.revision, one.problems) for one in desired]
    return tuple(chain(kept.problems, *unknown))


def unread(refs: Sequence[str], revision: str, problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Why a revision's wishes are not all known, and how to go on without them."""
    where = f"{refs[0]} ({short(revision)})" if refs else f"the commit {short(revision)}"
    distinct = list(dict.fromkeys(problems))
    hint = "mend it there, delete that ref, or leave it out with policy.prune.revisions in lian.ncl" if refs else None
    told = [
        Problem(
            "revision-unread",
            f"what {where} wants is not known completely",
            artifact=problem.artifact,
            cause=": ".join(text for text in (problem.place, problem.message, problem.cause) if text),
            hint=hint or problem.hint,
            next=problem.next,
        )
        for problem in distinct[:TOLD]
    ]
    if more := len(distinct) - len(told):
        told.append(
            Problem("revision-unread", f"{where} has {count(more, 'more problem')}", hint=hint or "see lian validate")
        )
    return tuple(told)
