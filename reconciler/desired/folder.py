"""A folder on disk, seen as a commit's tree: the same blob and tree ids, so the same rules and the same keys.

Nothing is copied. Every file is read once for its id, and again when its bytes are needed; one that is not the same any
more is a problem, never another image.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.desired.contexts import MAX_ENTRIES, too_large
from reconciler.desired.ignore import NAME as IGNORE
from reconciler.desired.ignore import IgnoreRules, find_ignore
from reconciler.desired.tree import MAX_DEPTH, CommitTree, Node
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.tree import EXECUTABLE, FILE, FOLDER, SYMLINK

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from reconciler.desired.ignore import Cursor

_OPEN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHUNK = 1 << 20
_GIT = b".git"
_OWN = b".lian"
"""lian's own folder, at the root alone: the default registry lies in it."""
_NICKEL = b".ncl"


@dataclass(frozen=True, slots=True)
class FolderTree:
    """What was found: the tree, and how many sockets, pipes and devices were passed over."""

    tree: CommitTree
    passed_over: int


def read_folder(root: Path, dockerfile: str | None = None) -> FolderTree:
    """Read a folder, which exists.

    With `dockerfile` (its path below `root`) the folder is a build's context: what its ignore file leaves out is not
    read, but for the Dockerfile, ignore files and Nickel files. `.git` is never read, at any depth.
    Raises LianError `context-unreadable`, `context-too-large`, `context-too-deep`, `ignore-syntax` and the like.
    """
    objects = _Files()
    walk = _Walk(os.fsencode(root), objects, _rules(root, dockerfile), _always(dockerfile))
    try:
        found = walk.folder(b"", walk.rules.top, 0)
    except OSError as error:
        raise LianError(_unread(error.filename, error)) from error
    return FolderTree(CommitTree(objects, found, "the folder"), walk.passed_over)


def _rules(root: Path, dockerfile: str | None) -> IgnoreRules:
    """Those that hold for the context. Links are a commit's matter to follow: where one is on the way, all is read."""
    if dockerfile is None or any((root / path).is_symlink() for path in _steps(dockerfile)):
        return IgnoreRules.EMPTY
    path = find_ignore(dockerfile, "", lambda path: (root / path).is_file())
    if path is None or (root / path).is_symlink():
        return IgnoreRules.EMPTY
    try:
        return IgnoreRules.parse((root / path).read_bytes(), path)
    except OSError as error:
        raise LianError(_unread(str(root / path), error)) from error


def _steps(path: str) -> Iterator[str]:
    parts = path.split("/")
    yield from ("/".join(parts[: end + 1]) for end in range(len(parts)))


def _always(dockerfile: str | None) -> frozenset[bytes]:
    """Paths that are read whatever the ignore file says, with the folders on the way."""
    if dockerfile is None:
        return frozenset()
    above = dockerfile.rpartition("/")[0]
    beside = [dockerfile, f"{above}/{dockerfile.rpartition('/')[2].lower()}".lstrip("/"), f"{dockerfile}{IGNORE}"]
    return frozenset(step.encode("utf-8", "surrogateescape") for path in (*beside, IGNORE) for step in _steps(path))


@dataclass(slots=True)
class _Walk:
    """One way through the folder. Paths are bytes below `root`, as the file system has them."""

    root: bytes
    objects: _Files
    rules: IgnoreRules
    always: frozenset[bytes]
    passed_over: int = 0
    entries: int = 0

    def folder(self, path: bytes, cursor: Cursor | None, depth: int) -> str:
        """The folder's tree id. Without a cursor only what is always read is."""
        if depth > MAX_DEPTH:
            message = f"folders are nested more than {MAX_DEPTH} deep below {os.fsdecode(path)[:100]}…"
            raise LianError(Problem("context-too-deep", message, hint="leave them out by .dockerignore"))
        with os.scandir(os.path.join(self.root, path)) as entries:  # noqa: PTH118 - bytes
            found = sorted(entries, key=lambda entry: entry.name)
        nodes: list[tuple[bytes, Node]] = []
        for entry in found:
            skipped = entry.name.lower() == _GIT or (not path and entry.name == _OWN)
            if not skipped and (node := self._entry(entry, path, cursor, depth)):
                nodes.append((entry.name, node))
        return self.objects.tree(nodes)

    def _entry(self, entry: os.DirEntry[bytes], above: bytes, cursor: Cursor | None, depth: int) -> Node | None:
        self.entries += 1
        if self.entries > MAX_ENTRIES:
            raise LianError(too_large(os.fsdecode(self.root)))
        path = os.path.join(above, entry.name)  # noqa: PTH118 - bytes
        is_folder = entry.is_dir(follow_symlinks=False)
        sent, below = self.rules.decide(cursor, _text(entry.name), is_folder) if cursor else (False, None)
        if is_folder:
            return self._inner(path, below, depth, sent=sent)
        if not sent and path not in self.always and not entry.name.endswith(_NICKEL):
            return None
        if entry.is_symlink():
            return Node(SYMLINK, self.objects.keep(os.readlink(entry.path)))  # noqa: PTH115 - bytes
        if not entry.is_file(follow_symlinks=False):
            self.passed_over += 1
            return None
        mode = EXECUTABLE if entry.stat(follow_symlinks=False).st_mode & stat.S_IXUSR else FILE
        return Node(mode, self.objects.file(entry.path))

    def _inner(self, path: bytes, below: Cursor | None, depth: int, *, sent: bool) -> Node | None:
        """A folder inside; one that is not sent for its own sake counts for what is read in it."""
        if below is None and path not in self.always:
            return None
        found = self.folder(path, below, depth + 1)
        return Node(FOLDER, found) if sent or found != EMPTY else None


@dataclass(slots=True)
class _Files:
    """The objects of a folder (see tree.Objects): files stay where they are, trees and links' targets are kept."""

    kept: dict[str, bytes] = field(default_factory=dict)
    files: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """Blob id -> a path, and the size in bytes."""

    def tree(self, nodes: list[tuple[bytes, Node]]) -> str:
        """Take a folder's entries in, in git's form and order; the tree's id."""
        ordered = sorted(nodes, key=lambda each: each[0] + (b"/" if each[1].mode == FOLDER else b""))
        data = b"".join(b"%s %s\0%s" % (n.mode.lstrip("0").encode(), name, bytes.fromhex(n.id)) for name, n in ordered)
        object_id = _id(b"tree", data)
        self.kept[object_id] = data
        return object_id

    def keep(self, data: bytes) -> str:
        """Take a small blob in; its id."""
        object_id = _id(b"blob", data)
        self.kept[object_id] = data
        return object_id

    def file(self, path: bytes) -> str:
        """Take a file in; its blob id. One that grows meanwhile is read again."""
        with _opened(path) as descriptor:
            while True:
                size = os.fstat(descriptor).st_size
                digest, read = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False), 0
                os.lseek(descriptor, 0, os.SEEK_SET)
                while data := os.read(descriptor, _CHUNK):
                    digest.update(data)
                    read += len(data)
                if read == size:
                    break
        self.files[digest.hexdigest()] = (path, size)
        return digest.hexdigest()

    def read(self, object_id: str) -> bytes:
        """See Objects. Raises LianError `context-moving` for a file that has changed."""
        if object_id in self.kept:
            return self.kept[object_id]
        path = self._path(object_id)[0]
        try:
            with _opened(path) as descriptor, os.fdopen(os.dup(descriptor), "rb") as file:
                data = file.read()
        except OSError as error:
            raise LianError(_moving(path)) from error
        if _id(b"blob", data) != object_id:
            raise LianError(_moving(path))
        return data

    def view(self, blob_id: str) -> memoryview:
        """See Objects."""
        return memoryview(self.read(blob_id))

    def size(self, blob_id: str) -> int:
        """See Objects."""
        return len(self.kept[blob_id]) if blob_id in self.kept else self._path(blob_id)[1]

    def _path(self, object_id: str) -> tuple[bytes, int]:
        if object_id not in self.files:
            message = f"the folder holds no object {object_id}"
            raise LianError(Problem("object-unreadable", message, next=Next.BUG))
        return self.files[object_id]


@contextlib.contextmanager
def _opened(path: bytes) -> Iterator[int]:
    """A file, open for reading; no link is followed, and nothing is waited for."""
    descriptor = os.open(path, _OPEN)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _id(kind: bytes, data: bytes) -> str:
    return hashlib.sha1(b"%s %d\0" % (kind, len(data)) + data, usedforsecurity=False).hexdigest()


EMPTY = _id(b"tree", b"")


def _text(name: bytes) -> str:
    """As a commit's tree has names."""
    return name.decode("utf-8", "surrogateescape")


def _unread(path: bytes | str | None, error: OSError) -> Problem:
    message = f"{os.fsdecode(path or b'the folder')} cannot be read"
    hint = "let this user read it, or leave it out by .dockerignore"
    return Problem("context-unreadable", message, cause=error.strerror, hint=hint)


def _moving(path: bytes) -> Problem:
    message = f"{os.fsdecode(path)} was changed while it was built"
    return Problem("context-moving", message, hint="run again when nothing writes there")
