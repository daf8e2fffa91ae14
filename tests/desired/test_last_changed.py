"""Which commit changed a path last: git is the oracle."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pygit2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.desired import last_changed as module
from reconciler.desired.last_changed import last_changed
from reconciler.model.plan import FileSince
from tests.desired.repos import AUTHOR, Content, Repo, write_tree

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

PATHS = ("a", "b/c", "b/d", "e/f/g")


@pytest.fixture
def repo(tmp_path: Path) -> Repo:
    return Repo(tmp_path / "repo")


def head(repo: Repo) -> str:
    return str(repo.git.references["refs/heads/main"].target)


def since_ever(paths: Iterable[str]) -> list[FileSince]:
    return [FileSince(path, "") for path in paths]


def by_path(found: Mapping[FileSince, str]) -> dict[str, str]:
    return {one.path: commit for one, commit in found.items()}


def by_git(repo: Repo, path: str) -> str:
    words = ["git", "-C", str(repo.path), "log", "-1", "--format=%H", "main", "--", path]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout.strip()


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.dictionaries(st.sampled_from(PATHS), st.sampled_from([b"1", b"2"])), min_size=1, max_size=6))
def test_as_git_tells_it(repo: Repo, steps: list[dict[str, Content]]) -> None:
    for files in steps:
        repo.commit(files)
    found = by_path(last_changed(repo.git, head(repo), since_ever(PATHS)))
    assert found == {path: told for path in PATHS if (told := by_git(repo, path))}


def test_each_has_its_own(repo: Repo) -> None:
    first = repo.commit({"a": b"1", "b/c": b"1"})
    second = repo.commit({"a": b"2", "b/c": b"1"})
    found = by_path(last_changed(repo.git, second, since_ever(["b/c", "a"])))
    assert found == {"a": second, "b/c": first}


def test_a_file_that_went_with_its_folder(repo: Repo) -> None:
    repo.commit({"a": b"1", "b/c": b"1"})
    gone = repo.commit({"a": b"1"})
    repo.commit({"a": b"2"})
    assert by_path(last_changed(repo.git, head(repo), since_ever(["b/c"]))) == {"b/c": gone}


def test_a_merge_changes_what_is_as_in_none_of_its_parents(repo: Repo) -> None:
    start = repo.commit({"a": b"1", "b/c": b"1"})
    repo.git.branches.local.create("topic", repo.git[start].peel(pygit2.Commit))
    topic = repo.commit({"a": b"2", "b/c": b"1"}, "topic")
    main = repo.commit({"a": b"1", "b/c": b"2"})
    tree = pygit2.Oid(hex=write_tree(repo.git, {"a": b"2", "b/c": b"3"}))
    merge = str(repo.git.create_commit("refs/heads/main", AUTHOR, AUTHOR, "merge", tree, [main, topic]))
    assert by_path(last_changed(repo.git, merge, since_ever(["a", "b/c"]))) == {"b/c": merge, "a": topic}


def test_what_is_long_ago_is_not_looked_for(repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMITS", 2)
    repo.commit({"a": b"1"})
    for number in range(3):
        repo.commit({"a": b"1", "e/f/g": str(number)})
    assert set(by_path(last_changed(repo.git, head(repo), since_ever(["a", "e/f/g"])))) == {"e/f/g"}


def test_a_shallow_clone_tells_what_it_holds(repo: Repo, tmp_path: Path) -> None:
    repo.commit({"a": b"1"})
    newest = repo.commit({"a": b"1", "b/c": b"2"})
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "-q", "--depth", "1", f"file://{repo.path}", clone], check=True)
    assert last_changed(pygit2.Repository(str(clone)), newest, since_ever(["a", "b/c"])) == {}


def test_what_a_commit_has_already_is_not_changed_since(repo: Repo) -> None:
    first = repo.commit({"a": b"1"})
    second = repo.commit({"a": b"1", "b/c": b"1"})
    third = repo.commit({"a": b"1", "b/c": b"2"})

    def told(path: str, since: str) -> str | None:
        return last_changed(repo.git, third, [FileSince(path, since)]).get(FileSince(path, since))

    assert [told("a", since) for since in ("", first, second)] == [first, None, None]
    assert [told("b/c", since) for since in (first, second, third)] == [third, third, None]
    assert [told("a", since) for since in ("9" * 40, "no commit")] == [first] * 2, "what nobody has here tells nothing"


def test_what_was_merged_since_is_changed_since_however_old_it_is(repo: Repo) -> None:
    def commit(ref: str, files: dict[str, Content], seconds: int, *parents: str) -> str:
        tree = pygit2.Oid(hex=write_tree(repo.git, files))
        by = pygit2.Signature(AUTHOR.name, AUTHOR.email, AUTHOR.time + seconds, 0)
        return str(repo.git.create_commit(f"refs/heads/{ref}", by, by, "a commit", tree, list(parents)))

    start = commit("main", {"a": b"1"}, 0)
    repo.git.branches.local.create("topic", repo.git[start].peel(pygit2.Commit))
    topic = commit("topic", {"a": b"2"}, 1, start)
    built = commit("main", {"a": b"1", "b/c": b"1"}, 2, start)
    merge = commit("main", {"a": b"2", "b/c": b"1"}, 3, built, topic)
    one = FileSince("a", built)
    assert last_changed(repo.git, merge, [one]) == {one: topic}
