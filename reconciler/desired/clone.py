"""The part of another repository that its git contexts need, kept bare in the cache: single commits, not histories.

A commit that is there is never fetched again. One that is not is fetched without its history where the server allows
it: by the ref that leads to it, or by its id; where it does not, everything is fetched. Nothing here is a fact that
lies only here: the folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pygit2

from reconciler.desired.bare import BareFolder
from reconciler.desired.git import Revision
from reconciler.desired.git_remote import (
    ALL,
    ALL_HISTORY,
    ONE_COMMIT,
    Cut,
    Talk,
    Unadvertised,
    keep_to_one_host,
    no_login,
    unreachable,
)
from reconciler.desired.git_revs import Refs, Tip
from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from reconciler.desired.git_remote import GoingOn, LoginOf
    from reconciler.model.git_url import GitUrl

MAX_PACKS = 64
"""Each fetch leaves a pack; where there are so many, the next one starts with an empty folder."""
_CUTS, _TRIES = 3, 20
"""How often a server may end a talk in its middle; how often other processes may put another folder in place."""
_KEPT = "refs/lian/"


@dataclass(frozen=True, slots=True)
class Found:
    """The repository, and for each `rev` the commit it means, with its tree, or why there is none."""

    repository: pygit2.Repository
    revisions: Mapping[str, Revision | Problem]


class Clone:
    """That of one URL. Methods block; several processes and threads may use one folder."""

    def __init__(self, url: GitUrl, cache: Path) -> None:
        self._url = url
        name = hashlib.sha256(url.text.encode()).hexdigest()[:16]
        self._bare = BareFolder(cache.absolute() / "clones" / name)

    def kept(self, commits: Mapping[str, str]) -> Found | None:
        """Without asking anybody: what is here of these (rev -> commit), if all of it is."""
        repository = self._bare.opened()
        found = {rev: _look_up(repository, commit) for rev, commit in commits.items()} if repository else {}
        there = {rev: revision for rev, revision in found.items() if revision}
        return Found(repository, there) if repository and len(there) == len(commits) else None

    def read(
        self, revs: Mapping[str, str | None], login: LoginOf = no_login, going_on: GoingOn = lambda: None
    ) -> Found:
        """The commits of these, fetched as far as they are not here: rev -> the commit to which it is pinned, or None
        where its server says what it means now. The server is asked once, and not at all where `kept` knows everything.
        `login` is
        called if it wants to know who asks; `going_on` often. What they raise ends all of it, and is raised.

        Raises LianError `git-unreachable`, `git-login-missing` and the like (git_remote.Talk), `disk-full`,
        `cache-unusable`. What is wrong with one of them alone stands in the result: `git-rev-unknown` and the like.
        """
        cuts: list[Cut] = []
        for _ in range(_TRIES):
            # a ref may have moved since it was told; if not, something may be wrong with what is here
            self._bare.locked(self._empty if len(cuts) > 1 else self._prepare)
            try:
                return self._read(revs, login, going_on)
            except _Replaced:
                continue
            except Cut as error:
                cuts.append(error)
                if len(cuts) == _CUTS:
                    break
        raise LianError(unreachable(self._url, str(cuts[-1] if cuts else "other processes replace it over and over")))

    def refs(self, login: LoginOf = no_login, going_on: GoingOn = lambda: None) -> Refs:
        """What its server tells. Nothing is fetched. Raises LianError as `read`."""
        self._bare.locked(self._prepare)
        return Talk(self._url, self._bare.current, login, going_on).refs

    def again(self, commit: str, login: LoginOf = no_login) -> pygit2.Repository:
        """Fetch a commit into an empty folder, since an object of it is lost or damaged. Raises LianError as `read`,
        and `git-rev-unknown` where it is gone at its source."""

        self._bare.locked(self._empty)
        found = self.read({commit: commit}, login)
        if isinstance(problem := found.revisions[commit], Problem):
            raise LianError(problem)
        return found.repository

    def _prepare(self) -> None:
        """A repository that can be fetched into: what is damaged or in too many pieces makes place for an empty one."""
        packs = self._bare.current / "objects" / "pack"
        try:
            if (repository := self._bare.opened()) is not None and len(list(packs.glob("*.pack"))) < MAX_PACKS:
                keep_to_one_host(repository)
                return
        except (pygit2.GitError, ValueError, KeyError):
            pass  # its configuration is damaged
        self._empty()

    def _empty(self) -> None:
        self._bare.anew(lambda folder: keep_to_one_host(pygit2.Repository(str(folder))))

    def _read(self, revs: Mapping[str, str | None], login: LoginOf, going_on: GoingOn) -> Found:
        folder = self._bare.current
        try:
            talk = Talk(self._url, folder, login, going_on)
        except LianError as error:
            raise error if self._bare.current == folder else _Replaced from error
        found: dict[str, Revision | Problem] = {}
        tips: dict[str, Tip] = {}
        for rev, pinned in revs.items():
            try:
                tips[rev] = _tip(rev, pinned, talk.refs)
            except LianError as error:
                found[rev] = error.problems[0]

        def work() -> pygit2.Repository:
            if self._bare.current != folder:
                raise _Replaced
            return _Fetching(self._url, folder, talk, login, going_on).all_of(tips.values())

        wanted = [tip.commit for tip in tips.values()]
        repository = _opened(folder)
        if not all(_look_up(repository, commit) for commit in wanted):
            repository = self._bare.locked(work)
        for rev, tip in tips.items():
            found[rev] = _look_up(repository, tip.commit) or _gone(tip)
        if self._bare.current != folder:  # what was found may have been looked for in what was being removed
            raise _Replaced
        return Found(repository, found)


@dataclass(slots=True)
class _Fetching:
    """Fetches into one folder, which is locked. A talk fetches once; what comes after has one of its own."""

    url: GitUrl
    folder: Path
    talk: Talk | None
    login: LoginOf
    going_on: GoingOn

    def all_of(self, tips: Collection[Tip]) -> pygit2.Repository:
        """What is still missing of these, each without its history if it can be had so. Raises Cut, LianError."""
        missing = [tip for tip in dict.fromkeys(tips) if not self._has(tip)]
        by_ref = [tip for tip in missing if tip.ref]
        if by_ref:
            self._fetch([f"+{tip.ref}:{_KEPT}{tip.commit}" for tip in by_ref], ONE_COMMIT)
        for tip in missing:
            if not tip.ref and not self._has(tip):
                self._by_id(tip)
        return _opened(self.folder)

    def _by_id(self, tip: Tip) -> None:
        """A server need not give what no ref of it leads to; then all that it has may hold it."""
        try:
            self._fetch([f"+{tip.commit}:{_KEPT}{tip.commit}"], ONE_COMMIT)
        except (Unadvertised, Cut):
            self._fetch(list(ALL), ALL_HISTORY)

    def _fetch(self, refspecs: list[str], depth: int) -> None:
        talk = self.talk or Talk(self.url, self.folder, self.login, self.going_on)
        self.talk = None
        talk.fetch(refspecs, depth)

    def _has(self, tip: Tip) -> bool:
        return _look_up(_opened(self.folder), tip.commit) is not None


class _Replaced(Exception):
    """Another process has put another folder in place of this one."""


def _tip(rev: str, pinned: str | None, refs: Refs) -> Tip:
    """Raises LianError."""
    if pinned is None:
        return refs.find(rev)
    return Tip(refs.ref_of(pinned) or "", pinned)


def _opened(folder: Path) -> pygit2.Repository:
    try:
        return pygit2.Repository(str(folder))
    except pygit2.GitError as error:
        raise _Replaced from error


def _look_up(repository: pygit2.Repository, commit: str) -> Revision | None:
    """A commit that is there with its tree."""
    try:
        found = repository.get(commit)
        named = found.peel(pygit2.Commit) if found is not None else None
        return Revision(str(named.id), str(named.tree_id)) if named and named.tree_id in repository else None
    except (KeyError, ValueError, pygit2.GitError):
        return None


def _gone(tip: Tip) -> Problem:
    message = f"there is no commit {tip.commit}"
    if tip.ref:
        message = f"{tip.ref} leads to no commit"
    hint = "see that it was pushed, and that a branch or a tag leads to it"
    return Problem("git-rev-unknown", message, hint=hint, next=Next.RETRY)
