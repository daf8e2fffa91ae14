"""A bare mirror of a repository that is named by a URL.

One folder per URL below the cache. A lock file of ours serialises fetchers; whoever holds it may sweep what a killed
fetch left behind. The mirror's name is a link to the folder that holds it: a damaged mirror is built anew in another
folder, and one rename of the link puts it in place. (libgit2 shares open packs by path, so the path must be new too.)
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import secrets
import shutil
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

import pygit2
from pygit2.enums import CredentialType, FetchPrune

from reconciler.model.problem import LianError, Next, Problem, redact

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_REFSPECS = ["+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*"]
_LOCK, _LINK = ".lock", ".link"
_NO_SPACE = os.strerror(errno.ENOSPC)
_CONNECT_MS, _IDLE_MS = 15_000, 30_000


class Mirror:
    """The mirror of one URL. Credentials come from the URL or the ssh agent; they are never written to disk."""

    def __init__(self, url: str, cache: Path) -> None:
        self.url, self._user, self._password = _split_credentials(url)
        self.folder = cache.absolute() / "mirrors" / hashlib.sha256(self.url.encode()).hexdigest()[:16]

    def fetch(self) -> pygit2.Repository:
        """The mirror, brought up to date: all branches and tags, those gone at the source removed, HEAD as there.

        Raises LianError `source-unreachable` (also for refused credentials), `disk-full`, `cache-unusable`.
        """
        return self._locked(self._fetched)

    def opened(self) -> pygit2.Repository:
        """The mirror as it is; fetched if there is none. Raises as `fetch` does."""
        with contextlib.suppress(pygit2.GitError):
            return pygit2.Repository(str(self.folder.resolve()))
        return self.fetch()

    def rebuild(self) -> pygit2.Repository:
        """The mirror, fetched anew because an object of it was missing or damaged. Raises as `fetch` does."""
        return self._locked(self._fresh)

    def _locked(self, work: Callable[[], pygit2.Repository]) -> pygit2.Repository:
        try:
            self.folder.parent.mkdir(parents=True, exist_ok=True)
            with self._alone():
                self._sweep()
                return work()
        except OSError as error:
            raise LianError(_disk(self.folder, error)) from error

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Only one fetcher of this mirror at a time, on this machine. The lock falls with its process."""
        descriptor = os.open(self.folder.with_suffix(_LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _sweep(self) -> None:
        """Remove what killed fetches left: no living fetcher owns any of it, since we hold the lock."""
        current = self.folder.resolve()
        for left in self.folder.parent.glob(f"{self.folder.name}.*"):
            if left.suffix == _LINK:
                left.unlink()
            elif left.suffix != _LOCK and left != current:
                shutil.rmtree(left, ignore_errors=True)
        for folder, _, names in os.walk(current):
            for name in names:
                if name.endswith(".lock") or name.startswith(("pack_git2_", "tmp_")):
                    Path(folder, name).unlink(missing_ok=True)

    def _fetched(self) -> pygit2.Repository:
        if self.folder.exists():
            with contextlib.suppress(_Damaged):
                return self._update(self.folder.resolve())
        return self._fresh()

    def _fresh(self) -> pygit2.Repository:
        fresh = self.folder.with_suffix(f".{secrets.token_hex(4)}")
        try:
            pygit2.init_repository(str(fresh), bare=True)
            repository = self._update(fresh)
            self._switch(fresh)
        except (_Damaged, pygit2.GitError) as error:
            shutil.rmtree(fresh, ignore_errors=True)
            raise LianError(self._failed(error)) from error
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        return repository

    def _switch(self, fresh: Path) -> None:
        """Point the mirror's name at the fresh folder, in one step, and let the old one go."""
        old, link = self.folder.resolve(), self.folder.with_suffix(_LINK)
        link.symlink_to(fresh.name)
        link.replace(self.folder)
        if old not in {fresh, self.folder}:
            shutil.rmtree(old, ignore_errors=True)

    def _update(self, folder: Path) -> pygit2.Repository:
        """Fetch into `folder`. Raises _Damaged if the fault lies in what `folder` holds, else LianError."""
        callbacks = _Callbacks(self._user, self._password)
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
            if _NO_SPACE in str(error):
                raise LianError(_full(folder)) from error
            self._connect(remote, callbacks)  # if the source is gone, that is the reason, not the mirror
            raise _Damaged(str(error)) from error
        return repository

    def _connect(self, remote: pygit2.Remote, callbacks: _Callbacks) -> list[pygit2.remotes.RemoteHead]:
        pygit2.settings.server_connect_timeout = _CONNECT_MS
        pygit2.settings.server_timeout = _IDLE_MS
        callbacks.offered = False
        try:
            remote.connect(callbacks=callbacks, proxy=True)
            return list(remote.list_heads(callbacks=callbacks, connect=False))
        except (pygit2.GitError, KeyError, ValueError, OSError) as error:
            raise LianError(self._failed(error)) from error

    def _failed(self, error: Exception) -> Problem:
        if _NO_SPACE in str(error):
            return _full(self.folder)
        hint = "check the URL, the network and the credentials: a key in the ssh agent, or a token in the URL"
        message = f"{redact(self.url)} cannot be fetched"
        return Problem("source-unreachable", message, cause=str(error), hint=hint, next=Next.RETRY)


class _Damaged(Exception):
    """The mirror cannot be brought up to date as it is."""


class _Callbacks(pygit2.RemoteCallbacks):
    """Offers each credential once: a refused one must not be offered for ever."""

    def __init__(self, user: str | None, password: str | None) -> None:
        super().__init__()
        self._user, self._password, self.offered = user, password, False

    def credentials(
        self, url: str, username_from_url: str | None, allowed_types: CredentialType
    ) -> pygit2.Username | pygit2.UserPass | pygit2.KeypairFromAgent:
        user = username_from_url or self._user or "git"
        if allowed_types & CredentialType.USERNAME:
            return pygit2.Username(user)
        if self.offered:
            raise pygit2.GitError("the credentials were refused")
        self.offered = True
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


def _full(folder: Path) -> Problem:
    return Problem("disk-full", f"there is no space left for the mirror at {folder}", hint="free some space")


def _disk(folder: Path, error: OSError) -> Problem:
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return _full(folder)
    hint = "give another cache folder, or make this one writable"
    return Problem("cache-unusable", f"the mirror at {folder} cannot be written", cause=error.strerror, hint=hint)
