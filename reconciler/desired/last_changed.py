"""Which commit changed a path last, as `git log -1 -- PATH` tells it: where one parent of a commit has the path as the
commit has it, it came from there (git-log(1), History Simplification)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pygit2

from reconciler.desired.narrowing import Touch, changed_paths
from reconciler.desired.tree import CommitTree, GitObjects

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

COMMITS = 256
"""Looked back: what was changed longer ago is not behind a change of today."""


def last_changed(repository: pygit2.Repository, commit: str, paths: Iterable[str]) -> dict[str, str]:
    """Path -> the commit that changed it last, the newest first: that commit or an ancestor. Without those that were
    not changed within COMMITS, and those of which this clone cannot tell. Raises LianError as CommitTree does."""
    objects = GitObjects(repository)
    start = repository[commit].peel(pygit2.Commit)
    open_: list[tuple[pygit2.Commit, set[str], int]] = [(start, set(paths), 0)]
    found: dict[str, pygit2.Commit] = {}
    while open_:
        each, left, depth = open_.pop()
        if not left or depth >= COMMITS or (repository.is_shallow and not each.parent_ids):
            continue  # where a shallow clone ends, a commit looks as if it were the first
        new = CommitTree(objects, str(each.tree_id))
        for parent in (repository[parent].peel(pygit2.Commit) for parent in each.parent_ids):
            same = left - _differing(CommitTree(objects, str(parent.tree_id)), new, left)
            left -= same
            open_.append((parent, same, depth + 1))
        changed = left if each.parent_ids else {path for path in left if new.at(path) is not None}
        found |= dict.fromkeys(changed, each)
    return {path: str(one.id) for path, one in sorted(found.items(), key=lambda item: -item[1].commit_time)}


def _differing(old: CommitTree, new: CommitTree, paths: Collection[str]) -> set[str]:
    """Those that two trees have otherwise: what differs at all is found first, for it is mostly little."""
    touch = Touch(set(changed_paths(old, new)))
    return {path for path in paths if touch.below(path) and old.at(path) != new.at(path)}
