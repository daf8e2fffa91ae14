"""What a repository would hold if one revision were merged into another: worked out beside it, nothing checked out,
nothing written to it."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pygit2
from pygit2.enums import MergeFavor, MergeFlag

from reconciler.desired import git
from reconciler.desired.tree import UNREADABLE_HINT, CommitTree, GitObjects, Objects
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.wording import short, some

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.desired.git import Revision

_TOLD = 5
"""Files in conflict that are named."""


class MergedObjects(Objects, Protocol):
    """Those that a merge has."""

    def file_in(self, tree_id: str, name: str) -> str | None:
        """The id of the regular file that has this name in a tree, if one has. Raises LianError as `read` does."""
        ...


@dataclass(frozen=True, slots=True)
class Merge:
    """The revisions, and the tree that merging `head` into `base` gives. `objects` reads both sides and the result."""

    base: Revision
    head: Revision
    tree: str
    objects: MergedObjects


class _WithNew:
    """Objects of a repository, and some that it does not hold."""

    def __init__(self, objects: GitObjects, new: Mapping[str, bytes]) -> None:
        self._objects, self._new = objects, new

    def read(self, object_id: str) -> bytes:
        """See Objects."""
        new = self._new.get(object_id)
        return self._objects.read(object_id) if new is None else new

    def view(self, blob_id: str) -> memoryview:
        """See Objects."""
        new = self._new.get(blob_id)
        return self._objects.view(blob_id) if new is None else memoryview(new)

    def size(self, blob_id: str) -> int:
        """See Objects."""
        new = self._new.get(blob_id)
        return self._objects.size(blob_id) if new is None else len(new)

    def file_in(self, tree_id: str, name: str) -> str | None:
        """See MergedObjects."""
        if tree_id not in self._new:
            return self._objects.file_in(tree_id, name)
        node = CommitTree(self, tree_id).at(name)
        return node.id if node is not None and node.is_file else None


def merged(repository: pygit2.Repository, base: str, head: str) -> Merge:
    """What merging would give. Raises LianError as `git.resolve` and `fork_point` do, `merge-conflict`, and
    `object-unreadable` where the repository lacks what the merge needs."""
    into, what = git.resolve(repository, base), git.resolve(repository, head)
    fork = fork_point(repository, (base, into.commit), (head, what.commit))
    objects = GitObjects(repository)
    if fork in {into.commit, what.commit}:
        return Merge(into, what, what.tree if fork == into.commit else into.tree, objects)
    with tempfile.TemporaryDirectory(prefix="lian-merge-") as folder:
        beside = _beside(repository, Path(folder))
        try:
            index = beside.merge_commits(into.commit, what.commit, MergeFavor.NORMAL, MergeFlag.FIND_RENAMES)
        except (KeyError, ValueError, pygit2.GitError) as error:
            raise LianError(_lacking(base, head, error)) from error
        if index.conflicts is not None:
            raise LianError(_conflict(base, head, sorted(set(_in_conflict(index)))))
        tree = str(index.write_tree(beside))
        written = (path.parent.name + path.name for path in Path(folder, "objects").glob("[0-9a-f][0-9a-f]/*"))
        new = {object_id: bytes(beside.odb.read(object_id)[1]) for object_id in written}
    return Merge(into, what, tree, _WithNew(objects, new))


def fork_point(repository: pygit2.Repository, one: tuple[str, str], other: tuple[str, str]) -> str:
    """The newest commit that two have in common; each is given by what a person calls it, and its id.

    Raises LianError `clone-partial` where this clone does not hold enough to tell, `revisions-unrelated`.
    """
    repository = _main(repository)
    try:
        found = repository.merge_base(one[1], other[1])
    except (KeyError, ValueError, pygit2.GitError):
        found = None
    if found is not None:
        return str(found)
    if repository.is_shallow:
        message = f"this clone does not reach back to where {other[0]} and {one[0]} have parted"
        hint = "fetch all of it: git fetch --unshallow (in CI: a checkout with fetch-depth 0)"
        raise LianError(Problem("clone-partial", message, hint=hint))
    message = f"{other[0]} ({short(other[1])}) and {one[0]} ({short(one[1])}) have no commit in common"
    raise LianError(Problem("revisions-unrelated", message, hint="give two revisions of one history"))


def _beside(repository: pygit2.Repository, folder: Path) -> pygit2.Repository:
    """A repository that reads this one's objects too, and writes its own in the folder (gitrepository-layout(5))."""
    beside, common = pygit2.init_repository(str(folder), bare=True), git.common_dir(repository)
    (folder / "objects" / "info" / "alternates").write_bytes(bytes(common / "objects") + b"\n")
    if (common / "shallow").is_file():  # where history ends: its last commits name parents that are not here
        shutil.copyfile(common / "shallow", folder / "shallow")
    del beside
    return pygit2.Repository(str(folder))


def _main(repository: pygit2.Repository) -> pygit2.Repository:
    """The one that a linked work tree belongs to: in a work tree, libgit2 does not see that a clone is shallow."""
    common = git.common_dir(repository)
    return repository if common == Path(repository.path).resolve() else pygit2.Repository(str(common))


def _in_conflict(index: pygit2.Index) -> Iterator[str]:
    for sides in index.conflicts or ():
        yield next(side.path for side in sides if side is not None)


def _lacking(base: str, head: str, error: Exception) -> Problem:
    message = f"merging {head} into {base} needs what this repository does not hold, or what is damaged"
    return Problem("object-unreadable", message, cause=str(error), hint=UNREADABLE_HINT, next=Next.RETRY)


def _conflict(base: str, head: str, paths: list[str]) -> Problem:
    message = f"{head} cannot be merged into {base}: they conflict in {some(paths, _TOLD)}"
    hint = f"merge {base} into {head}, or rebase it: nobody can say yet what the result would build"
    return Problem("merge-conflict", message, paths[0] if len(paths) == 1 else None, hint=hint)
