"""The tree of one commit, read object by object; or of a folder on disk, seen as if it were one (folder.py).

Tree objects are parsed here, not by libgit2's iterators: names stay exact bytes (surrogateescape), and a name that
could leave its folder is refused before anybody uses it.
"""

from __future__ import annotations

import fnmatch
import posixpath
import re
import threading
from typing import TYPE_CHECKING, NamedTuple, Protocol

import pygit2

from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.tree import EXECUTABLE, FILE, FOLDER, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

SUBMODULE = "160000"

BROKEN_REPOSITORY = frozenset({"object-unreadable", "tree-malformed"})
"""Codes of problems of the repository itself: they end a pass, they are not said of one artifact."""
UNREADABLE_HINT = "run `git fsck` for more; a shallow or partial clone may need `git fetch --refetch`"

_CACHED_NODES = 50_000
_KEPT_FOLDERS = 20_000
_MAX_LINKS = 40
MAX_DEPTH = 256
"""Folders inside folders; deeper trees are refused (git bombs, the interpreter's stack)."""

_ODD_PART = re.compile(r"(?:\A|/)\.{0,2}(?:/|\Z)")
_REGULAR = {0o100644, 0o100664, 0o100755}
_MODES = {b"40000": FOLDER, b"100755": EXECUTABLE, b"120000": SYMLINK, b"160000": SUBMODULE}


class Node(NamedTuple):
    """One entry of a git tree; `mode` as git prints it, `id` of the blob, tree or (submodule) commit."""

    mode: str
    id: str

    @property
    def is_file(self) -> bool:
        """True for a regular file, executable or not."""
        return self.mode in {FILE, EXECUTABLE}


class Objects(Protocol):
    """Where blobs and trees are read, by their ids. Methods raise LianError, of GitObjects `object-unreadable` when
    the repository lacks an object or it is damaged."""

    def read(self, object_id: str) -> bytes:
        """A blob's bytes, or a tree's in git's form."""
        ...

    def view(self, blob_id: str) -> memoryview:
        """A blob's bytes without a second copy of them in memory."""
        ...

    def size(self, blob_id: str) -> int:
        """A blob's size in bytes, without reading all of it."""
        ...


class GitObjects:
    """Those of a repository. Safe to use from several threads."""

    def __init__(self, repository: pygit2.Repository) -> None:
        self._repository = repository
        self._odb = repository.odb
        self._lock = threading.Lock()

    def read(self, object_id: str) -> bytes:
        """See Objects."""
        try:
            with self._lock:
                return bytes(self._odb.read(object_id)[1])
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise LianError(_unreadable(object_id, error)) from error

    def view(self, blob_id: str) -> memoryview:
        """See Objects."""
        try:
            with self._lock:
                blob = self._repository[blob_id]
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise LianError(_unreadable(blob_id, error)) from error
        if not isinstance(blob, pygit2.Blob):
            raise LianError(_unreadable(blob_id, TypeError(f"it is a {blob.type_str}, not a blob")))
        return memoryview(blob)

    def size(self, blob_id: str) -> int:
        """See Objects."""
        try:
            with self._lock:
                return int(self._odb.read_header(blob_id)[1])
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise LianError(_unreadable(blob_id, error)) from error

    def file_in(self, tree_id: str, name: str) -> str | None:
        """The id of the regular file that has this name in a tree, if one has: as libgit2 finds it, in a tenth of the
        time that reading the whole tree takes. Raises LianError as `read` does."""
        try:
            with self._lock:
                tree = self._repository[tree_id]
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise LianError(_unreadable(tree_id, error)) from error
        if not isinstance(tree, pygit2.Tree) or name not in tree:
            return None
        entry = tree[name]
        return str(entry.id) if entry.filemode in _REGULAR else None


class CommitTree:
    """Read access to one commit. Safe to use from several threads. All methods raise LianError as Objects do."""

    def __init__(self, objects: Objects, tree_id: str, called: str = "the commit", prefix: str = "") -> None:
        """`prefix` stands in front of a path where people are told of it."""
        self.called = called
        """What messages call it."""
        self._prefix = prefix
        self.root = Node(FOLDER, tree_id)
        self._objects = objects
        self._lock = threading.Lock()
        self._cache: dict[str, Mapping[str, Node]] = {}
        self._folders: dict[str, str] = {}
        self._cached_nodes = 0

    def children(self, tree_id: str) -> Mapping[str, Node]:
        """The entries of a tree object by name, in git's order. Raises LianError `tree-malformed` too."""
        known = self._cache.get(tree_id)
        if known is None:
            known = _parse(tree_id, self._objects.read(tree_id))
            with self._lock:
                self._remember(tree_id, known)
        return known

    def _remember(self, tree_id: str, parsed: Mapping[str, Node]) -> None:
        """Keep a tree; the oldest go when there are too many entries."""
        if tree_id not in self._cache:
            self._cache[tree_id] = parsed
            self._cached_nodes += len(parsed) + 1
        while self._cached_nodes > _CACHED_NODES and len(self._cache) > 1:
            self._cached_nodes -= len(self._cache.pop(next(iter(self._cache)))) + 1

    def shown(self, path: str) -> str:
        """A path as people are told of it: which repository it is of, if not of the desired one."""
        return self._prefix + path

    def read(self, blob: str) -> bytes:
        """A blob's bytes."""
        return self._objects.read(blob)

    def lookup(self, path: str) -> tuple[str, str] | None:
        """Mode and id of what stands at a path (not following links), as the evaluator asks for it; None if nothing."""
        return self.at(path)

    def blob_view(self, blob_id: str) -> memoryview:
        """A blob's bytes without a second copy of them in memory."""
        return self._objects.view(blob_id)

    def size(self, blob_id: str) -> int:
        """A blob's size in bytes, without reading all of it."""
        return self._objects.size(blob_id)

    def at(self, path: str) -> Node | None:
        """What stands at a path of the repo ("." is the root), or None; symlinks are not followed."""
        return self._at(normal(path))

    def _at(self, path: str) -> Node | None:
        if not path:
            return self.root
        above, _, name = path.rpartition("/")
        folder = self._folder_id(above)
        return self.children(folder).get(name) if folder else None

    def _folder_id(self, path: str) -> str:
        """The tree id of a folder, empty if there is none; many files lie in few folders, so it is kept."""
        known = self._folders.get(path)
        if known is None:
            node = self._at(path)
            known = node.id if node is not None and node.mode == FOLDER else ""
            if len(self._folders) >= _KEPT_FOLDERS:
                self._folders.clear()
            self._folders[path] = known
        return known

    def resolve(self, path: str, within: str = ".") -> tuple[str, Node] | None:
        """What `path` (of the repo, inside `within`) leads to when symlinks are followed, with its true path.

        Links are followed as if `within` were the file system's root, as BuildKit does in a context: no link leaves
        it. None if it leads nowhere.
        """
        base = parts(within)
        todo, done, links = parts(path)[len(base) :], list(base), 0
        while todo:
            name, *todo = todo
            if name == "..":
                done = done[:-1] if len(done) > len(base) else done
                continue
            node = self.at("/".join([*done, name]))
            if node is None:
                return None
            if node.mode != SYMLINK:
                done.append(name)
                continue
            links += 1
            if links > _MAX_LINKS:
                return None
            target = self.read(node.id).decode("utf-8", "surrogateescape")
            done = list(base) if target.startswith("/") else done
            todo = [part for part in target.split("/") if part not in {"", "."}] + todo
        final = "/".join(done) or "."
        node = self.at(final)
        return (final, node) if node is not None else None

    def glob(self, patterns: Sequence[str]) -> list[tuple[str, Node]]:
        """All files and links that a pattern names, sorted by path, each once.

        `*`, `?` and `[…]` stay inside one name, `**` spans folders; as in a shell they pass over names that begin
        with a dot. Folders behind symlinks are not entered.
        """
        found: dict[str, Node] = {}
        for pattern in patterns:
            names = parts(pattern)
            once = tuple(n for i, n in enumerate(names) if n != "**" or names[i - 1 : i] != ["**"])
            found.update(self._glob(self.root.id, "", once, 0))
        return sorted(found.items(), key=lambda item: item[0].encode("utf-8", "surrogateescape"))

    def _glob(self, tree_id: str, prefix: str, pattern: tuple[str, ...], depth: int) -> Iterator[tuple[str, Node]]:
        if not pattern or depth > MAX_DEPTH:
            return
        head, rest = pattern[0], pattern[1:]
        if head == "**":
            yield from self._glob(tree_id, prefix, rest, depth)
        for name, node in self._matching(tree_id, "*" if head == "**" else head):
            if node.mode == FOLDER:
                yield from self._glob(node.id, f"{prefix}{name}/", pattern if head == "**" else rest, depth + 1)
            elif node.mode != SUBMODULE and not rest:
                yield prefix + name, node

    def _matching(self, tree_id: str, pattern: str) -> Iterator[tuple[str, Node]]:
        children = self.children(tree_id)
        if not any(sign in pattern for sign in "*?["):
            if pattern in children:
                yield pattern, children[pattern]
            return
        matches = re.compile(fnmatch.translate(pattern)).match
        hidden = pattern.startswith(".")
        for name, node in children.items():
            if matches(name) and (hidden or not name.startswith(".")):
                yield name, node


def parts(path: str) -> list[str]:
    """The names of a relative path, normalised: `./a//b/../c` is a, c. Leading `..` stay."""
    if _ODD_PART.search(path) is None:
        return path.split("/")
    normal = posixpath.normpath(f"./{path}")
    return [] if normal == "." else normal.split("/")


def normal(path: str) -> str:
    """A relative path, normalised as `parts` does; empty for the root."""
    return path if _ODD_PART.search(path) is None else "/".join(parts(path))


def _parse(tree_id: str, data: bytes) -> dict[str, Node]:
    """git's tree object: `mode SP name NUL` and 20 bytes of id, for each entry."""
    nodes: dict[str, Node] = {}
    start, end = 0, len(data)
    while start < end:
        space, null = data.find(b" ", start), data.find(b"\0", start)
        if not start < space < null or null + 21 > end:
            raise LianError(_malformed(tree_id, "it is cut off"))
        name = data[space + 1 : null].decode("utf-8", "surrogateescape")
        if name in {"", ".", ".."} or "/" in name or name.lower() == ".git" or name in nodes:
            raise LianError(_malformed(tree_id, f"it holds an entry named {name!r}"))
        nodes[name] = Node(_MODES.get(data[start:space], FILE), data[null + 1 : null + 21].hex())
        start = null + 21
    return nodes


def _malformed(tree_id: str, cause: str) -> Problem:
    message = f"the git tree {tree_id} is malformed, so nothing of this commit is used"
    return Problem("tree-malformed", message, cause=cause, hint="run `git fsck`: it names such objects")


def _unreadable(object_id: str, error: Exception) -> Problem:
    message = f"the repository does not hold the object {object_id}, or it is damaged"
    return Problem("object-unreadable", message, cause=str(error), hint=UNREADABLE_HINT, next=Next.RETRY)
