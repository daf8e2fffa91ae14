"""Real git repositories for tests, written object by object so that every name and mode is possible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Union

import pygit2

from reconciler.desired.tree import CommitTree, GitObjects

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

FILE, EXECUTABLE, SYMLINK, FOLDER, SUBMODULE = "100644", "100755", "120000", "40000", "160000"
AUTHOR = pygit2.Signature("Test", "test@example.org", 1_700_000_000, 0)

Content = Union[bytes, str, "tuple[str, bytes]"]
"""Bytes or text of a file, or (mode, bytes); for a submodule the bytes are the commit id in hex."""


class Repo:
    """A repository and a branch that grows commit by commit."""

    def __init__(self, path: Path, *, bare: bool = False) -> None:
        self.path = path
        self.git = pygit2.init_repository(str(path), bare=bare, initial_head="main")

    def commit(self, files: Mapping[str, Content], branch: str = "main") -> str:
        """A commit that holds exactly these files; its id."""
        ref = f"refs/heads/{branch}"
        parents = [self.git.references[ref].target] if ref in self.git.references else []
        tree = pygit2.Oid(hex=write_tree(self.git, files))
        return str(self.git.create_commit(ref, AUTHOR, AUTHOR, "a commit", tree, parents))

    def tree(self, files: Mapping[str, Content]) -> CommitTree:
        """The tree of these files, ready to read."""
        return CommitTree(GitObjects(self.git), write_tree(self.git, files))


def write_tree(git: pygit2.Repository, files: Mapping[str, Content]) -> str:
    """Write blobs and trees. A path that ends in `/` is an empty tree (git itself never writes those)."""
    here: dict[str, tuple[str, str]] = {}
    below: dict[str, dict[str, Content]] = {}
    for path, content in files.items():
        name, slash, rest = path.partition("/")
        if slash:
            inner = below.setdefault(name, {})
            if rest:
                inner[rest] = content
        else:
            here[name] = _leaf(git, content)
    for name, inner in below.items():
        here[name] = (FOLDER, write_tree(git, inner))
    return raw_tree(git, [(name, mode, object_id) for name, (mode, object_id) in here.items()])


def raw_tree(git: pygit2.Repository, entries: list[tuple[str, str, str]]) -> str:
    """One tree object with these (name, mode, id), in git's order; names are not checked."""

    def order(entry: tuple[str, str, str]) -> bytes:
        return encoded(entry[0]) + (b"/" if entry[1] == FOLDER else b"")

    data = b"".join(
        b"%s %s\0%s" % (mode.encode(), encoded(name), bytes.fromhex(object_id))
        for name, mode, object_id in sorted(entries, key=order)
    )
    return str(git.odb.write(pygit2.enums.ObjectType.TREE, data))


def _leaf(git: pygit2.Repository, content: Content) -> tuple[str, str]:
    mode, data = content if isinstance(content, tuple) else (FILE, content)
    data = data.encode() if isinstance(data, str) else data
    return mode, data.decode() if mode == SUBMODULE else str(git.create_blob(data))


def encoded(name: str) -> bytes:
    """A name as git keeps it."""
    return name.encode("utf-8", "surrogateescape")
