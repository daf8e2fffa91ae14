"""What brings a clone up to date, in the process that talks with its server: see `clone`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import pygit2

from reconciler.desired.git import Revision
from reconciler.desired.git_remote import (
    ALL,
    ALL_HISTORY,
    ONE_COMMIT,
    Cut,
    Failed,
    Talk,
    Unadvertised,
    Why,
    keep_to_one_host,
)
from reconciler.desired.git_revs import Refs, Tip
from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from reconciler.desired.bare import BareFolder
    from reconciler.desired.git_remote import Server

MAX_PACKS = 64
"""Each fetch leaves a pack; where there are so many, the next one starts with an empty folder."""
_CUTS, _TRIES = 3, 20
"""How often a server may end a talk in its middle; how often other processes may put another folder in place."""
_KEPT = "refs/lian/"

Read: TypeAlias = "tuple[Path, dict[str, Revision | Problem]]"
"""Where the repository lies, and for each `rev` the commit it means, or why there is none."""


class CloneWork:
    """That of one URL. Methods raise Failed; LianError `disk-full`, `cache-unusable` and what reading the login raises.
    What is wrong with one rev alone stands in the result: `git-rev-unknown` and the like."""

    def __init__(self, server: Server, bare: BareFolder) -> None:
        self._server, self._bare = server, bare

    def read(self, revs: Mapping[str, str | None]) -> Read:
        """The commits of these, fetched as far as they are not here. The server is asked once."""
        cuts: list[Cut] = []
        for _ in range(_TRIES):
            # a ref may have moved since it was told; if not, something may be wrong with what is here
            self._bare.locked(self._empty if len(cuts) > 1 else self._prepare)
            try:
                return self._read(revs)
            except _Replaced:
                continue
            except Cut as error:
                cuts.append(error)
                if len(cuts) == _CUTS:
                    break
        raise Failed(Why.UNREACHABLE, str(cuts[-1] if cuts else "other processes replace it over and over"))

    def again(self, revs: Mapping[str, str | None]) -> Read:
        """The same, into an empty folder."""
        self._bare.locked(self._empty)
        return self.read(revs)

    def refs(self) -> Refs:
        """What its server tells. Nothing is fetched."""
        self._bare.locked(self._prepare)
        return _refs(Talk(self._server, self._bare.current))

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

    def _read(self, revs: Mapping[str, str | None]) -> Read:
        folder = self._bare.current
        try:
            talk = Talk(self._server, folder)
        except Failed as error:
            raise error if self._bare.current == folder else _Replaced from error
        found: dict[str, Revision | Problem] = {}
        tips: dict[str, Tip] = {}
        refs = _refs(talk)
        for rev, pinned in revs.items():
            try:
                tips[rev] = _tip(rev, pinned, refs)
            except LianError as error:
                found[rev] = error.problems[0]

        def work() -> pygit2.Repository:
            if self._bare.current != folder:
                raise _Replaced
            return _Fetching(self._server, folder, talk).all_of(tips.values())

        wanted = [tip.commit for tip in tips.values()]
        repository = _opened(folder)
        if not all(looked_up(repository, commit) for commit in wanted):
            repository = self._bare.locked(work)
        for rev, tip in tips.items():
            found[rev] = looked_up(repository, tip.commit) or _gone(tip)
        if self._bare.current != folder:  # what was found may have been looked for in what was being removed
            raise _Replaced
        return folder, found


@dataclass(slots=True)
class _Fetching:
    """Fetches into one folder, which is locked. A talk fetches once; what comes after has one of its own."""

    server: Server
    folder: Path
    talk: Talk | None

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
        talk = self.talk or Talk(self.server, self.folder)
        self.talk = None
        talk.fetch(refspecs, depth)

    def _has(self, tip: Tip) -> bool:
        return looked_up(_opened(self.folder), tip.commit) is not None


class _Replaced(Exception):
    """Another process has put another folder in place of this one."""


def _refs(talk: Talk) -> Refs:
    return Refs.of((head.name, head.id, head.stands_for) for head in talk.heads)


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


def looked_up(repository: pygit2.Repository, commit: str) -> Revision | None:
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
