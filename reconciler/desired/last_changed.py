"""Which commit changed a path last, as `git log -1 -- PATH` tells it: where one parent of a commit has the path as the
commit has it, it came from there (git-log(1), History Simplification)."""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING

import pygit2

from reconciler.desired.git import descends
from reconciler.desired.narrowing import Touch, changed_paths
from reconciler.desired.tree import CommitTree, GitObjects

if TYPE_CHECKING:
    from collections.abc import Collection

    from reconciler.model.plan import FileSince

COMMITS = 256
"""Looked back: what was changed longer ago is not behind a change of today."""


def last_changed(repository: pygit2.Repository, commit: str, files: Collection[FileSince]) -> dict[FileSince, str]:
    """The commit that changed each file last, the newest first: that commit or an ancestor. Without those that were
    not changed within COMMITS, those whose `since` has that commit already, which is not behind what differs from it
    then, and those of which this clone cannot tell. Raises LianError as CommitTree does."""
    found = _found(repository, repository[commit].peel(pygit2.Commit), {one.path for one in files})
    has = cache(partial(_has, repository))
    told = [one for one in files if one.path in found and not has(one.since, found[one.path].id)]
    return {one: str(found[one.path].id) for one in sorted(told, key=lambda one: -found[one.path].commit_time)}


def _has(repository: pygit2.Repository, since: str, commit: pygit2.Oid) -> bool:
    """Whether a commit, as far as it is known here, is another or descends from it. Graphs are slow to walk: what is
    younger is not looked for behind it."""
    if since in {"", str(commit)}:
        return since != ""
    try:
        known = repository[since].peel(pygit2.Commit)
    except (KeyError, ValueError, pygit2.GitError):
        return False
    younger = repository[commit].peel(pygit2.Commit).commit_time > known.commit_time
    return not younger and descends(repository, since, str(commit)) is True


def _found(repository: pygit2.Repository, start: pygit2.Commit, paths: set[str]) -> dict[str, pygit2.Commit]:
    objects = GitObjects(repository)
    open_: list[tuple[pygit2.Commit, set[str], int]] = [(start, paths, 0)]
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
    return found


def _differing(old: CommitTree, new: CommitTree, paths: Collection[str]) -> set[str]:
    """Those that two trees have otherwise: what differs at all is found first, for it is mostly little."""
    touch = Touch(set(changed_paths(old, new)))
    return {path for path in paths if touch.below(path) and old.at(path) != new.at(path)}
