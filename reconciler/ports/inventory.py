"""Port: what registries hold as a whole."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository


class Inventory(Protocol):
    """What a registry holds as a whole. Not every registry tells."""

    async def repositories(self, host: str) -> tuple[str, ...]:
        """The paths of all repositories that may be seen, sorted. Raises LianError `catalog-unsupported` where the
        registry has no catalogue (or not for this account), and as `Registry.manifest` does."""
        ...

    async def tags_of(self, repository: Repository) -> Mapping[str, Digest]:
        """Every tag and what it points at, as of now, each asked for by itself; empty for a repository that is not
        there. Raises LianError if a single one could not be read: a list with holes would make what is wanted look
        unwanted."""
        ...

    async def all_names(self, repositories: Collection[Repository]) -> Mapping[Repository, tuple[str, ...]]:
        """The names of all tags, where it does not matter what they point at: fewer requests than `all_tags`. For many
        repositories a registry's own list may answer, which can be a little behind, and leave out the tags of
        referrers' lists and of signatures. Raises LianError if a single list could not be read."""
        ...

    async def all_tags(self, repositories: Collection[Repository]) -> Mapping[Repository, Mapping[str, Digest]]:
        """`tags_of` for many repositories, asked in bulk where the registry can; its list may be a little behind, so
        before something is removed `tags_of` is asked."""
        ...
