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
    """A block for each distinct problem, in the order given, with the artifacts that have it."""
    artifacts: dict[Problem, list[str]] = {}
    for problem in problems:
        named = artifacts.setdefault(replace(problem, artifact=None), [])
        if problem.artifact and problem.artifact not in named:
            named.append(problem.artifact)
    for problem, named in artifacts.items():
        block(replace(problem, artifact=some(named, ARTIFACTS_SHOWN) or None), writer, word=word, style=style)


def number(problems: Iterable[Problem]) -> str:
    """`2 problems`: as many as have a block of their own."""
    return count(len({replace(problem, artifact=None) for problem in problems}), "problem")


def block(problem: Problem, writer: Writer, *, word: str = "error", style: str = "red", wrapped: bool = False) -> None:
    """One problem; `word` says how grave it is. Its lines are broken on a terminal, and stay whole where others look
    for them unless they are to be `wrapped`."""

    def line(lead: Sequence[Part], text: str, look: str | None = None, *, indent: int) -> None:
        if wrapped or writer.terminal:
            writer.wrapped(lead, text, look, indent=indent)
        else:
            writer.line(*lead, (text, look))

    message, *more = problem.message.rstrip().split("\n")
    line([(f"{word}[{problem.code}]", style), ": "], message, "bold", indent=2)
    for text in more:
        line(["  "], text, indent=2)
    artifact = f"({problem.artifact})" if problem.artifact else ""
    if problem.place or artifact:
        line(["  ", ("at ", "dim")], " ".join(part for part in (problem.place, artifact) if part), indent=4)
    for label, told in (("cause", problem.cause), ("try", problem.hint)):
        if told:
            first, *rest = told.rstrip().split("\n")
            line(["  ", (f"{label}: ", "dim")], first, indent=4)
            for text in rest:
                line(["    "], text, indent=4)


def _order(problem: Problem) -> tuple[str, int, int, str, str]:
    return (problem.file or "", problem.line or 0, problem.column or 0, problem.artifact or "", problem.code)
