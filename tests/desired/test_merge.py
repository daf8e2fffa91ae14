"""What merging two revisions would give: real git, and git itself as the oracle."""

from __future__ import annotations

import subprocess
import tempfile
from typing import TYPE_CHECKING

import pygit2
import pytest

from reconciler.desired.merge import fork_point, merged
from reconciler.desired.tree import CommitTree
from reconciler.model.problem import LianError, Problem
from tests.desired.repos import Content, Repo

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

START: dict[str, Content] = {"a": "1\n2\n3\n4\n5\n", "b/c": "1\n", "b/d": "1\n"}


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    made = Repo(tmp_path / "repo")
    made.commit(START)
    made.git.branches.local.create("topic", made.git[made.git.head.target].peel(pygit2.Commit))
    return made


def objects(repo: Repo) -> set[str]:
    return {str(one) for one in repo.git.odb}


def merge(repo: Repo, base: Mapping[str, Content], head: Mapping[str, Content]) -> tuple[str, CommitTree]:
    """Commit both sides; the tree of the merge. Nothing must have been written to the repository."""
    repo.commit(base, "main")
    repo.commit(head, "topic")
    before = objects(repo)
    found = merged(repo.git, "main", "topic")
    assert objects(repo) == before
    return found.tree, CommitTree(found.objects, found.tree)


def problem(raised: pytest.ExceptionInfo[LianError]) -> Problem:
    (one,) = raised.value.problems
    return one


def test_both_sides_are_in_it(repo: Repo) -> None:
    ours = {**START, "a": "one\n2\n3\n4\n5\n", "new": "1"}
    theirs = {**START, "a": "1\n2\n3\n4\nfive\n", "b/e": "1"}
    del theirs["b/d"]
    tree_id, tree = merge(repo, ours, theirs)
    node = tree.at("a")
    assert node is not None
    assert tree.read(node.id) == b"one\n2\n3\n4\nfive\n"
    assert [tree.at(path) is not None for path in ("new", "b/c", "b/e", "b/d")] == [True, True, True, False]
    by_git = ["git", "-C", str(repo.path), "merge-tree", "--write-tree", "main", "topic"]
    assert subprocess.run(by_git, check=True, capture_output=True, text=True).stdout.strip() == tree_id


def test_what_is_ahead_is_taken_as_it_is(repo: Repo) -> None:
    head = repo.commit({**START, "a": "2"}, "topic")
    found = merged(repo.git, "main", "topic")
    assert (found.tree, found.head.commit) == (str(repo.git[head].peel(pygit2.Commit).tree_id), head)


def test_what_is_merged_already_changes_nothing(repo: Repo) -> None:
    repo.commit({**START, "a": "2"}, "main")
    found = merged(repo.git, "main", "topic")
    assert (found.tree, found.base.tree) == (
        found.base.tree,
        str(repo.git.branches["main"].peel(pygit2.Commit).tree_id),
    )


def test_a_file_that_was_renamed_on_one_side_takes_the_others_lines(repo: Repo) -> None:
    ours = {path: data for path, data in START.items() if path != "a"} | {"moved": START["a"]}
    _, tree = merge(repo, ours, {**START, "a": "1\n2\n3\n4\nfive\n"})
    node = tree.at("moved")
    assert node is not None
    assert tree.read(node.id) == b"1\n2\n3\n4\nfive\n"


def test_a_conflict_is_named(repo: Repo) -> None:
    with pytest.raises(LianError) as raised:
        merge(repo, {**START, "b/c": "ours\n"}, {**START, "b/c": "theirs\n"})
    told = problem(raised)
    assert (told.code, told.file) == ("merge-conflict", "b/c")
    assert told.message == "topic cannot be merged into main: they conflict in b/c"


def test_many_conflicts_are_not_all_named(repo: Repo) -> None:
    sides = [{f"f{n}": f"{side}\n" for n in range(9)} for side in ("ours", "theirs")]
    with pytest.raises(LianError) as raised:
        merge(repo, *sides)
    assert problem(raised).message.endswith("they conflict in f0, f1, f2, f3, f4 and 4 more")


def test_other_histories_are_refused(repo: Repo) -> None:
    repo.commit({"a": "other"}, "other")
    with pytest.raises(LianError) as raised:
        merged(repo.git, "main", "other")
    assert problem(raised).code == "revisions-unrelated"


def test_a_typo_is_named(repo: Repo) -> None:
    with pytest.raises(LianError) as raised:
        merged(repo.git, "main", "topik")
    assert (problem(raised).code, problem(raised).hint) == ("revision-unknown", "did you mean topic?")


def test_a_shallow_clone_says_what_it_lacks(repo: Repo, tmp_path: Path) -> None:
    repo.commit({**START, "a": "2"}, "main")
    repo.commit({**START, "b/c": "2"}, "topic")
    with pytest.raises(LianError) as raised:
        merged(cloned(repo, tmp_path / "s", "--depth", "1"), "origin/main", "origin/topic")
    assert problem(raised).code == "clone-partial"
    assert "--unshallow" in (problem(raised).hint or "")


def cloned(repo: Repo, folder: Path, *how: str) -> pygit2.Repository:
    subprocess.run(["git", "-C", str(repo.path), "config", "uploadpack.allowFilter", "true"], check=True)
    words = ["git", "clone", "-q", *how, "--no-single-branch", f"file://{repo.path}", str(folder)]
    subprocess.run(words, check=True, capture_output=True)
    return pygit2.Repository(str(folder))


def test_a_shallow_clone_that_reaches_the_fork_is_enough(repo: Repo, tmp_path: Path) -> None:
    """Its boundary names parents that it does not hold."""
    repo.commit(START, "main")
    repo.git.branches.local["topic"].set_target(repo.git.branches["main"].target)
    repo.commit({**START, "a": "2"}, "main")
    repo.commit({**START, "b/c": "2"}, "topic")
    whole = merged(repo.git, "main", "topic")
    shallow = cloned(repo, tmp_path / "s", "--depth", "2")
    assert shallow.is_shallow
    found = merged(shallow, "origin/main", "origin/topic")
    assert found.tree == whole.tree
    assert found.objects.read(found.tree) == whole.objects.read(whole.tree)
    words = ["git", "-C", str(tmp_path / "s"), "worktree", "add", "-q", "--detach", str(tmp_path / "w")]
    subprocess.run(words, check=True, capture_output=True)
    assert merged(pygit2.Repository(str(tmp_path / "w")), "origin/main", "origin/topic").tree == whole.tree


def test_a_clone_without_contents_says_so(repo: Repo, tmp_path: Path) -> None:
    repo.commit({**START, "a": "one\n2\n3\n4\n5\n"}, "main")
    repo.commit({**START, "a": "1\n2\n3\n4\nfive\n"}, "topic")
    clone = cloned(repo, tmp_path / "s", "--filter=blob:none", "--no-checkout")
    with pytest.raises(LianError) as raised:
        merged(clone, "origin/main", "origin/topic")
    told = problem(raised)
    assert (told.code, told.message) == (
        "object-unreadable",
        "merging origin/topic into origin/main needs what this repository does not hold, or what is damaged",
    )
    assert "git fetch --refetch" in (told.hint or "")


def test_a_linked_work_tree_is_a_repository_too(repo: Repo, tmp_path: Path) -> None:
    repo.commit({**START, "a": "2"}, "main")
    repo.commit({**START, "b/c": "2"}, "topic")
    subprocess.run(["git", "-C", str(repo.path), "worktree", "add", "-q", str(tmp_path / "w"), "topic"], check=True)
    found = merged(pygit2.Repository(str(tmp_path / "w")), "main", "topic")
    assert found.objects.read(found.tree)


def test_nothing_is_left_on_disk(repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    repo.commit({**START, "a": "2"}, "main")
    repo.commit({**START, "b/c": "2"}, "topic")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "scratch"))
    (tmp_path / "scratch").mkdir()
    found = merged(repo.git, "main", "topic")
    assert list((tmp_path / "scratch").iterdir()) == []
    assert found.objects.size(found.tree) == len(found.objects.read(found.tree)) > 0


def test_the_fork_is_the_newest_common_commit(repo: Repo) -> None:
    start = str(repo.git.head.target)
    one, other = repo.commit({"a": "2"}, "main"), repo.commit({"a": "3"}, "topic")
    assert fork_point(repo.git, ("main", one), ("topic", other)) == start
    assert fork_point(repo.git, ("main", one), ("main", one)) == one
