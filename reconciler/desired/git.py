"""Opening the desired repo and finding the commit: a local repository, or a URL kept as a bare mirror.

Git runs here as libgit2: no hooks, no filters, no checkout, and nothing that the repository's own configuration names
is executed. libgit2's ownership check stands (git's `safe.directory`).
"""

from __future__ import annotations

import heapq
import os
import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pygit2
from pygit2.enums import DiffOption

from reconciler.model.applied import ANCESTORS, History
from reconciler.model.problem import LianError, Problem, redact
from reconciler.model.wording import meant

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_OBJECT_CACHE_BYTES = 16 << 20
_SCP_LIKE = re.compile(r"[A-Za-z0-9._~-]+@[A-Za-z0-9.-]+:(?!//).+")
_SCHEMES = ("https://", "http://", "ssh://", "git://", "file://")
_REF_NAMESPACES = ("refs/heads/", "refs/tags/", "refs/remotes/")
_RULES = ("refs/{}", "refs/tags/{}", "refs/heads/{}", "refs/remotes/{}", "refs/remotes/{}/HEAD")
"""Where git looks for a name, in its order (gitrevisions(7))."""
_HEADS = frozenset({"HEAD", "@"})
_EXPRESSION = re.compile(r"[^~^:@]*(?:@(?!\{)[^~^:@]*)*(?P<rest>(?:[~^:]|@\{).*)", re.DOTALL)
"""A name, and what is asked of it."""
_MAX_HINTED = 5

pygit2.settings.cache_max_size(_OBJECT_CACHE_BYTES)


@dataclass(frozen=True, slots=True)
class Revision:
    """A commit that was found: its id and its tree's id, 40 hex digits each."""

    commit: str
    tree: str


def is_url(location: str) -> bool:
    """True for a location that is fetched: a URL, or the `user@host:path` form of ssh."""
    return "://" in location or (_SCP_LIKE.fullmatch(location) is not None and not Path(location).exists())


def check_url(url: str) -> None:
    """Raises LianError `source-scheme` for a transport that is not https, http, ssh, git or file."""
    if "://" in url and not url.startswith(_SCHEMES):
        hint = "use https://, ssh://, git:// or file://"
        raise LianError(Problem("source-scheme", f"{redact(url)} is not a URL that lian fetches from", hint=hint))


def open_local(location: Path) -> pygit2.Repository:
    """The repository that `location` lies in: a working tree, a folder inside it, a linked work tree or a bare one.

    Raises LianError `not-a-repo`, `repo-untrusted` (owned by someone else), `repo-unreadable`.
    """
    location = location.absolute()  # `.` says nothing to one who reads it in a log
    if not location.exists():
        raise LianError(Problem("not-a-repo", f"{location} does not exist", hint="give --repo a path or a URL"))
    found = discover(location)
    if found is None:
        hint = f"run `git init` in {location} and commit a directive, or give --repo another path or a URL"
        raise LianError(Problem("not-a-repo", f"{location} is not inside a git repository", hint=hint))
    return found


def discover(location: Path) -> pygit2.Repository | None:
    """The same for a folder that exists; None if it lies in no repository. Raises LianError `repo-untrusted`,
    `repo-unreadable`."""
    try:
        found = pygit2.discover_repository(str(location))
        return None if found is None else pygit2.Repository(found)
    except pygit2.GitError as error:
        raise LianError(_unopened(location, error)) from error


def _unopened(location: Path, error: pygit2.GitError) -> Problem:
    if "not owned by" in str(error):
        hint = f"run `git config --global --add safe.directory {location.resolve()}` if you trust it"
        message = f"the repository at {location} belongs to another user, so it is not read"
        return Problem("repo-untrusted", message, cause=str(error), hint=hint)
    return Problem("repo-unreadable", f"the repository at {location} cannot be opened", cause=str(error))


def resolve(repository: pygit2.Repository, rev: str) -> Revision:
    """The commit that `rev` names: branch, tag, commit id (also a short one), `HEAD`, `origin/x`, `HEAD~2`, …

    Raises LianError `repo-empty`, `revision-unknown`, `revision-ambiguous` where a name means several commits (git
    warns, and takes the tag before the branch), `object-unreadable`.
    """
    if repository.is_empty or (repository.head_is_unborn and not _names(repository)):
        raise LianError(Problem("repo-empty", "the repository has no commit yet", hint="commit a directive first"))
    if not rev.strip():
        raise LianError(Problem("revision-unknown", "the revision is empty", hint=_examples(repository)))
    if rev.startswith("origin/") and not any(repository.remotes.names()):
        rev = rev.removeprefix("origin/")  # a mirror's branches are the origin's branches
    _check_unambiguous(repository, rev)
    try:
        named = repository.revparse_single(rev)
    except (KeyError, ValueError, pygit2.GitError) as error:
        raise LianError(_unknown(repository, rev, error)) from error
    try:
        commit = named.peel(pygit2.Commit)
        return Revision(str(commit.id), str(commit.tree_id))
    except (pygit2.InvalidSpecError, ValueError, KeyError, pygit2.GitError) as error:
        message = f"revision {rev!r} names a {named.type_str}, not a commit"
        raise LianError(Problem("revision-unknown", message, hint=_examples(repository))) from error


def _check_unambiguous(repository: pygit2.Repository, rev: str) -> None:
    """Raises LianError `revision-ambiguous`."""
    found = _EXPRESSION.match(rev)
    name, rest = (rev[: found.start("rest")], found["rest"]) if found else (rev, "")
    if name in _HEADS or name.startswith("refs/"):
        return
    refs = [ref for rule in _RULES if (ref := rule.format(name)) in repository.references]
    meant = {ref: commit for ref in refs if (commit := _commit_of(repository, ref)) is not None}
    if len(set(meant.values())) > 1:
        branch = next((ref for ref in reversed(meant) if not ref.startswith("refs/tags/")), refs[0])
        message = f"the revision {name!r} means several commits: {' and '.join(meant)} differ"
        raise LianError(Problem("revision-ambiguous", message, hint=f"write the whole name: {branch}{rest}"))


def origin(repository: pygit2.Repository) -> str | None:
    """The URL that this clone was made from, None if it was made from none. It may hold a password."""
    return repository.remotes["origin"].url if "origin" in repository.remotes.names() else None


def history(repository: pygit2.Repository, commit: str) -> History:
    """Where a commit stands: its newest ancestors, through all its parents, as far as this clone holds them."""
    start = repository[commit].peel(pygit2.Commit)
    open_ = [(-start.commit_time, commit)]
    found: list[str] = []
    seen, complete = {commit}, not repository.is_shallow
    while open_ and len(found) <= ANCESTORS + 1:  # libgit2's own walk reads all there is before it yields the first
        found.append(heapq.heappop(open_)[1])
        for parent in repository[found[-1]].peel(pygit2.Commit).parent_ids:
            if str(parent) in seen:
                continue
            seen.add(str(parent))
            if parent in repository:
                heapq.heappush(open_, (-repository[parent].peel(pygit2.Commit).commit_time, str(parent)))
            else:
                complete = False
    return History.of(commit, max(0, start.commit_time), tuple(found[1:]), complete=complete)


def descends(repository: pygit2.Repository, revision: str, ancestor: str) -> bool | None:
    """Whether `revision` is a descendant of `ancestor`; None if the repository cannot tell."""
    try:
        if repository.descendant_of(revision, ancestor):
            return True
    except (KeyError, ValueError, pygit2.GitError):
        return None
    return None if repository.is_shallow else False


def refs(repository: pygit2.Repository, globs: Sequence[str]) -> dict[str, str]:
    """Full names of refs that match one of the globs -> the commits they lead to; a tag of something else is no
    revision. Raises LianError `clone-partial`, `repo-unreadable`."""
    if missing := _not_cloned(repository):
        message = f"this clone does not hold all branches and tags of the desired repo: {missing}"
        hint = "give --repo the URL of the desired repo, or fetch all of it: git fetch --unshallow, or a new clone"
        raise LianError(Problem("clone-partial", message, hint=hint))
    try:
        names = repository.listall_references()
        found = {name: _commit_of(repository, name) for name in sorted(names) if _matches(name, globs)}
    except (pygit2.GitError, KeyError, ValueError) as error:
        message = "the branches and tags of the desired repo cannot be read"
        raise LianError(Problem("repo-unreadable", message, cause=str(error))) from error
    return {name: commit for name, commit in found.items() if commit is not None}


def _not_cloned(repository: pygit2.Repository) -> str | None:
    """Why a clone cannot know all branches of where it comes from; None if nothing says so."""
    if repository.is_shallow:
        return "it is shallow"
    specs = [spec.lstrip("+") for remote in repository.remotes for spec in remote.fetch_refspecs]
    if specs and not any(spec.startswith(("refs/heads/*:", "refs/*:")) for spec in specs):
        return "its remotes are fetched in part"
    return None


def _matches(name: str, globs: Sequence[str]) -> bool:
    return any(fnmatchcase(name, glob) for glob in globs)


def _commit_of(repository: pygit2.Repository, name: str) -> str | None:
    try:
        return str(repository.references[name].peel(pygit2.Commit).id)
    except pygit2.InvalidSpecError:
        return None


def _unknown(repository: pygit2.Repository, rev: str, error: Exception) -> Problem:
    cause = None if isinstance(error, KeyError) else str(error)
    if rev == "HEAD":
        cause = "HEAD names a branch that has no commit"
    hint = meant(rev, _names(repository), _examples(repository), likeness=0.5)
    return Problem("revision-unknown", f"the repository has no revision {rev!r}", cause=cause, hint=hint)


def _names(repository: pygit2.Repository) -> list[str]:
    """Branches, tags and remote branches by their short names."""
    full = (name for name in repository.listall_references() if name.startswith(_REF_NAMESPACES))
    return sorted({name.split("/", 2)[2] for name in full})


def _examples(repository: pygit2.Repository) -> str:
    names = _names(repository)
    more = ", …" if len(names) > _MAX_HINTED else ""
    return f"use a known name: {', '.join(names[:_MAX_HINTED])}{more}"


def uncommitted_paths(repository: pygit2.Repository) -> list[str]:
    """The paths that `git status` would list: changed or untracked, not ignored, not lian's own `.lian/`. One that ends
    in a slash is a folder of which git has nothing. It may take seconds, in which other threads go on and may read the
    repository; pygit2's own `status` stops them.

    Empty for a bare repository.
    """
    if repository.is_bare:
        return []
    own = pygit2.Repository(repository.path)
    index = own.index
    paths = set(_differing(index.diff_to_workdir(DiffOption.INCLUDE_UNTRACKED)))
    if own.head_is_unborn:
        paths |= {entry.path for entry in index}
    else:
        paths |= set(_differing(index.diff_to_tree(own.head.peel(pygit2.Tree))))
    return sorted(path for path in paths if path.partition("/")[0] != ".lian")


def _differing(diff: pygit2.Diff) -> Iterator[str]:
    yield from (delta.new_file.raw_path.decode("utf-8", "surrogateescape") for delta in diff.deltas)


def common_dir(repository: pygit2.Repository) -> Path:
    """The git directory that all linked work trees share: where objects and branches lie (gitrepository-layout(5))."""
    own = Path(repository.path)
    told = own / "commondir"
    return (own / told.read_text().strip()).resolve() if told.is_file() else own.resolve()


def home(repository: pygit2.Repository) -> Path:
    """The folder that relative paths of the settings start from: the working tree's root, else the bare repository."""
    return Path(os.path.abspath(repository.workdir or repository.path))  # noqa: PTH100  # links stay as they are
