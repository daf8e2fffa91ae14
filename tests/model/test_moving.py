"""What moves by itself, and what names its own content."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.model.artifact import GitFolder
from reconciler.model.moving import Part, PartKind, parts_of
from tests.commits import artifact

URL = "https://git.example/r.git"


@pytest.mark.parametrize("rev", ["a" * 40, "A" * 40, "aB" * 20, "1" * 64, "F" * 64])
def test_a_context_at_a_whole_commit_does_not_move(rev: str) -> None:
    assert parts_of(replace(artifact("shop/api"), context=GitFolder(URL, rev, ".")), None) == frozenset()


@pytest.mark.parametrize("rev", ["main", "HEAD", "a" * 39, "1" * 41])
def test_a_context_at_a_branch_moves(rev: str) -> None:
    moving = replace(artifact("shop/api"), contexts={"site": GitFolder(URL, rev, "docs")})
    assert parts_of(moving, None) == {Part(PartKind.GIT, URL, rev)}
