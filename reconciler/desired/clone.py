"""The part of another repository that its git contexts need, kept bare in the cache: single commits, not histories.

A commit that is there is never fetched again. One that is not is fetched without its history where the server allows
it: by the ref that leads to it, or by its id; where it does not, everything is fetched. Nothing here is a fact that
lies only here: the folder may be deleted at any time.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pygit2

from reconciler.desired.bare import BareFolder
from reconciler.desired.clone_work import looked_up
from reconciler.desired.git import Revision
from reconciler.desired.git_apart import Limits, as_problem, done, no_login
from reconciler.desired.git_remote import Failed, Why
from reconciler.desired.git_revs import Refs
from reconciler.model.problem import LianError, Next, Problem

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from reconciler.desired.git_apart import LoginOf
    from reconciler.model.git_url import GitUrl

_TRIES = 20
"""How often other processes may put another folder in place."""


@dataclass(frozen=True, slots=True)
class Found:
    """The repository, and for each `rev` the commit it means, with its tree, or why there is none."""

    repository: pygit2.Repository
    revisions: Mapping[str, Revision | Problem]


class Clone:
    """That of one URL. Several processes and threads may use one folder."""

    def __init__(self, url: GitUrl, cache: Path, limits: Limits | None = None) -> None:
        self._url = url
        name = hashlib.sha256(url.text.encode()).hexdigest()[:16]
        self._bare = BareFolder(cache.absolute() / "clones" / name)
        self._limits = limits or Limits()

    def kept(self, commits: Mapping[str, str]) -> Found | None:
        """Without asking anybody: what is here of these (rev -> commit), if all of it is."""
        repository = self._bare.opened()
        found = {rev: looked_up(repository, commit) for rev, commit in commits.items()} if repository else {}
        there = {rev: revision for rev, revision in found.items() if revision}
        return Found(repository, there) if repository and len(there) == len(commits) else None

    async def read(self, revs: Mapping[str, str | None], login: LoginOf = no_login) -> Found:
        """The commits of these, fetched as far as they are not here: rev -> the commit to which it is pinned, or None
        where its server says what it means now. The server is asked once.

        Raises LianError `git-unreachable`, `git-login-missing` and the like, `disk-full`, `cache-unusable`, and what
        `login` raises. What is wrong with one of them alone stands in the result: `git-rev-unknown` and the like.
        """
        return await self._found("read", revs, login)

    async def refs(self, login: LoginOf = no_login) -> Refs:
        """What its server tells. Nothing is fetched. Raises LianError as `read`."""
        return Refs((await self._done("refs", {}, login))["refs"])

    async def again(self, commit: str, login: LoginOf = no_login) -> pygit2.Repository:
        """Fetch a commit into an empty folder, since an object of it is lost or damaged. Raises LianError as `read`,
        and `git-rev-unknown` where it is gone at its source."""
        found = await self._found("again", {commit: commit}, login)
        if isinstance(problem := found.revisions[commit], Problem):
            raise LianError(problem)
        return found.repository

    async def _found(self, kind: str, revs: Mapping[str, str | None], login: LoginOf) -> Found:
        for _ in range(_TRIES):
            result = await self._done(kind, revs, login)
            try:
                repository = pygit2.Repository(result["folder"])
            except pygit2.GitError:  # another process has put another one in its place
                continue
            return Found(repository, {rev: _as_found(each) for rev, each in result["found"].items()})
        raise LianError(told(self._url, Failed(Why.UNREACHABLE, "other processes replace it over and over")))

    async def _done(self, kind: str, revs: Mapping[str, str | None], login: LoginOf) -> dict[str, Any]:
        url = self._url
        try:
            return await done(kind, url.text, self._bare.folder, login, self._limits, user=url.user, revs=dict(revs))
        except Failed as error:
            raise LianError(told(url, error)) from error


def _as_found(document: Mapping[str, Any]) -> Revision | Problem:
    return as_problem(document) if "code" in document else Revision(**document)


def told(url: GitUrl, error: Failed) -> Problem:
    """Why a repository that a git context names cannot be had."""
    match error.why:
        case Why.LOGIN_MISSING:
            return _missing(url)
        case Why.LOGIN_REFUSED:
            return _refused(url)
        case Why.REDIRECTED:
            return _redirected(url, error.cause)
        case Why.HOST_UNKNOWN:
            return _unknown_host(url)
    hint = "check the URL and the network; the next pass asks again"
    return Problem("git-unreachable", f"{url} cannot be read", cause=error.cause, hint=hint, next=Next.RETRY)


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
