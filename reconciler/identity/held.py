"""What holds an artifact before anything can be decided of it: bases and parents that cannot be had, and why."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from reconciler.model.artifact import Place
from reconciler.model.observed import Absent, Observed, Unknown
from reconciler.model.problem import Problem
from reconciler.model.rule import Written
from reconciler.model.wording import nearest

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from reconciler.model.desired import Wanted
    from reconciler.model.name import ArtifactName
    from reconciler.model.reference import Reference


@dataclass(frozen=True, slots=True)
class Held:
    """Nothing can be decided, and why."""

    problems: tuple[Problem, ...]
    because_of: ArtifactName | None = None
    """The parent whose hold this one inherits."""
    written: tuple[Written, ...] = ()
    """Where the images stand that the problems are of, each as its problem; empty for others."""


def placed(held: Held, places: Mapping[Written, Place]) -> Held:
    """The same with lines and columns, where a place of something written tells them."""
    told = zip(held.problems, held.written, strict=True)
    problems = (p.at(places[w]) if w.image is not None and places[w].line else p for p, w in told)
    return replace(held, problems=tuple(problems))


def unreadable(bases: Iterable[Reference], observed: Observed, wanted: Wanted) -> list[tuple[Problem, Written]]:
    """Problems of base images that no digest could be had for, and where those are named."""
    problems = []
    for reference in sorted(bases):
        head = observed.heads[reference]
        if isinstance(head, Unknown):
            problems.append(_named_in(wanted, reference, unread_base(reference, head.problem)))
        elif isinstance(head, Absent):
            problems.append(_named_in(wanted, reference, missing_base(reference)))
    return problems


def _named_in(wanted: Wanted, reference: Reference, problem: Problem) -> tuple[Problem, Written]:
    """The problem, said of the file that names the image: the Dockerfile, else the directive's named context. In which
    line of the Dockerfile that is, only the source can tell."""
    artifact, materials = wanted.artifact, wanted.materials
    said = problem.of(str(artifact.name))
    used = materials.needs.values() if materials else ()
    known = ((name, needs) for needs in used for name, image in needs.taken_in.items() if image == reference)
    if materials and (found := next(known, None)):
        (name, needs), file = found, materials.dockerfile_path
        if (stage := _meant(name, needs.stages)) is not None:
            said = replace(said, hint=f"did you mean the stage {stage}? If not, {said.hint}")
        return said.at(Place(file)), Written(artifact.name, file, image=name)
    return said.at(artifact.place), Written(artifact.name, artifact.place.file)


def _meant(name: str, stages: Collection[str]) -> str | None:
    """The stage that an image's name may be, mistyped: only a word without registry, path and tag can be."""
    return None if {"/", ":"} & set(name) or name in stages else nearest(name, stages)


def unread_base(reference: Reference, problem: Problem) -> Problem:
    """A base image that its registry tells nothing of; the code is that of the registry's `problem`."""
    causes = (problem.place, problem.message, problem.cause)
    return Problem(
        problem.code,
        f"the base image {reference} of this artifact could not be looked up",
        cause=": ".join(text for text in causes if text),
        hint=f"check the image's name; if it is right, {problem.hint}" if problem.hint else "check the image's name",
        next=problem.next,
    )


def missing_base(reference: Reference) -> Problem:
    """A base image that its registry certainly does not hold."""
    return Problem(
        "base-missing",
        f"the base image {reference} is not in its registry",
        hint="check the name in the Dockerfile; an image of this fleet is named by a context: "
        'contexts.NAME = { artifact = "…" }',
    )


def broken(where: str, part: str) -> Problem:
    """An image, as people know it, that lacks a part, where the fleet wants that held."""
    return Problem(
        "image-broken",
        f"a part of {where} is not in the registry: {part}",
        hint="push the missing part again, or let lian rebuild the image with policy.drift.broken = 'Heal in lian.ncl",
    )
