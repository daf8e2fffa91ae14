"""The views as they are seen, kept as files: a change of one is looked at before it is committed.

`LIAN_TEST_SNAPSHOTS=write` writes them anew.
"""

from __future__ import annotations

import io
import os
import re
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from reconciler.cli.views import lock, plan, plan_markdown, problems
from reconciler.cli.views import outcome as outcome_view
from reconciler.cli.views.text import cells
from tests.cli import scenes

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER = Path(__file__).parent / "snapshots"
NAMES = {"1": "bold", "2": "dim", "31": "red", "32": "green", "33": "yellow", "34": "blue", "36": "cyan"}


def _markdown(stream: IO[str]) -> None:
    stream.write(plan_markdown.document(scenes.MERGE, ("main has 2 artifacts that drift without it",)))


SCENES: dict[str, Callable[[IO[str]], None]] = {
    "plan": partial(plan.show, scenes.PLAN),
    "plan-detailed": partial(plan.show, scenes.PLAN, detailed=True),
    "plan-of-a-merge": partial(plan.show, scenes.MERGE),
    "plan-in-sync": partial(plan.show, scenes.ALL_IN_SYNC),
    "plan-markdown": _markdown,
    "outcome": lambda stream: outcome_view.show(scenes.OUTCOME, stream, ["lian", "reconcile", "--once"], scenes.PLAN),
    "problems": partial(problems.show, [one for each in scenes.OUTCOME.results if (one := each.problem)]),
    "lock": partial(lock.show, scenes.LOCKED, check=False),
}


class Terminal(io.StringIO):
    """One that says it is."""

    def isatty(self) -> bool:
        return True


def seen(scene: str, wide: int | None, monkeypatch: pytest.MonkeyPatch) -> str:
    """What is written: to a file, or with marks in place of colours to a terminal so wide."""
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr("reconciler.cli.views.text.columns", lambda stream: wide or 80)
    stream = Terminal() if wide else io.StringIO()
    SCENES[scene](stream)
    return stream.getvalue()


def marked(text: str) -> str:
    """Colours by their names."""
    return re.sub("\x1b\\[([0-9]+)m(.*?)\x1b\\[0m", lambda found: f"‹{NAMES[found[1]]} {found[2]}›", text)


@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("wide", [None, 60, 100], ids=["piped", "60", "100"])
def test_it_looks_as_it_did(scene: str, wide: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    written = marked(seen(scene, wide, monkeypatch))
    file = FOLDER / f"{scene}-{wide or 'piped'}.txt"
    if os.environ.get("LIAN_TEST_SNAPSHOTS") == "write":
        file.write_text(written)
    assert written == file.read_text()


@pytest.mark.parametrize("scene", [scene for scene in SCENES if scene != "plan-markdown"])
@pytest.mark.parametrize("wide", [60, 80, 120])
def test_nothing_is_wider_than_the_terminal(scene: str, wide: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """But for a word that cannot be broken, and a command that is to be copied."""
    written = re.sub("\x1b\\[[0-9]+m", "", seen(scene, wide, monkeypatch))
    for line in written.splitlines():
        longest = max(map(cells, line.split()), default=0)
        assert cells(line) <= max(wide, longest + 22) or line.lstrip().startswith("again: ")


def test_every_snapshot_is_of_a_scene() -> None:
    kept = {file.name.rpartition("-")[0] for file in FOLDER.iterdir()}
    assert kept == set(SCENES)
