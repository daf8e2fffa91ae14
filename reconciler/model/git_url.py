"""Where a git context lies, as its directive names it, and which credential the fleet's owner has bound to it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.credential import SourceRef

_LABEL = r"[A-Za-z0-9]+(?:-+[A-Za-z0-9]+)*"
_HOST = rf"(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:]+\])"
_USER = r"(?P<user>[A-Za-z0-9][A-Za-z0-9._-]*)@"
_URL = re.compile(rf"(?P<scheme>https|http|git|ssh)://(?:{_USER})?{_HOST}(?::(?P<port>[0-9]{{1,5}}))?/(?P<path>[!-~]*)")
_SCP = re.compile(rf"{_USER}{_HOST}:(?P<path>[!-~]+)")
_PORTS = {"https": 443, "http": 80, "ssh": 22, "git": 9418}
_LOOPBACK = re.compile(r"(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?")
_SIGNS = frozenset("?#\\")
_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


def as_commit(rev: str) -> str | None:
    """The commit that `rev` itself is, if it is a whole id (40 or 64 hex digits, in either case): in lower case, as git
    writes it. Nobody has to be asked for it, and it never comes to mean another one."""
    return found if _COMMIT.fullmatch(found := rev.lower()) else None


@dataclass(frozen=True, slots=True)
class GitUrl:
    """A repository that may be fetched from. `host` is in lower case, without a port where that is the scheme's own;
    `path` has no slash in front."""

    text: str
    scheme: str
    host: str
    path: str
    user: str | None = None

    @classmethod
    def parse(cls, text: str) -> GitUrl:
        """https, http, ssh or git; or `user@host:path`, which is ssh. Raises ValueError with the reason, which ends a
        sentence that begins with the URL.

        What is not one of these is refused: a path of this machine, which no directive may read; a transport that is a
        command; a user or a password in the URL; dots that lead out of a path to which a credential is bound.
        """
        match = _URL.fullmatch(text) or _SCP.fullmatch(text)
        if match is None:
            raise ValueError("is none of https://HOST/PATH, ssh://[USER@]HOST/PATH, USER@HOST:PATH and git://HOST/PATH")
        parts = match.groupdict()
        scheme, path = parts.get("scheme") or "ssh", parts["path"]
        if parts["user"] and scheme != "ssh":
            raise ValueError("names a user, and a login is bound to its host in lian.ncl")
        if _SIGNS & set(path) or path.startswith("-"):
            raise ValueError("has a sign in its path that no path of a repository has")
        if any(step in {".", ".."} for step in unquote(path).split("/")):
            raise ValueError("has dots for a folder in its path")
        port = int(parts.get("port") or _PORTS[scheme])
        if not 0 < port < 1 << 16:
            raise ValueError("has a port beyond all ports")
        host = parts["host"].lower() + (f":{port}" if port != _PORTS[scheme] else "")
        return cls(text, scheme, host, path.lstrip("/"), parts["user"])

    @property
    def by_ssh(self) -> bool:
        """Whether it is reached by ssh."""
        return self.scheme == "ssh"

    @property
    def private(self) -> bool:
        """Whether nobody on the way can read along; on this machine there is nobody."""
        return self.scheme in {"https", "ssh"} or _LOOPBACK.fullmatch(self.host) is not None

    def below(self, place: str) -> bool:
        """Whether it lies at `HOST[:PORT]`, or at `HOST[:PORT]/PATH` or below; by whole names, as they are written."""
        here = f"{self.host}/{self.path}"
        return here in {place, f"{place}.git"} or here.startswith(f"{place}/")

    def __str__(self) -> str:
        """As it was written."""
        return self.text


@dataclass(frozen=True, slots=True)
class GitAccess:
    """How the fleet's owner lets git contexts be read: `HOST[:PORT]`, with or without a path -> where the credential
    lies. `credentials` are for https, `keys` are private keys for ssh."""

    credentials: Mapping[str, SourceRef] = field(default_factory=dict)
    keys: Mapping[str, SourceRef] = field(default_factory=dict)
    heeded: bool = True
    """False where the operator lets nothing count that the settings say of logins; then nothing is bound."""

    def of(self, url: GitUrl) -> SourceRef | None:
        """What is bound nearest to the repository; nothing where anybody could read it on its way."""
        if not url.private:
            return None
        bound = self.keys if url.by_ssh else self.credentials
        return bound[max(near, key=len)] if (near := [place for place in bound if url.below(place)]) else None
