"""The plan as a comment on a pull request: what is wrong first, blocks that forges colour as a difference, long ones
folded, and in all no longer than a comment may be. What others have written (names, paths) stands in blocks alone,
where it means nothing."""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate
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
_AROUND = 200
"""Of them, what stands around a block, and the line that counts what is left out of it."""
_LINE, _SPAN = 1_000, 200
"""The most of one line of a block, and of a code span."""
_TICKS = re.compile("`+")
_FEW = 8
"""Backticks in a row that are written out: the fences around them have one more."""
_SHORT = 7
_CODES_SHOWN = 5


def document(plan: Plan, notes: Sequence[str] = ()) -> str:
    """The whole comment, ending in a newline."""
    wrong = [problem_view.number(plan.problems)] if plan.problems else []
    head = [MARKER, f"### lian: {', '.join([*wrong, text.summary(plan)])}", _about(plan), *_held(plan)]
    blocks = []
    if plan.problems:
        blocks.append(_Block(_problems(plan.problems)))
    if shown := _shown(plan, detailed=False).strip("\n"):  # nothing where all is in sync
        blocks.append(_Block(shown))
    if len(plan.changes) > 1:
        blocks.append(_Block(_shown(plan, detailed=True), "every artifact"))
    if notes:
        blocks.append(_Block("\n".join(map(printable, notes)), count(len(notes), "note")))
    return _fitted(head, blocks)


def refusal(problems: Iterable[Problem]) -> str:
    """The comment where there is no plan."""
    return _fitted([MARKER, "### lian: no plan"], [_Block(_problems(problems))])


@dataclass(frozen=True, slots=True)
class _Block:
    """What stands in a block, and what it is folded behind."""

    content: str
    summary: str | None = None

    def within(self, room: int) -> str:
        """At most so many characters of it."""
        block = _fenced(self.content, room - _AROUND)
        return f"<details><summary>{self.summary}</summary>\n\n{block}\n\n</details>" if self.summary else block


def _fitted(head: Sequence[str], blocks: Sequence[_Block]) -> str:
    """One after another, within the limit: what a block does not need of its share is left for those behind it."""
    told = "\n\n".join(head) + "\n"
    for number, block in enumerate(blocks):
        told += "\n" + block.within((LIMIT - len(told)) // (len(blocks) - number)) + "\n"
    return told


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
    written = _cut(_few_ticks(printable(written)), _SPAN)
    fence = "`" * (_longest(written) + 1)
    pad = " " if written.startswith("`") or written.endswith("`") else ""
    return f"{fence}{pad}{written}{pad}{fence}"


def _fenced(content: str, room: int) -> str:
    """As a fenced block, whatever it holds; of what takes more than `room` is told how many lines are left out."""
    lines = [_cut(_few_ticks(line), _LINE) for line in content.rstrip("\n").split("\n")]
    taken = list(accumulate(len(line) + 1 for line in lines))
    kept = lines[: bisect_right(taken, room)]
    left = len(lines) - len(kept)
    fence = "`" * max(3, max(map(_longest, kept), default=0) + 1)
    kept += [f"… and {left:,} more lines: lian diff shows them"] if left else []
    return "\n".join([f"{fence}diff", *kept, fence])


def _few_ticks(written: str) -> str:
    """With long runs of backticks told by their length: a fence has to be longer than what it stands around."""
    return _TICKS.sub(
        lambda run: run[0] if len(run[0]) <= _FEW else f"{run[0][:_FEW]}… {len(run[0]):,} backticks", written
    )


def _cut(line: str, length: int) -> str:
    left = len(line) - length
    return f"{line[:length]}… {left:,} more characters" if left > 0 else line


def _longest(written: str) -> int:
    return max((len(run) for run in _TICKS.findall(written)), default=0)
