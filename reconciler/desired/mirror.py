"""A bare mirror of a repository that is named by a URL: all of its branches and tags."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from reconciler.desired.bare import BareFolder
from reconciler.desired.git_apart import Limits, done
from reconciler.desired.git_remote import Failed, Login, Why
from reconciler.model.problem import LianError, Next, Problem, redact
from reconciler.model.secret import Secret

if TYPE_CHECKING:
    from pathlib import Path

    import pygit2


class Mirror:
    """The mirror of one URL. Credentials come from the URL or the ssh agent; they are never written to disk."""

    def __init__(self, url: str, cache: Path, limits: Limits | None = None) -> None:
        self.url, self._user, self._password = _split_credentials(url)
        name = hashlib.sha256(self.url.encode()).hexdigest()[:16]
        self._bare = BareFolder(cache.absolute() / "mirrors" / name)
        self._limits = limits or Limits()

    @property
    def folder(self) -> Path:
        """Its name in the cache: a link to the folder that holds it."""
        return self._bare.folder

    async def fetch(self) -> pygit2.Repository:
        """The mirror, brought up to date: all branches and tags, those gone at the source removed, HEAD as there.

        Raises LianError `source-unreachable` (also for refused credentials), `disk-full`, `cache-unusable`.
        """
        return await self._done("mirror")

    async def rebuild(self) -> pygit2.Repository:
        """The mirror, fetched anew because an object of it was missing or damaged. Raises as `fetch` does."""
        return await self._done("rebuild")

    def opened(self) -> pygit2.Repository:
        """The mirror as it was fetched. Raises LianError `source-unreachable` if it is gone."""
        if (repository := self._bare.opened()) is None:
            raise LianError(self._failed(Failed(Why.UNREACHABLE, "its mirror in the cache is gone")))
        return repository

    async def _done(self, kind: str) -> pygit2.Repository:
        try:
            await done(kind, self.url, self._bare.folder, self._login, self._limits, user=self._user)
        except Failed as error:
            raise LianError(self._failed(error)) from error
        return self.opened()

    async def _login(self) -> Login | None:
        return None if self._password is None else Login(Secret(self._password), self._user)

    def _failed(self, error: Failed) -> Problem:
        cause = error.cause
        if error.why is Why.REDIRECTED:
            cause = f"it leads on to {redact(cause)}, where its credentials do not go"
        hint = "check the URL, the network and the credentials: a key in the ssh agent, or a token in the URL"
        message = f"{redact(self.url)} cannot be fetched"
        return Problem("source-unreachable", message, cause=cause, hint=hint, next=Next.RETRY)


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
