"""Asking a person before something is taken away, and telling how that goes."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING, Protocol, TypeVar

from reconciler.cli import exits
from reconciler.cli.views import problems
from reconciler.cli.views.text import Writer
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from reconciler.cli.views.text import Part


class _End(Protocol):
    @property
    def problems(self) -> Sequence[Problem]: ...


EndT = TypeVar("EndT", bound=_End)


async def agreed(what: str) -> bool:
    """Whether a person wants `what` removed. Raises LianError where there is nobody to ask."""
    if not (sys.stdin and sys.stdin.isatty() and sys.stderr.isatty()):
        message = f"{what} would be removed, and there is nobody to ask"
        hint = "look through the plan, then give --yes; --dry-run only looks"
        raise LianError(Problem("confirmation-needed", message, hint=hint))
    sys.stderr.write(f"Remove {what}? Only 'yes' is taken for yes: ")
    sys.stderr.flush()
    if (await _line()).strip().lower() == "yes":
        return True
    print("nothing was removed", file=sys.stderr)
    return False


async def carried_out(
    carry_out: Callable[[Callable[[EndT], None]], Awaitable[tuple[EndT, ...]]],
    progress: Callable[[EndT], Sequence[Part] | None],
    *,
    json: bool,
) -> tuple[EndT, ...]:
    """What became of it; each end is told as it comes, if there is anything to tell of it. With `json` the problems are
    told here, because the document is for programs."""
    writer = Writer(sys.stderr)

    def told(end: EndT) -> None:
        if line := progress(end):
            writer.line(*line)
            writer.stream.flush()

    ends = await carry_out(told)
    if json:
        problems.show((problem for end in ends for problem in end.problems), sys.stderr)
    return ends


def held(error: LianError, *, json: bool) -> int:
    """Nothing was touched, for these reasons: they are told; the exit code."""
    if json:
        sys.stdout.write(problems.document(error.problems))
    problems.show(error.problems, sys.stderr)
    return exits.HELD


async def _line() -> str:
    """What is typed; a signal still ends the command meanwhile."""
    readable = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(sys.stdin, readable.set)
    try:
        await readable.wait()
    finally:
        loop.remove_reader(sys.stdin)
    return sys.stdin.readline()
