"""What nobody can say because a part of a commit's directives cannot be read: that is held, and never taken for what is
not wanted (ADR 067)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.desired import Wanted
from reconciler.model.problem import Next, Problem
from reconciler.model.wording import some
from reconciler.plan.touched import dropped

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired, Unclear
    from reconciler.model.name import ArtifactName

_UNREAD, _PARENT_UNREAD = "directive-unread", "parent-unread"


def unread_parents(desired: Desired) -> Iterator[tuple[ArtifactName, Problem]]:
    """What stands on artifacts that are declared nowhere, as far as directives can be read: each with what is wrong
    with such a parent, or with the files that may declare it. Linear in artifacts and edges."""
    unclear = desired.unclear
    files = _of_files(unclear) if unclear.files else None
    for name in sorted(desired.wanted) if files or unclear.artifacts else ():
        missing = [parent for parent in desired.wanted[name].artifact.parents if parent not in desired.wanted]
        for problem in dict.fromkeys(unclear.artifacts.get(parent, files) for parent in missing):
            if problem is not None:
                yield name, problem if problem.artifact else problem.of(str(name))


def held_for(artifact: Artifact, problem: Problem, desired: Desired) -> ArtifactName | None:
    """The parent that `unread_parents` holds an artifact for; None where the problem is another."""
    if problem.code == _PARENT_UNREAD:
        return next((parent for parent in artifact.parents if _is_unread(desired, parent)), None)
    if problem.artifact == str(artifact.name):
        return None
    return next((parent for parent in artifact.parents if str(parent) == problem.artifact), None)


def _is_unread(desired: Desired, name: ArtifactName) -> bool:
    wanted = desired.wanted.get(name)
    return wanted is None or any(problem.code == _UNREAD for problem in wanted.holds)


def with_unclear(before: Desired, after: Desired) -> Desired:
    """`after` with what only `before` is sure to ask for: held, as `before` has it. Linear in artifacts."""
    unclear = after.unclear
    unsure = [name for name in dropped(before, after) if unclear.may_declare(name)]
    if not unsure:
        return after
    own = {file: _of_artifacts(unclear, [file]) for file in unclear.files}
    moved = _of_artifacts(unclear, tuple(unclear.files)) if unclear.files else None
    held: dict[ArtifactName, Wanted] = {}
    for name in unsure:
        artifact = replace(before.wanted[name].artifact, contexts={})
        if (problem := unclear.artifacts.get(name) or own.get(artifact.place.file) or moved) is not None:
            held[name] = Wanted(artifact, None).held(problem)
    return replace(after, wanted={**after.wanted, **held})


def unread(unclear: Unclear, name: ArtifactName) -> Problem | None:
    """Why nobody knows whether an artifact is still wanted that nothing which can be read declares; None if that is
    known."""
    if name in unclear.artifacts:
        return unclear.artifacts[name]
    return _of_artifacts(unclear, tuple(unclear.files)) if unclear.files else None


def _of_files(unclear: Unclear) -> Problem:
    """Of what stands on artifacts that they may declare."""
    files = tuple(unclear.files)
    message = f"what this stands on is in no directive that can be read, and {some(files)} cannot be"
    return _placed(Problem(_PARENT_UNREAD, message, next=Next.HOLD), unclear, files[0])


def _of_artifacts(unclear: Unclear, files: Sequence[str]) -> Problem:
    """Of what they have declared before, or may have taken over."""
    message = f"{some(files)} cannot be read, so whether this is still wanted, and as what, is not known"
    return _placed(Problem(_UNREAD, message, next=Next.HOLD), unclear, files[0])


def _placed(problem: Problem, unclear: Unclear, file: str) -> Problem:
    """Said of where the file is wrong, which may be in what it imports."""
    wrong = unclear.files[file]
    return replace(problem, file=wrong.file or file, line=wrong.line, column=wrong.column, hint=f"mend {file}")
