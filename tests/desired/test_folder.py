"""A folder on disk is read as git would have it: the same ids, and nothing that could come out otherwise."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import tempfile
from pathlib import Path

import pygit2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.desired.contexts import Contexts
from reconciler.desired.folder import read_folder
from reconciler.desired.memo import Memo
from reconciler.model.desired import SentFolder
from reconciler.model.problem import LianError
from reconciler.model.tree import FOLDER

FILES = {"Dockerfile": "FROM scratch\n", "a": "1", "b-": "2", "b/c": "3", "b.d/é": "4", "deep/er/x": "5"}


def write(root: Path, files: dict[str, str]) -> None:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)


def listed(root: Path, dockerfile: str | None = "Dockerfile") -> list[str]:
    """The paths of all that was read, folders that are empty with a slash."""
    tree = read_folder(root, dockerfile).tree
    entries = Contexts(tree, Memo(None)).listing(SentFolder("", "."))
    return [f"{entry.path}/" if entry.mode == FOLDER else entry.path for entry in entries]


def git_tree(root: Path) -> str:
    """What git makes of the folder."""
    pygit2.init_repository(str(root), initial_head="main")
    subprocess.run(["git", "add", "-A"], cwd=root, check=True)
    done = subprocess.run(["git", "write-tree"], cwd=root, check=True, capture_output=True, text=True)
    return done.stdout.strip()


def test_the_tree_is_that_of_git(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    (tmp_path / "a").chmod(0o744)
    (tmp_path / "link").symlink_to("b/c")
    (tmp_path / "away").symlink_to("/nowhere")
    (tmp_path / os.fsdecode(b"not\xffutf8")).write_text("6")
    found = read_folder(tmp_path).tree
    assert found.root.id == git_tree(tmp_path)
    assert found.read(found.children(found.root.id)["link"].id) == b"b/c"
    assert read_folder(tmp_path).tree.root.id == found.root.id, "`.git` is passed over"


names = st.text(alphabet="ab-._", min_size=1, max_size=3).filter(lambda name: name not in {".", ".."})


@settings(max_examples=25)
@given(st.dictionaries(st.lists(names, min_size=1, max_size=3).map("/".join), st.binary(max_size=3), max_size=8))
def test_any_tree_is_that_of_git(files: dict[str, bytes]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        for path, content in files.items():
            with contextlib.suppress(NotADirectoryError, FileExistsError, IsADirectoryError):
                (root / path).parent.mkdir(parents=True, exist_ok=True)
                (root / path).write_bytes(content)
        assert read_folder(root).tree.root.id == git_tree(root)


def test_what_the_ignore_file_leaves_out_is_not_read(tmp_path: Path) -> None:
    ignored = {".dockerignore": "heavy\ndocker\n*.log\n!keep.log\n", "heavy/x": "x", "docker/Dockerfile": "FROM a\n"}
    write(tmp_path, {**FILES, **ignored, "x.log": "", "keep.log": "", "lian.ncl": "{}", ".build-spec.ncl": "{}"})
    (tmp_path / "heavy" / "secret").write_text("")
    (tmp_path / "heavy").chmod(0)
    kept = [".dockerignore", "Dockerfile", "a", "b-", "b.d/é", "b/c", "deep/er/x", "keep.log", "lian.ncl"]
    try:
        assert sorted(listed(tmp_path)) == sorted(kept)
        assert "docker/Dockerfile" in listed(tmp_path, "docker/Dockerfile")
    finally:
        (tmp_path / "heavy").chmod(0o700)
    assert "heavy/x" in listed(tmp_path, None)
    write(tmp_path, {"docker/Dockerfile.dockerignore": "a\n"})
    assert {"heavy/x", "b-"} < {*listed(tmp_path, "docker/Dockerfile")}
    assert "a" not in listed(tmp_path, "docker/Dockerfile")


def test_behind_a_linked_dockerfile_all_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"docker/Dockerfile": "FROM a\n", ".dockerignore": "docker\n"})
    (tmp_path / "Dockerfile").symlink_to("docker/Dockerfile")
    assert "docker/Dockerfile" in listed(tmp_path)


def test_empty_folders_count_and_lians_own_does_not(tmp_path: Path) -> None:
    write(tmp_path, {"Dockerfile": "", ".lian/registry/x": "", "a/.lian/y": "", "sub/.git/config": "", "sub/z": ""})
    (tmp_path / "empty" / "inner").mkdir(parents=True)
    assert listed(tmp_path) == ["Dockerfile", "a/.lian/y", "empty/inner/", "sub/z"]


def test_sockets_and_pipes_are_passed_over(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
        found = read_folder(tmp_path, "Dockerfile")
    assert found.passed_over == 2
    assert "pipe" not in found.tree.children(found.tree.root.id)


def test_a_file_that_changes_is_never_taken_for_what_it_was(tmp_path: Path) -> None:
    write(tmp_path, FILES)
    tree = read_folder(tmp_path).tree
    blob = tree.children(tree.root.id)["a"].id
    assert (tree.read(blob), tree.size(blob), bytes(tree.blob_view(blob))) == (b"1", 1, b"1")
    (tmp_path / "a").write_text("2")
    with pytest.raises(LianError, match="context-moving"):
        tree.read(blob)
    (tmp_path / "a").unlink()
    (tmp_path / "a").symlink_to("/etc/passwd")
    with pytest.raises(LianError, match="context-moving"):
        tree.blob_view(blob)


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(LianError, match=r"context-unreadable: .*gone"):
        read_folder(tmp_path / "gone")
    write(tmp_path, {"Dockerfile": "", ".dockerignore": "[\n"})
    with pytest.raises(LianError, match="ignore-syntax"):
        read_folder(tmp_path, "Dockerfile")
