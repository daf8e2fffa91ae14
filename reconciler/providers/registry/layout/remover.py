"""Taking away from a registry that is a folder on disk. What may be removed, and when, is in sweep.py."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError
from reconciler.providers.registry import referrers
from reconciler.providers.registry.layout.index import LayoutIndex
from reconciler.providers.registry.layout.registry import LayoutRegistry, told
from reconciler.providers.registry.layout.sweep import GRACE, Sweeper
from reconciler.providers.registry.layout.writing import changing, removing, retiring, save, tidy, unlisting

if TYPE_CHECKING:
    from pathlib import Path

    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.layout.folder import LayoutFolder


class LayoutRemover:
    """The port Remover on disk. `grace` in seconds: what others may just have put is left alone for so long."""

    def __init__(self, root: Path, grace: float = GRACE) -> None:
        self._registry = LayoutRegistry(root)
        self._root, self._sweeper = root, Sweeper(grace)

    async def untag(self, repository: Repository, tag: str) -> None:
        """See the port. Raises LianError `registry-damaged`, `registry-locked`, …"""
        await asyncio.to_thread(self._untag, repository, tag)

    async def delete(self, repository: Repository, digest: Digest) -> None:
        """See the port; also what nothing in the repository reaches any more goes. A manifest that an index names stays
        with it. Raises LianError `registry-damaged`, `registry-locked`, …"""
        await asyncio.to_thread(self._delete, repository, digest)

    def _untag(self, repository: Repository, tag: str) -> None:
        folder = self._registry.folder(repository)
        with told(self._root):
            if folder.index() is None:
                return
            with changing(folder):
                old = folder.index() or LayoutIndex.empty()
                plain = old.untagged(tag)
                new = retiring(folder, old, plain, tag)
                save(folder, old, new)
            if new is not plain:
                tidy(folder, old, self._sweeper)

    def _delete(self, repository: Repository, digest: Digest) -> None:
        folder = self._registry.folder(repository)
        with told(self._root):
            if folder.index() is None:
                return
            with removing(folder), changing(folder):
                old = folder.index() or LayoutIndex.empty()
                new = self._unlisted(folder, old.removed(str(digest)), digest)
                sweep = self._sweeper.plan(folder, new, [digest, *old.dropped(new)])
                save(folder, old, new)
                sweep.carry_out()

    def _unlisted(self, folder: LayoutFolder, index: LayoutIndex, digest: Digest) -> LayoutIndex:
        """The index without this manifest in the list of what it refers to, if it refers to anything."""
        try:
            manifest = folder.manifest(digest)
            subject = referrers.subject_of(manifest) if manifest else None
        except (LianError, ValueError):  # damaged: what it referred to is not known, and it goes all the same
            return index
        return unlisting(folder, index, subject, digest) if subject else index
