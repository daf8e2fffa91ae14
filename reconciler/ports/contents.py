"""Ports: what moving parts outside of registries are now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from reconciler.model.digest import Digest


class Contents(Protocol):
    """What URLs have."""

    async def digest(self, url: str) -> Digest:
        """The sha256 of what a URL has now, as BuildKit would fetch it. Raises LianError `url-unreadable`,
        `url-missing`, `url-too-large`, `url-downgraded`."""
        ...


class GitRefs(Protocol):
    """What branches and tags of repositories name."""

    async def commit(self, url: str, rev: str) -> str:
        """The commit, 40 hex digits, that a branch or a tag of a repository names now. Raises LianError for a
        repository that cannot be read, and for a name that it does not have."""
        ...
