"""Seeing that refs have moved, wherever the work tree lies."""

from __future__ import annotations

import asyncio
import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.desired.git import open_local
from reconciler.desired.refs import RefsTrigger
from tests.desired.repos import Repo

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "repo")
    made.commit({"a": b"1"})
    return made


def git(folder: Path, *words: str) -> None:
    subprocess.run(
        ["git", "-c", "user.name=T", "-c", "user.email=t@example.org", "-C", folder, *words],
        check=True,
        capture_output=True,
    )


def fires(folder: Path, move: Callable[[], object]) -> bool:
    """Whether it is seen that something moves in the work tree at `folder`: over and over, for who watches may not be
    ready the first time."""

    async def seen() -> bool:
        waiting = asyncio.create_task(RefsTrigger.of(open_local(folder)).wait())
        for _ in range(40):
            await asyncio.to_thread(move)
            done, _ = await asyncio.wait({waiting}, timeout=0.25)
            if done:
                return True
        waiting.cancel()
        await asyncio.wait({waiting})
        return False

    return asyncio.run(seen())


def test_a_commit_is_seen(repo: Repo) -> None:
    assert fires(repo.path, lambda: repo.commit({"a": b"2"}))


def test_a_commit_in_a_linked_work_tree_is_seen(repo: Repo, tmp_path: Path) -> None:
    """Its refs lie where those of all of them lie."""
    linked = tmp_path / "linked"
    git(repo.path, "worktree", "add", "-q", "-b", "topic", str(linked))
    assert fires(linked, lambda: git(linked, "commit", "-q", "--allow-empty", "-m", "x"))


def test_another_branch_in_a_linked_work_tree_is_seen(repo: Repo, tmp_path: Path) -> None:
    linked = tmp_path / "linked"
    git(repo.path, "worktree", "add", "-q", "-b", "topic", str(linked))
    git(repo.path, "branch", "other")
    names = iter(("other", "topic") * 20)
    assert fires(linked, lambda: git(linked, "checkout", "-q", next(names)))
