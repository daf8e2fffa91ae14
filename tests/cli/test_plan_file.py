"""The file that a plan is written to: whole or not at all, and what it is put in the place of."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest

from reconciler.cli import diff, plan_file, reconcile, watch
from reconciler.cli.arguments import parse
from reconciler.model.plan import Plan
from reconciler.model.problem import LianError
from reconciler.model.saved_plan import SavedPlan
from tests.e2e.bench import Bench

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

PLAN = SavedPlan("acme", Plan("0" * 40).to_json(), {})


@pytest.mark.parametrize(
    "words", ["--only a", "--except a", "--dependants", "--changed-since a", "--force a", "--max-builds 0"]
)
def test_what_chooses_is_refused_where_the_plan_does(words: str) -> None:
    with pytest.raises(LianError, match="usage") as refused:
        reconcile.run(parse(["reconcile", "--once", "--plan", "plan.json", *words.split()], {}))
    flag = words.partition(" ")[0]
    assert refused.value.problems[0].message == f"{flag} chooses what to do, and with --plan the plan says that"


@pytest.mark.parametrize(
    ("verb", "line"), [(reconcile, "reconcile --once --plan -"), (diff, "diff --out -"), (diff, "diff --json --out -")]
)
def test_a_stream_is_no_file(verb: ModuleType, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LianError, match=r"usage: --(plan|out) takes a file") as refused:
        verb.run(parse([*line.split(), "--repo", str(tmp_path)], {}))
    assert "name a file" in (refused.value.problems[0].hint or "")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("line", ["diff --dependants", "reconcile --once --dependants", "watch --dependants"])
def test_dependants_of_nothing_are_refused(line: str, tmp_path: Path) -> None:
    verb = {"diff": diff, "reconcile": reconcile, "watch": watch}[line.partition(" ")[0]]
    Bench.new(tmp_path)
    with pytest.raises(LianError, match="usage: --dependants") as refused:
        verb.run(parse([*line.split(), "--repo", str(tmp_path / "repo"), "--cache", str(tmp_path / "cache")], {}))
    assert refused.value.problems[0].hint == "add --only GLOB"


def test_two_revisions_to_merge_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LianError, match="usage: --rev and --head both say what would be merged") as refused:
        diff.run(parse(["diff", "--base", "main", "--rev", "x", "--head", "y", "--repo", "/nowhere"], {}))
    assert refused.value.problems[0].hint == "leave one of them out"
    monkeypatch.setenv("LIAN_REV", "x")
    with pytest.raises(LianError, match="repo"):  # what is set for all commands is beaten
        diff.run(parse(["diff", "--base", "main", "--head", "y", "--repo", "/nowhere"], {"LIAN_REV": "x"}))


def test_it_is_written_whole_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "plan.json"
    path.write_text("before")
    path.chmod(0o640)
    plan_file.write(str(path), PLAN)
    assert plan_file.read(str(path)) == PLAN
    assert path.stat().st_mode & 0o777 == 0o640
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("there", [True, False])
def test_a_link_stays_one(tmp_path: Path, there: bool) -> None:
    (tmp_path / "kept").mkdir()
    target, link = tmp_path / "kept" / "real.json", tmp_path / "plan.json"
    if there:
        target.write_text("before")
    link.symlink_to("kept/real.json")
    plan_file.write(str(link), PLAN)
    assert link.is_symlink()
    assert plan_file.read(str(target)) == PLAN


def test_what_is_no_file_is_written_to(tmp_path: Path) -> None:
    """As /dev/null: put in its place, a plain file would be there for all others."""
    pipe, heard = tmp_path / "pipe", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: heard.append(pipe.read_text()), daemon=True)
    reader.start()
    plan_file.write(str(pipe), PLAN)
    assert pipe.is_fifo()
    reader.join(30)
    (tmp_path / "copy").write_text(heard[0])
    assert plan_file.read(str(tmp_path / "copy")) == PLAN


def test_what_a_dead_process_left_is_not_written_through(tmp_path: Path) -> None:
    precious, path = tmp_path / "precious", tmp_path / "plan.json"
    precious.write_text("mine")
    (tmp_path / f".plan.json.{os.getpid()}").symlink_to(precious)
    plan_file.write(str(path), PLAN)
    assert precious.read_text() == "mine"
    assert not path.is_symlink()


@pytest.mark.parametrize("name", ["folder", "loop", "no/such"])
def test_one_that_cannot_be_written_leaves_all_as_it_was(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(LianError, match="plan-unwritable"):
        plan_file.write(str(tmp_path / name), PLAN)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "loop"]
