"""The plan as a comment on a pull request: what is wrong first, blocks that forges colour as a difference, long ones
folded, and in all no longer than a comment may be. What others have written (names, paths) stands in blocks alone,
where it means nothing."""

from __future__ import annotations

import io
import re
from typing import TYPE_CHECKING

from reconciler.cli.views import forecast
from reconciler.cli.views import plan as text
from reconciler.cli.views import problems as problem_view
from reconciler.cli.views.text import Writer, printable
from reconciler.model.wording import count, some

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from reconciler.model.plan import Change, Plan
    from reconciler.model.problem import Problem

LIMIT = 60_000
"""Characters. GitHub takes 65,536 in a comment, the other forges more."""
MARKER = "<!-- lian diff -->"
"""The first line, by which a later run finds the comment to replace."""
_BLOCK = 16_000
"""Of one block; three of them, and what stands around them, stay below the limit."""
_TICKS = re.compile("`+")
_SHORT = 7
_CODES_SHOWN = 5


def document(plan: Plan, notes: Sequence[str] = ()) -> str:
    """The whole comment, ending in a newline."""
    wrong = [problem_view.number(plan.problems)] if plan.problems else []
    told = [MARKER, f"### lian: {', '.join([*wrong, text.summary(plan)])}", _about(plan), *_held(plan)]
    if plan.problems:
        told.append(_block(_problems(plan.problems)))
    if plan.changes or plan.orphans:
        told.append(_block(_shown(plan, detailed=False)))
    if len(plan.changes) > 1:
        told.append(_folded("every artifact", _shown(plan, detailed=True)))
    if notes:
        told.append(_folded(count(len(notes), "note"), "\n".join(map(printable, notes))))
    return "\n\n".join(told) + "\n"


def refusal(problems: Iterable[Problem]) -> str:
    """The comment where there is no plan."""
    return "\n\n".join([MARKER, "### lian: no plan", _block(_problems(problems))]) + "\n"


def _about(plan: Plan) -> str:
    if plan.merge is None:
        return f"Revision {_code(plan.revision[:_SHORT])}"
    merge = plan.merge
    head = f"{_code(merge.head_called)} ({merge.head[:_SHORT]})"
    return f"Merging {head} into {_code(merge.base_called)} ({merge.base[:_SHORT]})"


def _held(plan: Plan) -> Iterator[str]:
    """How many artifacts are held and why, those apart that a merge only proposes."""
    if plan.held:
        yield f"{_are_held(plan.held)}: {_codes(plan.held)}"
    if plan.proposed:
        yield (
            f"{_are_held(plan.proposed)} until this is merged, which is no failure: {_codes(plan.proposed)}. "
            "Look with care at what is built from and pushed to then: nothing was asked yet"
        )


def _are_held(changes: Sequence[Change]) -> str:
    return f"{count(len(changes), 'artifact')} {'is' if len(changes) == 1 else 'are'} held"


def _codes(changes: Iterable[Change]) -> str:
    codes = {problem.code for change in changes for problem in change.holds}
    return some([_code(code) for code in sorted(codes)], _CODES_SHOWN)


def _shown(plan: Plan, *, detailed: bool) -> str:
    stream = io.StringIO()
    writer = Writer(stream)
    text.changes(plan, writer, detailed=detailed)
    if plan.forecast and not detailed:
        writer.line()
        forecast.of_pass(plan.forecast, writer)
    return stream.getvalue()


def _problems(problems: Iterable[Problem]) -> str:
    stream = io.StringIO()
    problem_view.show(problems, stream)
    return stream.getvalue()


def _code(written: str) -> str:
    """As a code span, whatever it holds (CommonMark 0.31, section 6.1)."""
    written = printable(written)
    fence = "`" * (_longest(written) + 1)
    pad = " " if written.startswith("`") or written.endswith("`") else ""
    return f"{fence}{pad}{written}{pad}{fence}"


def _block(content: str) -> str:
    """As a fenced block, whatever it holds; what is too long ends with how many lines are left out."""
    lines = content.rstrip("\n").split("\n")
    kept: list[str] = []
    taken = 0
    for line in lines:
        taken += len(line) + 1
        if taken > _BLOCK:
            break
        kept.append(line)
    left = len(lines) - len(kept)
    kept += [f"… and {left:,} more lines: lian diff shows them"] if left else []
    fence = "`" * max(3, _longest(content) + 1)
    return "\n".join([f"{fence}diff", *kept, fence])


def _folded(summary: str, content: str) -> str:
    return f"<details><summary>{summary}</summary>\n\n{_block(content)}\n\n</details>"


def _longest(written: str) -> int:
    return max((len(run) for run in _TICKS.findall(written)), default=0)
