"""`ADD <url>` and `ADD <git reference>`: what a stage fetches by itself (BuildKit: dfgitutil, util/gitutil)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from reconciler.model.git_url import GitUrl, as_commit
from reconciler.model.moving import Part, PartKind

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.desired.dockerfile.environment import StageEnvironment
    from reconciler.desired.dockerfile.instructions import Step

_SCHEME = re.compile(r"([a-zA-Z0-9]+)://")
_SCP = re.compile(r"[a-zA-Z0-9\-_]+@[a-zA-Z0-9\-.]+:.*")
_DEFAULT_REV = "HEAD"


class RemoteKind(StrEnum):
    """How a source is fetched."""

    HTTP = "http"
    GIT = "git"


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A source of an ADD. `location` is None where a variable may come from the base image, so that nobody can tell."""

    written: str
    location: str | None
    kind: RemoteKind | None
    line: int
    pinned: bool = False
    """Whether the Dockerfile itself says what it has to be: by `--checksum`, or a commit's whole id."""

    @property
    def part(self) -> Part | None:
        """Under which name a lock pins it; None where none can: BuildKit also takes URLs that lian reads nothing by,
        such as one with a user in it (GitUrl.parse)."""
        if self.location is None:
            return None
        if self.kind is RemoteKind.HTTP:
            return Part(PartKind.URL, self.location)
        url, _, fragment = self.location.partition("#")
        if "?" in url or not _may_be_asked(url):
            return None
        return Part(PartKind.GIT, url, fragment.partition(":")[0] or _DEFAULT_REV)


def _may_be_asked(url: str) -> bool:
    try:
        GitUrl.parse(url)
    except ValueError:
        return False
    return True


def remote_kind(source: str) -> RemoteKind | None:
    """How a source of ADD is fetched; None for a path in the context."""
    if source.startswith(("./", "../", "github.com/")):
        return None
    scheme = _SCHEME.match(source)
    if scheme is None:
        return RemoteKind.GIT if _SCP.fullmatch(source) else None
    name = scheme[1].lower()
    if name in ("ssh", "git"):
        return RemoteKind.GIT
    if name in ("http", "https") and _path_of(source).endswith(".git"):
        return RemoteKind.GIT
    return RemoteKind.HTTP if source.startswith(("http://", "https://")) else None


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        return ""


def remote_sources(step: Step, environment: StageEnvironment) -> Iterator[RemoteSource]:
    """What an ADD fetches, with the variables that it sees."""
    checked = bool(step.checksum) and environment.known(step.checksum) != ""
    for written in step.adds:
        location = environment.known(written)
        kind = None if location is None else remote_kind(location)
        if kind is not None or (location is None and "$" in written):
            pinned = checked or (location is not None and kind is RemoteKind.GIT and _names_commit(location))
            yield RemoteSource(written, location, kind, step.line, pinned)


def _names_commit(location: str) -> bool:
    """Whether a git source says which commit it is, as a revision or (BuildKit's own) in its query. In lower
    case: what BuildKit finds in upper case is a branch's name to it."""
    url, _, fragment = location.partition("#")
    try:
        query = parse_qs(url.partition("?")[2])
    except ValueError:
        query = {}
    named = (fragment.partition(":")[0], *query.get("checksum", ()), *query.get("commit", ()), *query.get("ref", ()))
    return any(as_commit(rev) == rev for rev in named)
