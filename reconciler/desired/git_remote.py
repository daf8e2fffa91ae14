"""One talk with a server that a git context names: what its refs are, and what is fetched of it.

libgit2 speaks: no program is run, no option can be smuggled in, nothing of the user's git configuration names a
credential. A login goes to the server that the URL names and to no other: wherever a server sends on, nothing is
offered. Servers are known by the system's authorities and the user's known_hosts; one that is not known is not
spoken to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import pygit2
from pygit2.enums import CredentialType

from reconciler.desired.bare import out_of_space
from reconciler.desired.git_revs import Refs
from reconciler.desired.git_server import ServerCallbacks, limit_waits, same_server
from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.model.git_url import GitUrl
    from reconciler.model.secret import Secret

LoginOf: TypeAlias = "Callable[[], Login | None]"
"""What gives the login, from a thread, once the server asks for one and not before. It may raise LianError."""
GoingOn: TypeAlias = "Callable[[], None]"
"""What is called between two packets, and raises what is to end the talk (finishing.in_thread)."""

ALL = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
ONE_COMMIT = 1
ALL_HISTORY = (1 << 31) - 1
"""As git asks for it where a part is there already (git-fetch(1), --unshallow)."""

_REDIRECTS = "http.followRedirects"
_UNADVERTISED = "cannot fetch a specific object"
"""What libgit2 says of a server that gives no commit but those that its refs name."""
_USER = "git"
_TOKEN_USER = "x-access-token"
"""Forges look at the token alone; GitHub asks for this name beside an app's."""


@dataclass(frozen=True, slots=True)
class Login:
    """What the fleet's owner has bound to the place: a password or token for `user`, or a private key."""

    secret: Secret
    user: str | None = None


def no_login() -> None:
    """Where none is bound."""


class Unadvertised(Exception):
    """The server does not give this commit by its id alone."""


class Cut(Exception):
    """The server ended the talk in its middle: what was to be fetched is gone from it, say."""


def keep_to_one_host(repository: pygit2.Repository) -> None:
    """What is fetched into it follows no redirect to another host: that is what libgit2 makes of this setting. Raises
    pygit2.GitError for a configuration that cannot be read."""
    settings = repository.config
    if _REDIRECTS not in settings or settings.get_bool(_REDIRECTS):
        settings[_REDIRECTS] = False


class Talk:
    """A connection to `url` from the repository at `folder`, which keeps to one host, and into which is fetched."""

    def __init__(self, url: GitUrl, folder: Path, login: LoginOf, going_on: GoingOn) -> None:
        """Raises LianError `git-unreachable`, `git-login-missing`, `git-login-refused`, `git-host-unknown`, and what
        `login` raises."""
        limit_waits()
        self._url, self._folder = url, folder
        self._callbacks = _Callbacks(url, login, going_on)
        try:
            repository = pygit2.Repository(str(folder))
            self._remote = repository.remotes.create_anonymous(url.text)
            self._remote.connect(callbacks=self._callbacks, proxy=True)
            heads = self._remote.list_heads(connect=False)
        except (pygit2.GitError, KeyError, ValueError, OSError) as error:
            raise LianError(self._failed(error)) from error
        self.refs = Refs.of((head.name, str(head.oid), head.symref_target) for head in heads)

    def fetch(self, refspecs: list[str], depth: int) -> None:
        """Raises Unadvertised, Cut; LianError `disk-full` and those of connecting anew."""
        try:
            self._remote.fetch(refspecs, depth=depth, callbacks=self._callbacks, proxy=True)
        except (pygit2.GitError, KeyError, ValueError, OSError) as error:
            if full := out_of_space(error, self._folder):
                raise LianError(full) from error
            raise (Unadvertised if _UNADVERTISED in str(error) else Cut)(str(error)) from error

    def _failed(self, error: Exception) -> Problem:
        if full := out_of_space(error, self._folder):
            return full
        if isinstance(error, pygit2.CertificateError):
            return _unknown_host(self._url)
        return unreachable(self._url, str(error))


class _Callbacks(ServerCallbacks):
    """Offers a login once to each URL that asks; a refused one must not be offered for ever."""

    def __init__(self, url: GitUrl, login: LoginOf, going_on: GoingOn) -> None:
        super().__init__()
        self._url, self._login, self._going_on = url, login, going_on
        self._offered: set[str] = set()

    def sideband_progress(self, string: str) -> None:
        """What the server says meanwhile."""
        del string
        self._going_on()

    def transfer_progress(self, stats: pygit2.remotes.TransferProgress) -> None:
        """What has arrived."""
        del stats
        self._going_on()

    def credentials(
        self, url: str, username_from_url: str | None, allowed_types: CredentialType
    ) -> pygit2.Username | pygit2.UserPass | pygit2.KeypairFromAgent | pygit2.KeypairFromMemory:
        """Raises LianError."""
        if not same_server(url, self._url.text):
            raise LianError(_redirected(self._url, url))
        user = username_from_url or self._url.user or _USER
        if allowed_types & CredentialType.USERNAME:
            return pygit2.Username(user)
        if url in self._offered:
            raise LianError(_refused(self._url))
        self._offered.add(url)
        login = self._login()
        if allowed_types & CredentialType.SSH_KEY:
            if login is None:
                return pygit2.KeypairFromAgent(user)
            return pygit2.KeypairFromMemory(user, None, login.secret.reveal(), "")
        if allowed_types & CredentialType.USERPASS_PLAINTEXT and login is not None:
            return pygit2.UserPass(login.user or _TOKEN_USER, login.secret.reveal())
        raise LianError(_missing(self._url))


def unreachable(url: GitUrl, cause: str) -> Problem:
    """The server, or a repository on it, cannot be had now."""
    hint = "check the URL and the network; the next pass asks again"
    return Problem("git-unreachable", f"{url} cannot be read", cause=cause, hint=hint, next=Next.RETRY)


def _missing(url: GitUrl) -> Problem:
    message = f"{url} asks for a login, and lian.ncl binds none to it"
    hint = f'bind one in lian.ncl: git.credentials."{url.host}" = {{ source = \'Env, name = "GIT_TOKEN" }}'
    if not url.private:
        hint = "use https: a login does not go where anybody can read it on its way"
    return Problem("git-login-missing", message, hint=hint, next=Next.HOLD)


def _refused(url: GitUrl) -> Problem:
    message = f"{url} refuses the login that lian.ncl binds to it"
    hint = "see that it has not expired, and that it may read this repository"
    if url.by_ssh:
        message = f"{url} refuses the key that it is shown"
        hint = f'bind a key that may read it: git.keys."{url.host}" in lian.ncl; without one the ssh agent\'s are shown'
    return Problem("git-login-refused", message, hint=hint, next=Next.HOLD)


def _redirected(url: GitUrl, to: str) -> Problem:
    message = f"{url} leads on to {to}, which asks for a login, and that of the one does not go to the other"
    return Problem("git-redirected", message, hint="write the URL that it leads to", next=Next.HOLD)


def _unknown_host(url: GitUrl) -> Problem:
    if url.by_ssh:
        message = f"the host key of {url.host} is not the one in known_hosts, or none is there"
        hint = "add the key that its operator publishes to ~/.ssh/known_hosts of the account that runs lian"
    else:
        message = f"{url.host} shows a certificate that is not good"
        hint = "add its authority to the system's, or name a file of authorities in SSL_CERT_FILE"
    return Problem("git-host-unknown", message, hint=hint, next=Next.HOLD)
