"""The scratch folder goes with the evaluation, and a folder that was left behind goes with the next."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING

import pytest

from reconciler.desired.nickel.describe import describe
from reconciler.desired.nickel.evaluate import evaluate
from reconciler.desired.nickel.scratch import Scratch
from reconciler.desired.nickel.settings import Limits
from tests.desired.nickel.commits import KINDS, THING, Commit, evaluated, schemas, settings

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.desired.nickel.settings import Kind


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of this test alone."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", None)
    return folder


def test_nothing_stays_after_an_evaluation(temporary: Path, tmp_path: Path) -> None:
    commit = Commit({"good.ncl": '{ name = "a" }', "bad.ncl": "{ name = 1 }"})
    assert evaluated(commit, settings(tmp_path))["bad.ncl"].problems
    assert list(temporary.iterdir()) == []


def test_nothing_stays_after_a_cancelled_evaluation(temporary: Path, tmp_path: Path) -> None:
    commit = Commit({"loop.ncl": "{ name = std.string.from_number (std.number.pow 10 100000000) }"})

    async def cancel() -> None:
        how = settings(tmp_path, limits=Limits(seconds=60))
        task = asyncio.create_task(evaluate(commit, commit.sources(), THING, how))
        while not list(temporary.glob("*/tree/loop.ncl")):  # noqa: ASYNC110 - a file says so, no task does
            await asyncio.sleep(0.01)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task

    asyncio.run(cancel())
    assert list(temporary.iterdir()) == []


def test_what_a_killed_lian_left_is_swept_and_what_is_in_use_stays(temporary: Path, tmp_path: Path) -> None:
    packaged = schemas(tmp_path / "packaged")
    left = temporary / "lian-nickel-left"
    left.mkdir()
    (left / "lock").touch()
    with Scratch(packaged, lambda _: b"") as first, Scratch(packaged, lambda _: b"") as second:
        assert not left.exists()
        assert sorted(temporary.iterdir()) == sorted([first.root, second.root])
    assert list(temporary.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_the_description_says_what_runs_and_what_holds_it(kind: Kind, tmp_path: Path) -> None:
    said = asyncio.run(describe(settings(tmp_path, kind=kind)))
    assert "nickel" in said
    assert ("Landlock" in said) == (sys.platform == "linux") or "checks alone" in said
