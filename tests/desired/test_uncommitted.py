"""What is not committed: git's own `status` is the oracle."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hypothesis import example, given, settings
from hypothesis import strategies as st

from reconciler.desired.git import open_local, uncommitted_paths

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

COMMITTED = {"a": "1", "b": "1", "dir/c": "1", ".gitignore": "*.log\n"}
NAMES = ("a", "b", "dir/c", "dir/d", "ä/e", "x.log", ".lian/f")


def git(folder: Path, *words: str) -> bytes:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.invalid"]
    return subprocess.run(["git", "-C", folder, *identity, *words], check=True, capture_output=True).stdout


def write(folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(exist_ok=True)
    (folder / name).unlink(missing_ok=True)
    (folder / name).write_text("2")


def stage(folder: Path, name: str) -> None:
    write(folder, name)
    git(folder, "add", "-f", name)


def intend(folder: Path, name: str) -> None:
    write(folder, name)
    git(folder, "add", "-fN", name)


def delete(folder: Path, name: str) -> None:
    (folder / name).unlink(missing_ok=True)


def remove(folder: Path, name: str) -> None:
    git(folder, "rm", "-qf", "--ignore-unmatch", name)


def run(folder: Path, name: str) -> None:
    write(folder, name)
    (folder / name).chmod(0o755)


def link(folder: Path, name: str) -> None:
    write(folder, name)
    (folder / name).unlink()
    (folder / name).symlink_to("b")


DOINGS: Mapping[str, Callable[[Path, str], None]] = {
    one.__name__: one for one in (write, stage, intend, delete, remove, run, link)
}


@settings(max_examples=30)
@given(st.booleans(), st.lists(st.tuples(st.sampled_from(sorted(DOINGS)), st.sampled_from(NAMES)), max_size=6))
@example(True, [("stage", "a"), ("write", "b"), ("remove", "dir/c"), ("write", "ä/e"), ("write", "x.log")])
def test_it_is_what_git_lists(born: bool, doings: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        git(folder, "init", "-q")
        for name, text in COMMITTED.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)
        if born:
            git(folder, "add", "-A")
            git(folder, "commit", "-qm", "first")
        for what, name in doings:
            DOINGS[what](folder, name)
        printed = git(folder, "status", "--porcelain", "-z", "--no-renames").decode().split("\0")
        listed = {line[3:] for line in printed if line}
        assert uncommitted_paths(open_local(folder)) == sorted(path for path in listed if not path.startswith(".lian/"))
