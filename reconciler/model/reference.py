"""Where an image lives: repository, tag, digest (OCI distribution-spec; docker reference grammar).

They are tuples, as names and digests are: a plan of ten thousand artifacts hashes and compares them a million times.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from reconciler.model.digest import Digest

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])(?::[0-9]{1,5})?"
)
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_LAYOUT = "oci-layout:"
MAX_NAME = 255


class Repository(NamedTuple):
    """A repository on a registry: `host` is `HOST[:PORT]`, or `oci-layout:PATH` for a folder on disk."""

    host: str
    path: str

    @classmethod
    def parse(cls, text: str, default_host: str) -> Repository:
        """`[HOST[:PORT]/]PATH`; without a host the repository is on `default_host`.

        As docker does, the first part is a host if it holds a dot or a colon or is `localhost`.
        Raises ValueError naming the offending part.
        """
        first, slash, rest = text.partition("/")
        if slash and (any(sign in first for sign in ".:[") or first == "localhost"):
            host, path = first, rest
            if not _HOST.fullmatch(host):
                raise ValueError(f"{host!r} is not a registry host")
        else:
            host, path = default_host, text
        if not _PATH.fullmatch(path):
            raise ValueError(f"{path!r} is not a repository path: lower-case letters, digits, and . _ - between them")
        if len(path) > MAX_NAME:
            raise ValueError(f"a repository path has at most {MAX_NAME} characters, this one {len(path)}")
        return cls(host, path)

    @property
    def layout(self) -> str | None:
        """The folder of an on-disk registry, or None for one that is reached over HTTP."""
        return self.host.removeprefix(_LAYOUT) if self.host.startswith(_LAYOUT) else None

    def __str__(self) -> str:
        return f"{self.host}/{self.path}"


class Reference(NamedTuple):
    """A repository with a tag, a digest, or (as people write pins) both; the digest decides."""

    repository: Repository
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """A reference as docker users write it: `python:3.12` is `docker.io/library/python:3.12`, no tag is `latest`.

        Raises ValueError naming the offending part.
        """
        name, at, digest = text.partition("@")
        head, colon, tag = name.rpartition(":")
        if not colon or "/" in tag:
            head, colon, tag = name, "", ""
        if colon and not _TAG.fullmatch(tag):
            raise ValueError(f"{tag[:140]!r} is not a tag")
        repository = Repository.parse(head, "docker.io")
        if repository.host in {"index.docker.io", "registry-1.docker.io"}:
            repository = Repository("docker.io", repository.path)
        if repository.host == "docker.io" and "/" not in repository.path:
            repository = Repository("docker.io", f"library/{repository.path}")
        parsed = Digest.parse(digest) if at else None
        return cls(repository, tag or (None if parsed else "latest"), parsed)

    @property
    def name(self) -> str:
        """What stands in a manifest URL: the digest where there is one, else the tag."""
        return str(self.digest) if self.digest else (self.tag or "latest")

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.repository}{tag}{digest}"
