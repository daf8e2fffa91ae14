"""What brings a bare mirror up to date, in the process that talks with its server."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import pygit2

from reconciler.desired.git_remote import Cut, Failed, Talk, Why

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.desired.bare import BareFolder
    from reconciler.desired.git_remote import Server


class MirrorWork:
    """That of one URL. Methods return where the mirror lies, and raise Failed; LianError `disk-full`, `cache-unusable`
    and what reading the login raises."""

    def __init__(self, server: Server, bare: BareFolder) -> None:
        self._server, self._bare = server, bare

    def fetch(self) -> Path:
        """Bring it up to date: all branches and tags, those gone at the source removed, HEAD as there."""
        self._bare.locked(self._fetched)
        return self._bare.current

    def rebuild(self) -> Path:
        """Fetch it anew, since an object of it was missing or damaged."""
        self._bare.locked(self._fresh)
        return self._bare.current

    def _fetched(self) -> None:
        if self._bare.folder.exists():
            with contextlib.suppress(_Damaged):
                return self._update(self._bare.current)
        return self._fresh()

    def _fresh(self) -> None:
        try:
            self._bare.anew(self._update)
        except (_Damaged, pygit2.GitError) as error:
            raise Failed(Why.UNREACHABLE, str(error)) from error

    def _update(self, folder: Path) -> None:
        """Fetch into `folder`. Also raises _Damaged if the fault lies in what `folder` holds."""
        try:
            repository = pygit2.Repository(str(folder))
        except pygit2.GitError as error:
            raise _Damaged(str(error)) from error
        talk = Talk(self._server, folder)
        try:
            there = {head.name: head.id for head in talk.heads if _mirrored(head.name)}
            if there != _refs(repository):
                talk.fetch_all()
            _follow_head(repository, talk)
            for tip in there.values():
                _ = repository[tip].type
        except (Cut, pygit2.GitError, KeyError, ValueError) as error:
            Talk(self._server, folder)  # if the source is gone, that is the reason, not the mirror
            raise _Damaged(str(error)) from error


class _Damaged(Exception):
    """The mirror cannot be brought up to date as it is."""


def _mirrored(name: str) -> bool:
    return name.startswith(("refs/heads/", "refs/tags/")) and not name.endswith("^{}")


def _refs(repository: pygit2.Repository) -> dict[str, str]:
    return {n: str(repository.lookup_reference(n).target) for n in repository.listall_references() if _mirrored(n)}


def _follow_head(repository: pygit2.Repository, talk: Talk) -> None:
    """HEAD names the branch that it names at the source; a detached one becomes that commit."""
    for head in talk.heads:
        if head.name == "HEAD":
            repository.set_head(head.stands_for or pygit2.Oid(hex=head.id))
            return
