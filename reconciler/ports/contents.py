"""Ports: what moving parts outside of registries are now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.digest import Digest
    from reconciler.model.problem import Problem


class Contents(Protocol):
    """What URLs have."""

    async def digest(self, url: str) -> Digest:
        """The sha256 of what a URL has now, as BuildKit would fetch it. Raises LianError `url-unreadable`,
        `url-missing`, `url-too-large`, `url-downgraded`."""
        ...


class GitRefs(Protocol):
    """What branches and tags of repositories name."""

    async def commits(self, places: Iterable[tuple[str, str]]) -> Mapping[tuple[str, str], str | Problem]:
        """URL and branch or tag -> the commit, 40 hex digits, that it names now, or why that is not known. Each
        repository is asked once."""
        ...

    def keep(self, pins: Mapping[tuple[str, str], str]) -> None:
        """From the next load on, the source reads these at these commits and all others at what they name then. Until
        then, it reads them as the commit's own lock pins them."""
        ...
