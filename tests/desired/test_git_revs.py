"""Which commit a `rev` means, by what a server lists; git itself is the oracle."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from reconciler.desired.git_revs import Refs, Tip
from reconciler.model.problem import LianError, Problem
from tests.desired.repos import Repo

if TYPE_CHECKING:
    from pathlib import Path

ONE, TWO, THREE = ("1" * 40, "2" * 40, "3" * 40)
REFS = Refs.of(
    [
        ("HEAD", ONE, "refs/heads/main"),
        ("refs/heads/main", ONE, None),
        ("refs/heads/release-1.2", TWO, None),
        ("refs/heads/v2", ONE, None),
        ("refs/heads/same", ONE, None),
        ("refs/tags/same", ONE, None),
        ("refs/tags/v1", THREE, None),
        ("refs/tags/v1^{}", TWO, None),
        ("refs/tags/v2", TWO, None),
        ("refs/pull/7/head", THREE, None),
    ]
)


def wrong(refs: Refs, rev: str) -> Problem:
    with pytest.raises(LianError) as caught:
        refs.find(rev)
    return caught.value.problems[0]


@pytest.mark.parametrize(
    ("rev", "ref", "commit"),
    [
        ("HEAD", "HEAD", ONE),
        ("main", "refs/heads/main", ONE),
        ("heads/main", "refs/heads/main", ONE),
        ("refs/heads/main", "refs/heads/main", ONE),
        ("v1", "refs/tags/v1", TWO),
        ("refs/tags/v2", "refs/tags/v2", TWO),
        ("refs/pull/7/head", "refs/pull/7/head", THREE),
        ("same", "refs/tags/same", ONE),
    ],
)
def test_every_spelling(rev: str, ref: str, commit: str) -> None:
    assert REFS.find(rev) == Tip(ref, commit)


@pytest.mark.parametrize(
    ("rev", "hint"),
    [
        ("relase-1.2", "did you mean release-1.2?"),
        ("1111111", "a commit is written with all of its 40 digits"),
        ("main~1", "write the name of a branch or a tag, or a commit with all of its 40 digits"),
        ("qqqqqqqq", "there are main, release-1.2, same, v1, v2"),
        ("refs/heads/gone", "there are main, release-1.2, same, v1, v2"),
    ],
)
def test_an_unknown_rev_is_told_with_what_may_be_meant(rev: str, hint: str) -> None:
    found = wrong(REFS, rev)
    assert (found.code, found.hint) == ("git-rev-unknown", hint)


def test_a_branch_and_a_tag_of_one_name_are_ambiguous() -> None:
    found = wrong(REFS, "v2")
    assert (found.code, found.hint) == ("git-rev-ambiguous", "write the whole name: refs/heads/v2")


def test_an_empty_repository_says_so() -> None:
    assert wrong(Refs.of([]), "main").message == "the repository has no commit yet"


def test_git_says_the_same(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "repo")
    first = repo.commit({"a": b"1"})
    repo.commit({"a": b"2"})
    repo.commit({"a": b"3"}, branch="team/x")
    author = ("-c", "user.name=t", "-c", "user.email=t@example.org")
    for command in (("tag", "light", first), ("tag", "-a", "-m", "x", "v1", first)):
        subprocess.run(["git", "-C", repo.path, *author, *command], check=True)
    listed = subprocess.run(["git", "ls-remote", repo.path], check=True, capture_output=True, text=True).stdout
    refs = Refs.of((name, commit, None) for commit, name in (line.split("\t") for line in listed.splitlines()))
    for rev in ("HEAD", "main", "team/x", "light", "v1", "refs/tags/v1", "heads/team/x"):
        said = subprocess.run(
            ["git", "-C", repo.path, "rev-parse", f"{rev}^{{commit}}"], check=True, capture_output=True, text=True
        )
        assert refs.find(rev).commit == said.stdout.strip()
