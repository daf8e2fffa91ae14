"""Problems: code, sentence, place, cause, what to try."""

from __future__ import annotations

from dataclasses import replace
from typing import IO, TYPE_CHECKING

from reconciler.cli.views.text import Writer, as_json
from reconciler.model.wording import count, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from reconciler.cli.views.text import Part
    from reconciler.model.problem import Problem

ARTIFACTS_SHOWN = 3


def document(problems: Iterable[Problem]) -> str:
    """The JSON form (schemas/json/problems.json)."""
    return as_json({"kind": "problems", "version": 1, "problems": [p.to_json() for p in problems]})


def show(problems: Iterable[Problem], stream: IO[str]) -> None:
    """Each problem as a block, in the order of files and lines; what is said of many artifacts is said once."""
    blocks(sorted(problems, key=_order), Writer(stream))


def blocks(problems: Iterable[Problem], writer: Writer, *, word: str = "error", style: str = "red") -> None:
    """A block for each distinct problem, in the order given, with the artifacts that have it; and for each fault that
    many have in their own places, with a few of these."""
    alike: dict[Problem, list[Problem]] = {}
    for problem in problems:
        alike.setdefault(in_common(problem), []).append(problem)
    for told, those in alike.items():
        first = those[0]
        message = told.message if any(one.message != first.message for one in those) else first.message
        block(replace(first, message=message), writer, word=word, style=style, where=_where(those))


def number(problems: Iterable[Problem]) -> str:
    """`2 problems`: as many as have a block of their own."""
    return count(len({in_common(problem) for problem in problems}), "problem")


def block(
    problem: Problem,
    writer: Writer,
    *,
    word: str = "error",
    style: str = "red",
    wrapped: bool = False,
    where: str | None = None,
) -> None:
    """One problem; `word` says how grave it is, `where` in place of its own place and artifact where it is. Its lines
    are broken on a terminal, and stay whole where others look for them unless they are to be `wrapped`."""

    def line(lead: Sequence[Part], text: str, look: str | None = None, *, indent: int) -> None:
        if wrapped or writer.terminal:
            writer.wrapped(lead, text, look, indent=indent)
        else:
            writer.line(*lead, (text, look))

    message, *more = problem.message.rstrip().split("\n")
    line([(f"{word}[{problem.code}]", style), ": "], message, "bold", indent=2)
    for text in more:
        line(["  "], text, indent=2)
    if where := where or _where([problem]):
        line(["  ", ("at ", "dim")], where, indent=4)
    for label, told in (("cause", problem.cause), ("try", problem.hint)):
        if told:
            first, *rest = told.rstrip().split("\n")
            line(["  ", (f"{label}: ", "dim")], first, indent=4)
            for text in rest:
                line(["    "], text, indent=4)


def in_common(problem: Problem) -> Problem:
    """What it has in common with those that are told together with it."""
    bare = replace(problem, artifact=None)
    return bare if bare.shared is None else replace(bare, message=bare.shared, file=None, line=None, column=None)


def _where(problems: Iterable[Problem]) -> str:
    """`file:line:column (artifact)`, of one place with some of its artifacts, of several with one each."""
    places: dict[str, dict[str, None]] = {}
    for problem in problems:
        places.setdefault(problem.place, {}).update({problem.artifact: None} if problem.artifact else {})
    if len(places) == 1:
        ((place, artifacts),) = places.items()
        return _at(place, some([*artifacts], ARTIFACTS_SHOWN))
    return some([_at(place, one) for place, artifacts in places.items() for one in artifacts or [""]], ARTIFACTS_SHOWN)


def _at(place: str, artifacts: str) -> str:
    return " ".join(filter(None, (place, f"({artifacts})" if artifacts else "")))


def _order(problem: Problem) -> tuple[str, int, int, str, str]:
    return (problem.file or "", problem.line or 0, problem.column or 0, problem.artifact or "", problem.code)
