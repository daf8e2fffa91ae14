"""A bare mirror of a repository that is named by a URL: all of its branches and tags."""

from __future__ import annotations

import contextlib
import hashlib
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

import pygit2
from pygit2.enums import CredentialType, FetchPrune

from reconciler.desired.bare import BareFolder, out_of_space
from reconciler.desired.git_server import ServerCallbacks, limit_waits, same_server
from reconciler.model.problem import LianError, Next, Problem, redact

if TYPE_CHECKING:
    from pathlib import Path

_REFSPECS = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]


class Mirror:
    """The mirror of one URL. Credentials come from the URL or the ssh agent; they are never written to disk."""

    def __init__(self, url: str, cache: Path) -> None:
        self.url, self._user, self._password = _split_credentials(url)
        name = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self._bare = BareFolder(cache.absolute() / "mirrors" / name)

    @property
    def folder(self) -> Path:
        """Its name in the cache: a link to the folder that holds it."""
        return self._bare.folder

    def fetch(self) -> pygit2.Repository:
        """The mirror, brought up to date: all branches and tags, those gone at the source removed, HEAD as there.

        Raises LianError `source-unreachable` (also for refused credentials), `disk-full`, `cache-unusable`.
        """
        return self._bare.locked(self._fetched)

    def opened(self) -> pygit2.Repository:
        """The mirror as it is; fetched if there is none. Raises as `fetch` does."""
        return self._bare.opened() or self.fetch()

    def rebuild(self) -> pygit2.Repository:
        """The mirror, fetched anew because an object of it was missing or damaged. Raises as `fetch` does."""
        return self._bare.locked(self._fresh)

    def _fetched(self) -> pygit2.Repository:
        if self.folder.exists():
            with contextlib.suppress(_Damaged):
                return self._update(self._bare.current)
        return self._fresh()

    def _fresh(self) -> pygit2.Repository:
        try:
            return self._bare.anew(self._update)
        except (_Damaged, pygit2.GitError) as error:
            raise LianError(self._failed(error)) from error

    def _update(self, folder: Path) -> pygit2.Repository:
        """Fetch into `folder`. Raises _Damaged if the fault lies in what `folder` holds, else LianError."""
        callbacks = _Callbacks(self.url, self._user, self._password)
        try:
            repository = pygit2.Repository(str(folder))
            remote = repository.remotes.create_anonymous(self.url)
        except pygit2.GitError as error:
            raise _Damaged(str(error)) from error
        heads = self._connect(remote, callbacks)
        try:
            there = {h.name: str(h.oid) for h in heads if _mirrored(h.name)}
            if there != _refs(repository):
                remote.fetch(_REFSPECS, callbacks=callbacks, prune=FetchPrune.PRUNE)
            _follow_head(repository, heads)
            for tip in there.values():
                _ = repository[tip].type
        except (pygit2.GitError, KeyError, ValueError) as error:
            if full := out_of_space(error, folder):
                raise LianError(full) from error
            self._connect(remote, callbacks)  # if the source is gone, that is the reason, not the mirror
            raise _Damaged(str(error)) from error
        return repository

    def _connect(self, remote: pygit2.Remote, callbacks: _Callbacks) -> list[pygit2.remotes.RemoteHead]:
        limit_waits()
        callbacks.offered = False
        try:
            remote.connect(callbacks=callbacks, proxy=True)
            return list(remote.list_heads(callbacks=callbacks, connect=False))
        except (pygit2.GitError, KeyError, ValueError, OSError) as error:
            raise LianError(self._failed(error)) from error

    def _failed(self, error: Exception) -> Problem:
        if full := out_of_space(error, self.folder):
            return full
        hint = "check the URL, the network and the credentials: a key in the ssh agent, or a token in the URL"
        message = f"{redact(self.url)} cannot be fetched"
        return Problem("source-unreachable", message, cause=str(error), hint=hint, next=Next.RETRY)


class _Damaged(Exception):
    """The mirror cannot be brought up to date as it is."""


class _Callbacks(ServerCallbacks):
    """Offers each credential once: a refused one must not be offered for ever."""

    def __init__(self, url: str, user: str | None, password: str | None) -> None:
        super().__init__()
        self._url, self._user, self._password, self.offered = url, user, password, False

    def credentials(
        self, url: str, username_from_url: str | None, allowed_types: CredentialType
    ) -> pygit2.Username | pygit2.UserPass | pygit2.KeypairFromAgent:
        user = username_from_url or self._user or "git"
        if allowed_types & CredentialType.USERNAME:
            return pygit2.Username(user)
        if self.offered:
            raise pygit2.GitError("the credentials were refused")
        self.offered = True
        if not same_server(url, self._url):
            raise pygit2.GitError(f"it leads on to {redact(url)}, where its credentials do not go")
        if allowed_types & CredentialType.SSH_KEY and self._password is None:
            return pygit2.KeypairFromAgent(user)
        if allowed_types & CredentialType.USERPASS_PLAINTEXT and self._password is not None:
            return pygit2.UserPass(user, self._password)
        raise pygit2.GitError("the server asks for credentials, and none are at hand")


def _split_credentials(url: str) -> tuple[str, str | None, str | None]:
    """The URL without a password (http: without a user too), the user, the password."""
    parts = urlsplit(url)
    if "://" not in url or "@" not in parts.netloc:
        return url, None, None
    info, _, host = parts.netloc.rpartition("@")
    user, colon, password = info.partition(":")
    netloc = f"{user}@{host}" if parts.scheme == "ssh" else host
    if parts.scheme != "ssh" and not colon:
        password, colon = "", ":"
    return urlunsplit(parts._replace(netloc=netloc)), unquote(user), unquote(password) if colon else None


def _mirrored(name: str | None) -> bool:
    return name is not None and name.startswith(("refs/heads/", "refs/tags/")) and not name.endswith("^{}")


def _refs(repository: pygit2.Repository) -> dict[str, str]:
    return {n: str(repository.lookup_reference(n).target) for n in repository.listall_references() if _mirrored(n)}


def _follow_head(repository: pygit2.Repository, heads: list[pygit2.remotes.RemoteHead]) -> None:
    """HEAD names the branch that it names at the source; a detached one becomes that commit."""
    for head in heads:
        if head.name == "HEAD":
            repository.set_head(head.symref_target or head.oid)
            return
