"""Reading one commit's tree."""

from __future__ import annotations

import fnmatch
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.desired.tree import CommitTree, GitObjects, parts
from reconciler.model.problem import LianError
from tests.desired.repos import FILE, FOLDER, SUBMODULE, SYMLINK, Content, Repo, raw_tree

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def repo(tmp_path_factory: pytest.TempPathFactory) -> Repo:
    return Repo(tmp_path_factory.mktemp("tree") / "repo", bare=True)


FILES: dict[str, Content] = {
    "lian.ncl": b"{}",
    "directives/a.ncl": b"1",
    "directives/x/b.ncl": b"2",
    "directives/x/y/c.ncl": b"3",
    "directives/.hidden.ncl": b"4",
    "directives/.dir/d.ncl": b"5",
    "directives/readme.md": b"6",
    "directives/link.ncl": (SYMLINK, b"a.ncl"),
    "directives/linked": (SYMLINK, b"x"),
    "directives/sub.ncl": (SUBMODULE, b"1" * 40),
    "services/a/image.ncl": b"7",
    "services/b/image.ncl": b"8",
    "services/a/.build-spec.ncl": b"9",
}


@pytest.mark.parametrize(
    ("patterns", "expected"),
    [
        (["directives/**/*.ncl"], ["a.ncl", "link.ncl", "x/b.ncl", "x/y/c.ncl"]),
        (["directives/*.ncl", "directives/**/*.ncl"], ["a.ncl", "link.ncl", "x/b.ncl", "x/y/c.ncl"]),
        (["directives/**/**/*.ncl"], ["a.ncl", "link.ncl", "x/b.ncl", "x/y/c.ncl"]),
        (["directives/x/**"], ["x/b.ncl", "x/y/c.ncl"]),
        (["./directives/?.ncl"], ["a.ncl"]),
        (["directives/[ab].ncl"], ["a.ncl"]),
        (["directives/.*.ncl"], [".hidden.ncl"]),
        (["directives/.dir/*.ncl"], [".dir/d.ncl"]),
        (["directives/a.ncl"], ["a.ncl"]),
        (["nowhere/*.ncl", "directives/a.ncl/x"], []),
    ],
)
def test_glob(repo: Repo, patterns: list[str], expected: list[str]) -> None:
    assert [path for path, _ in repo.tree(FILES).glob(patterns)] == [f"directives/{name}" for name in expected]


def test_glob_beside_dockerfiles_passes_over_build_specs(repo: Repo) -> None:
    found = [path for path, _ in repo.tree(FILES).glob(["services/*/*.ncl"])]
    assert found == ["services/a/image.ncl", "services/b/image.ncl"]


_letters = st.text(st.sampled_from("ab*?[]!.-"), min_size=1, max_size=4)


@given(name=st.text(st.sampled_from("ab.-"), min_size=1, max_size=4), pattern=_letters)
def test_one_name_matches_as_in_a_shell(repo: Repo, name: str, pattern: str) -> None:
    if {name, pattern} & {".", "..", "**"}:
        return
    expected = fnmatch.fnmatchcase(name, pattern) and (pattern.startswith(".") or not name.startswith("."))
    assert bool(repo.tree({name: b""}).glob([pattern])) == expected


def test_at_does_not_follow_links(repo: Repo) -> None:
    tree = repo.tree(FILES)
    assert tree.at(".") == tree.root
    assert tree.at("directives/linked/b.ncl") is None
    assert tree.at("directives/a.ncl/x") is None
    assert (node := tree.at("directives//x/./b.ncl")) is not None
    assert tree.read(node.id) == b"2"


@pytest.mark.parametrize(
    ("path", "within", "expected"),
    [
        ("a", ".", "a"),
        ("to-a", ".", "a"),
        ("d/up", ".", "a"),
        ("d/absolute", "d", "d/f"),
        ("d/over", "d", "d/f"),
        ("d/dirlink/f", ".", "d/f"),
        ("d/over", ".", None),
        ("loop", ".", None),
        ("nowhere", ".", None),
        ("out", ".", "a"),
        ("a/b", ".", None),
    ],
)
def test_links_never_lead_outside(repo: Repo, path: str, within: str, expected: str | None) -> None:
    tree = repo.tree(
        {
            "a": b"A",
            "to-a": (SYMLINK, b"a"),
            "d/f": b"F",
            "d/up": (SYMLINK, b"../a"),
            "d/absolute": (SYMLINK, b"/f"),
            "d/over": (SYMLINK, b"../../../f"),
            "d/dirlink": (SYMLINK, b"../d"),
            "loop": (SYMLINK, b"loop"),
            "out": (SYMLINK, b"../../a"),
            "nowhere": (SYMLINK, b"gone/x"),
        }
    )
    found = tree.resolve(path, within)
    assert (found[0] if found else None) == expected


@pytest.mark.parametrize("name", ["..", ".", "a/b", "../x", ".git", ".GIT", ""])
def test_names_that_could_leave_their_folder_are_refused(repo: Repo, name: str) -> None:
    blob = str(repo.git.create_blob(b""))
    with pytest.raises(LianError, match="tree-malformed"):
        CommitTree(GitObjects(repo.git), "").children(raw_tree(repo.git, [(name, FILE, blob)]))


def test_a_name_that_stands_twice_is_refused(repo: Repo) -> None:
    link, folder = str(repo.git.create_blob(b"/etc")), raw_tree(repo.git, [])
    with pytest.raises(LianError, match="tree-malformed"):
        CommitTree(GitObjects(repo.git), "").children(raw_tree(repo.git, [("a", SYMLINK, link), ("a", FOLDER, folder)]))


def test_names_are_kept_byte_for_byte(repo: Repo) -> None:
    names = ["caf\udce9", "new\nline", "-rf", " ", "é", "\\", "tab\t", "\u202e"]
    assert set(repo.tree(dict.fromkeys(names, b"")).children(repo.tree(dict.fromkeys(names, b"")).root.id)) == set(
        names
    )


def test_a_missing_object_is_an_error_with_a_remedy(repo: Repo) -> None:
    tree = CommitTree(GitObjects(repo.git), "1" * 40)
    for ask in (
        lambda: tree.at("a"),
        lambda: tree.read("2" * 40),
        lambda: tree.size("2" * 40),
        lambda: tree.blob_view("2" * 40),
    ):
        with pytest.raises(LianError) as caught:
            ask()
        assert caught.value.problems[0].code == "object-unreadable"
        assert "git fsck" in str(caught.value.problems[0].hint)


def test_a_damaged_object_is_an_error(tmp_path: Path) -> None:
    repo = Repo(tmp_path / "r", bare=True)
    tree = repo.tree({"a": b"content"})
    node = tree.at("a")
    assert node is not None
    path = tmp_path / "r" / "objects" / node.id[:2] / node.id[2:]
    path.chmod(0o644)
    path.write_bytes(b"garbage")
    with pytest.raises(LianError, match="object-unreadable"):
        CommitTree(GitObjects(repo.git), tree.root.id).read(node.id)


@given(st.lists(st.sampled_from(["a", "b", ".", "..", ""]), max_size=5))
def test_parts_are_normal(names: list[str]) -> None:
    normal = parts("/".join(names))
    assert all(name not in {"", "."} for name in normal)
    assert ".." not in normal[sum(name == ".." for name in normal) :]
