"""What a registry that is a folder on disk holds as a whole."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.model.reference import Repository
from reconciler.providers.registry.layout.folder import BLOBS, INDEX, MARK, folder_of
from reconciler.providers.registry.layout.index import tag_of
from reconciler.providers.registry.layout.registry import LayoutRegistry, told, unreadable

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from reconciler.model.digest import Digest


class LayoutInventory:
    """The port Inventory on disk: repositories are the folders that hold a layout. `root` holds them."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._registry = LayoutRegistry(root)

    async def repositories(self, host: str) -> tuple[str, ...]:
        """See the port; empty where nothing was ever published."""
        return await asyncio.to_thread(self._repositories, host)

    async def tags_of(self, repository: Repository) -> Mapping[str, Digest]:
        """See the port. Raises LianError `registry-damaged`, …"""
        return await asyncio.to_thread(self._tags, repository)

    async def all_names(self, repositories: Collection[Repository]) -> Mapping[Repository, tuple[str, ...]]:
        """See the port."""
        return {repository: tuple(tags) for repository, tags in (await self.all_tags(repositories)).items()}

    async def all_tags(self, repositories: Collection[Repository]) -> Mapping[Repository, Mapping[str, Digest]]:
        """`tags` of many repositories. Raises LianError as it does."""
        return await asyncio.to_thread(lambda: {repository: self._tags(repository) for repository in repositories})

    def _repositories(self, host: str) -> tuple[str, ...]:
        with told(self._root):
            return tuple(sorted(_paths(self._root, host)))

    def _tags(self, repository: Repository) -> Mapping[str, Digest]:
        folder = self._registry.folder(repository)
        with told(self._root), unreadable(folder):
            index = folder.index()
            if index is None:
                return {}
            tags = {tag for entry in index.entries if (tag := tag_of(entry)) is not None}
            return {tag: descriptor.digest for tag, descriptor in index.tagged(tags).items()}


def _paths(root: Path, host: str) -> Iterator[str]:
    """Repositories lie inside one another; a layout's own parts, and what no repository can be called, are passed by.
    Raises OSError, but not for what is not there, or no longer."""
    for folder, below, files in os.walk(root, onerror=_refused):
        below[:] = [name for name in below if name != BLOBS]
        path = "/".join(name.removeprefix("_") for name in Path(folder).relative_to(root).parts)
        if (
            (INDEX in files or MARK in files)
            and _named(path)
            and folder_of(root, Repository(host, path)) == Path(folder)
        ):
            yield path


def _refused(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _named(path: str) -> bool:
    """True for what can be a repository's path."""
    try:
        return Repository.parse(f"localhost/{path}", "").path == path
    except ValueError:
        return False
