"""What a pass reads of other repositories: the commits that git contexts mean, and their trees.

Each repository is asked once in a pass, several at a time, and not at all where every commit is fixed and here. What
cannot be had is a problem of the contexts that name it and of nothing else: unknown is never absent.
"""

from __future__ import annotations

import asyncio
import threading
from collections import defaultdict
from concurrent.futures import CancelledError
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from reconciler.desired.clone import Clone, told
from reconciler.desired.contexts import Contexts
from reconciler.desired.git_apart import no_login
from reconciler.desired.git_remote import Failed, Login, Why
from reconciler.desired.inputs import Side
from reconciler.desired.tree import CommitTree, GitObjects
from reconciler.finishing import all_of, to_its_end
from reconciler.model.desired import Origin
from reconciler.model.git_url import GitUrl, as_commit
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.secret import Secret
from reconciler.model.wording import short

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
    from concurrent.futures import Future
    from pathlib import Path

    import pygit2

    from reconciler.desired.git import Revision
    from reconciler.desired.git_apart import LoginOf
    from reconciler.desired.git_revs import Refs
    from reconciler.desired.memo import Memo
    from reconciler.model.credential import SourceRef
    from reconciler.model.git_url import GitAccess

AT_ONCE = 8
"""Repositories that are asked at a time."""
_REFUSED = "git-url-refused"

Place: TypeAlias = "tuple[str, str]"
"""URL and `rev` of a git context, as its directive writes them."""
Read: TypeAlias = "Callable[[SourceRef, str, str], Awaitable[Secret]]"
"""What reads a credential: where it lies, what for, and for which host."""


@dataclass(frozen=True, slots=True)
class _Commit:
    """A commit of another repository, and what reads its objects."""

    revision: Revision
    objects: HealingObjects


@dataclass(slots=True)
class Foreign:
    """Other repositories, as this machine's cache holds them and their servers tell. `credential` reads what the
    fleet's owner has bound."""

    cache: Path
    credential: Read
    _known: dict[tuple[str, str, str | None], _Commit | Problem] = field(default_factory=dict)
    """URL, rev, and the commit that it is pinned to, if it is -> what that is in this pass, of which each commit may
    have a lock of its own."""

    _healing: set[Future[pygit2.Repository]] = field(default_factory=set)
    """What threads wait for, that is fetched anew."""
    _talks: set[asyncio.Task[Any]] = field(default_factory=set)
    """What fetches it."""

    def call_off(self) -> None:
        """No thread waits any more for what is fetched anew."""
        for asked in tuple(self._healing):
            asked.cancel()

    async def called_off(self) -> None:
        """Once it is, this waits until nothing of it is left: a talk has a process to end."""
        while self._talks:
            await to_its_end(asyncio.wait(set(self._talks)))

    async def _again(self, clone: Clone, commit: str, login: LoginOf) -> pygit2.Repository:
        task = asyncio.current_task()
        assert task is not None
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)
        return await clone.again(commit, login)

    def forget(self) -> None:
        """A new pass: servers may say something else now."""
        self._known.clear()

    async def sides(
        self,
        places: Collection[Place],
        access: GitAccess,
        memo: Memo,
        pinned: Callable[[str, str], str | None] = lambda url, rev: None,
    ) -> dict[Place, Side | Problem]:
        """Each place's commit, ready to be read, or why it cannot be. `pinned` says to which commit a URL and a rev are
        pinned, if they are; nobody is asked for those that are here."""
        fixed_to = {(url, rev): as_commit(rev) or pinned(url, rev) for url, rev in places}
        wanted: dict[str, dict[str, str | None]] = defaultdict(dict)
        for (url, rev), commit in fixed_to.items():
            if (url, rev, commit) not in self._known:
                wanted[url][rev] = commit
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(url: str, revs: Mapping[str, str | None]) -> None:
            async with gate:
                found = await self._commits(url, revs, access)
            self._known.update({(url, rev, revs[rev]): each for rev, each in found.items()})

        await all_of(one(url, revs) for url, revs in wanted.items())
        return {place: _side(place, self._known[*place, commit], memo) for place, commit in fixed_to.items()}

    async def commits(self, places: Iterable[Place], access: GitAccess) -> dict[Place, str | Problem]:
        """What each means now: a commit's id, or why that is not known. For those who pin: nothing is fetched, and each
        repository is asked once."""
        wanted: dict[str, list[str]] = defaultdict(list)
        for url, rev in dict.fromkeys(places):
            wanted[url].append(rev)
        gate = asyncio.Semaphore(AT_ONCE)

        async def one(url: str, revs: list[str]) -> dict[Place, str | Problem]:
            known: dict[Place, str | Problem] = {(url, rev): as_commit(rev) or "" for rev in revs}
            moving = [rev for rev in revs if not known[url, rev]]
            async with gate:
                try:
                    refs = await self._refs(url, access) if moving else None
                except LianError as error:
                    return known | {(url, rev): error.problems[0] for rev in moving}
            return known | {(url, rev): _tip(refs, rev, url) for rev in moving if refs}

        found = await all_of(one(url, revs) for url, revs in wanted.items())
        return {place: commit for each in found for place, commit in each.items()}

    async def _refs(self, url: str, access: GitAccess) -> Refs:
        parsed = _parsed(url)
        try:
            return await Clone(parsed, self.cache).refs(self._asked_for(parsed, access))
        except LianError as error:
            raise LianError(_of_access(error.problems[0], access)) from error

    async def _commits(
        self, url: str, revs: Mapping[str, str | None], access: GitAccess
    ) -> dict[str, _Commit | Problem]:
        try:
            parsed = _parsed(url)
            clone, login = Clone(parsed, self.cache), self._asked_for(parsed, access)
            known = {rev: commit for rev, commit in revs.items() if commit}
            found = await asyncio.to_thread(clone.kept, known) if len(known) == len(revs) else None
            if found is None:
                found = await clone.read(revs, login)
        except LianError as error:
            return dict.fromkeys(revs, _of_the_world(_of_access(error.problems[0], access)))

        repository, loop = found.repository, asyncio.get_running_loop()

        def again(commit: str) -> pygit2.Repository:
            """From a thread."""
            asked = asyncio.run_coroutine_threadsafe(self._again(clone, commit, login), loop)
            self._healing.add(asked)
            try:
                return asked.result()
            except CancelledError as error:
                raise LianError(told(parsed, Failed(Why.UNREACHABLE, "it was called off"))) from error
            finally:
                self._healing.discard(asked)

        def read(revision: Revision) -> _Commit:
            return _Commit(revision, HealingObjects(repository, lambda: again(revision.commit)))

        return {
            rev: _said_of(each, url) if isinstance(each, Problem) else read(each)
            for rev, each in found.revisions.items()
        }

    def _asked_for(self, url: GitUrl, access: GitAccess) -> LoginOf:
        """What is bound to the place: nothing is read, and no command run, before its server asks for it."""
        source = access.of(url)
        return no_login if source is None else partial(self._login, url, source)

    async def _login(self, url: GitUrl, source: SourceRef) -> Login:
        """Raises LianError."""
        what = "key" if url.by_ssh else "login"
        text = (await self.credential(source, f"the {what} of {url.host}", url.host)).reveal()
        if url.by_ssh:
            return Login(Secret(f"{text}\n"), is_key=True)  # a key ends with a line's end
        user, colon, password = (source.user, ":", text) if source.user else text.partition(":")
        return Login(Secret(password if colon else text), user if colon else None)


class HealingObjects:
    """Those of a repository (see tree.Objects). Where one is lost or damaged, `again` fetches the commit anew, once."""

    def __init__(self, repository: pygit2.Repository, again: Callable[[], pygit2.Repository]) -> None:
        self._objects = GitObjects(repository)
        self._again: Callable[[], pygit2.Repository] | None = again
        self._lock = threading.Lock()

    def read(self, object_id: str) -> bytes:
        """See Objects. Also what fetching raises."""
        objects = self._objects
        try:
            return objects.read(object_id)
        except LianError:
            return self._healed(objects).read(object_id)

    def view(self, blob_id: str) -> memoryview:
        """See Objects. Also what fetching raises."""
        objects = self._objects
        try:
            return objects.view(blob_id)
        except LianError:
            return self._healed(objects).view(blob_id)

    def size(self, blob_id: str) -> int:
        """See Objects. Also what fetching raises."""
        objects = self._objects
        try:
            return objects.size(blob_id)
        except LianError:
            return self._healed(objects).size(blob_id)

    def _healed(self, damaged: GitObjects) -> GitObjects:
        with self._lock:
            if self._objects is damaged and self._again is not None:
                again, self._again = self._again, None
                self._objects = GitObjects(again())
            return self._objects


async def unbound(source: SourceRef, purpose: str, host: str) -> Secret:
    """For where nobody reads credentials. Raises LianError `credential-missing`."""
    del host
    raise LianError(Problem("credential-missing", f"{purpose} is read by nobody here ({source.name})"))


def _parsed(url: str) -> GitUrl:
    """Raises LianError `git-url-refused`."""
    try:
        return GitUrl.parse(url)
    except ValueError as error:
        hint = "write https://HOST/PATH or git@HOST:PATH"
        raise LianError(Problem(_REFUSED, f"{url} is not read: it {error}", hint=hint)) from error


def _side(place: Place, found: _Commit | Problem, memo: Memo) -> Side | Problem:
    if isinstance(found, Problem):
        return found
    url, rev = place
    commit = found.revision.commit
    origin = Origin(url, rev, commit)
    called = f"commit {short(commit)} of {url}"
    tree = CommitTree(found.objects, found.revision.tree, called, origin.shown(""))
    return Side(tree, Contexts(tree, memo), origin)


def _tip(refs: Refs, rev: str, url: str) -> str | Problem:
    try:
        return refs.find(rev).commit
    except LianError as error:
        return _said_of(error.problems[0], url)


def _of_access(problem: Problem, access: GitAccess) -> Problem:
    """The problem, with what to do where it is not lian.ncl that lacks a login."""
    if access.heeded or problem.code != "git-login-missing":
        return problem
    hint = "with --registry (LIAN_REGISTRY) no login counts that lian.ncl binds: leave it out where that was reviewed"
    return replace(problem, hint=hint)


def _of_the_world(problem: Problem) -> Problem:
    """What is wrong with a login is no fault of what the commit asks for."""
    return problem if problem.next is not Next.PERSON or problem.code == _REFUSED else replace(problem, next=Next.HOLD)


def _said_of(problem: Problem, url: str) -> Problem:
    """What is wrong in a repository, with its URL."""
    return replace(problem, message=f"{url}: {problem.message}")
