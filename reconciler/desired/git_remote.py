"""One talk with a git server, whoever named it: what its refs are, and what is fetched of it. In a process of its own
(git_apart.py), for libgit2 cannot be called off.

libgit2 speaks: no program is run, no option can be smuggled in, nothing of the user's git configuration names a
credential (git_work.py has it read none). A login goes to the server that the URL names and to no other: wherever a
server sends on, nothing is offered. Servers are known by the system's authorities and the user's known_hosts; one that
is not known is not spoken to.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pygit2
from pygit2.enums import CredentialType, FetchPrune

from reconciler.desired.bare import out_of_space
from reconciler.model.problem import LianError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from reconciler.model.secret import Secret

ALL = ("+refs/heads/*:refs/heads/*", "+refs/tags/*:refs/tags/*")
ONE_COMMIT = 1
ALL_HISTORY = (1 << 31) - 1
"""As git asks for it where a part is there already (git-fetch(1), --unshallow)."""

_CONNECT_MS, _IDLE_MS = 15_000, 30_000
"""How long a server may take until it answers, and then between two of its answers. How long all of it may take is the
business of whoever started this process."""
_REDIRECTS = "http.followRedirects"
_UNADVERTISED = "cannot fetch a specific object"
"""What libgit2 says of a server that gives no commit but those that its refs name."""
_USER = "git"
_TOKEN_USER = "x-access-token"
"""Forges look at the token alone; GitHub asks for this name beside an app's."""
_LIBGIT2 = (pygit2.GitError, KeyError, ValueError, OSError)


@dataclass(frozen=True, slots=True)
class Login:
    """A password or token for `user`; or a private key, for ssh."""

    secret: Secret
    user: str | None = None
    is_key: bool = False


class Why(StrEnum):
    """Why there is no talk."""

    UNREACHABLE = "unreachable"
    LOGIN_MISSING = "login-missing"
    LOGIN_REFUSED = "login-refused"
    REDIRECTED = "redirected"
    """Its cause is the URL that it leads to."""
    HOST_UNKNOWN = "host-unknown"


class Failed(Exception):
    """There is no talk with the server; `cause` is what libgit2 says, if it was that."""

    def __init__(self, why: Why, cause: str) -> None:
        super().__init__(cause)
        self.why, self.cause = why, cause


class Unadvertised(Exception):
    """The server does not give this commit by its id alone."""


class Cut(Exception):
    """The server ended the talk in its middle: what was to be fetched is gone from it, say."""


@dataclass(frozen=True, slots=True)
class Server:
    """One that is talked with: `url` without a password in it, `user` of ssh where it names one. `login` is called once
    the server asks for one, and not before. It may send `most` bytes in one fetch. `at` hears when it is asked for its
    refs (`listing`), and when it has told them (`work`)."""

    url: str
    user: str | None
    login: Callable[[], Login | None]
    most: int
    at: Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Head:
    """A ref as its server tells it: its full name, the commit or tag it leads to, and the ref that it stands for."""

    name: str
    id: str
    stands_for: str | None


def keep_to_one_host(repository: pygit2.Repository) -> None:
    """What is fetched into it follows no redirect to another host: that is what libgit2 makes of this setting. Raises
    pygit2.GitError for a configuration that cannot be read."""
    settings = repository.config
    if _REDIRECTS not in settings or settings.get_bool(_REDIRECTS):
        settings[_REDIRECTS] = False


class Talk:
    """A connection from the repository at `folder`, into which is fetched."""

    def __init__(self, server: Server, folder: Path) -> None:
        """Raises Failed; LianError `disk-full`, and what reading the login raises."""
        pygit2.settings.server_connect_timeout, pygit2.settings.server_timeout = _CONNECT_MS, _IDLE_MS
        self._folder = folder
        self._callbacks = _Callbacks(server)
        server.at("listing")
        try:
            repository = pygit2.Repository(str(folder))
            self._remote = repository.remotes.create_anonymous(server.url)
            self._remote.connect(callbacks=self._callbacks, proxy=True)
            heads = self._remote.list_heads(connect=False)
        except _LIBGIT2 as error:
            self._raise_full(error)
            unknown = isinstance(error, pygit2.CertificateError)
            raise Failed(Why.HOST_UNKNOWN if unknown else Why.UNREACHABLE, _said(error)) from error
        server.at("work")
        self.heads = tuple(Head(head.name or "", str(head.oid), head.symref_target) for head in heads)

    def fetch(self, refspecs: list[str], depth: int) -> None:
        """Raises Unadvertised, Cut, Failed; LianError `disk-full` and what reading the login raises."""
        try:
            self._remote.fetch(refspecs, depth=depth, callbacks=self._callbacks, proxy=True)
        except _LIBGIT2 as error:
            self._raise_full(error)
            raise (Unadvertised if _UNADVERTISED in str(error) else Cut)(str(error)) from error

    def fetch_all(self) -> None:
        """All branches and tags, and away with those that the server has no more. Raises as `fetch`."""
        try:
            self._remote.fetch(list(ALL), callbacks=self._callbacks, prune=FetchPrune.PRUNE, proxy=True)
        except _LIBGIT2 as error:
            self._raise_full(error)
            raise Cut(str(error)) from error

    def _raise_full(self, error: Exception) -> None:
        if full := out_of_space(error, self._folder):
            raise LianError(full) from error


def _said(error: Exception) -> str:
    """What libgit2 says, and what it means where that is no word of git's."""
    said = str(error)
    if "content-type" not in said:
        return said
    return (
        f"what answers does not speak git's protocol over HTTP: a web server of files, or a page, is not read ({said})"
    )


class _Callbacks(pygit2.RemoteCallbacks):
    """Offers a login once to each URL that asks; a refused one must not be offered for ever."""

    def __init__(self, server: Server) -> None:
        super().__init__()
        self._server = server
        self._offered: set[str] = set()

    def certificate_check(self, certificate: None, valid: bool, host: bytes) -> bool:
        """`valid` is libgit2's own verdict; left to pygit2, any key of an ssh server is good."""
        del certificate, host
        return valid

    def transfer_progress(self, stats: pygit2.remotes.TransferProgress) -> None:
        """What has arrived. Raises Failed."""
        if stats.received_bytes > self._server.most:
            raise Failed(Why.UNREACHABLE, f"it sends more than {self._server.most >> 20:,} MiB")

    def credentials(
        self, url: str, username_from_url: str | None, allowed_types: CredentialType
    ) -> pygit2.Username | pygit2.UserPass | pygit2.KeypairFromAgent | pygit2.KeypairFromMemory:
        """Raises Failed, and what reading the login raises."""
        if not _same_server(url, self._server.url):
            raise Failed(Why.REDIRECTED, url)
        user = username_from_url or self._server.user or _USER
        if allowed_types & CredentialType.USERNAME:
            return pygit2.Username(user)
        if url in self._offered:
            raise Failed(Why.LOGIN_REFUSED, "the credentials were refused")
        self._offered.add(url)
        login = self._server.login()
        if allowed_types & CredentialType.SSH_KEY:
            if login is None:
                return pygit2.KeypairFromAgent(user)
            if login.is_key:
                return pygit2.KeypairFromMemory(user, None, login.secret.reveal(), "")
        if allowed_types & CredentialType.USERPASS_PLAINTEXT and login is not None and not login.is_key:
            return pygit2.UserPass(login.user or _TOKEN_USER, login.secret.reveal())
        raise Failed(Why.LOGIN_MISSING, "the server asks for credentials, and none are at hand")


def _same_server(one: str, other: str) -> bool:
    """Whether two URLs are of one server, which knows the same credentials."""
    try:
        first, second = ((parts.scheme, parts.hostname, parts.port) for parts in (urlsplit(one), urlsplit(other)))
    except ValueError:
        return False
    return first == second or "://" not in one + other
