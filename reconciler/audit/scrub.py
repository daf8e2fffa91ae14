"""Every byte of images, read and hashed: what `lian verify --deep` adds."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.audit.certainty import DAMAGED
from reconciler.model.fleet import RegistryProvider
from reconciler.model.parts import Parts, below
from reconciler.model.problem import LianError, Problem
from reconciler.ports.registry import GONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.digest import Digest
    from reconciler.model.fleet import RegistrySettings
    from reconciler.model.manifest import Descriptor
    from reconciler.model.reference import Repository
    from reconciler.ports.registry import Registry

BLOBS_AT_ONCE = 4
_ONE_STORE = {RegistryProvider.DISTRIBUTION, RegistryProvider.HARBOR, RegistryProvider.GHCR}
"""Slots that keep a blob once, whichever repositories name it; the others may keep a copy for each."""


@dataclass(slots=True)
class Scrubbed:
    """What became of one image: parts whose bytes are wrong, and what could not be read."""

    damaged: list[Digest] = field(default_factory=list)
    unread: list[Problem] = field(default_factory=list)


@dataclass(slots=True)
class Scrub:
    """Reads what it is shown, each blob once for each place that keeps it. `read` counts bytes of blobs."""

    registry: Registry
    registries: Mapping[str, RegistrySettings]
    """Host -> settings."""
    read: int = 0
    _gate: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(BLOBS_AT_ONCE))
    _locks: dict[tuple[str, Digest], asyncio.Lock] = field(default_factory=dict)
    _answers: dict[tuple[str, Digest], bool | LianError] = field(default_factory=dict)

    async def image(self, repository: Repository, root: Digest) -> Scrubbed:
        """All of one image that is there. What is missing is passed over: `Registry.missing` tells it."""
        result = Scrubbed()
        open_, seen = [root], {root}
        blobs: dict[Digest, Descriptor] = {}
        while open_:
            parts = await self._manifest(repository, open_.pop(), result)
            blobs |= {blob.digest: blob for blob in parts.blobs}
            fresh = [child.digest for child in parts.manifests if child.digest not in seen]
            seen.update(fresh)
            open_ += fresh
        async with asyncio.TaskGroup() as group:
            for blob in blobs.values():
                group.create_task(self._blob(repository, blob, result))
        result.damaged.sort()
        return result

    async def _manifest(self, repository: Repository, digest: Digest, result: Scrubbed) -> Parts:
        try:
            return below(await self.registry.manifest(repository, digest))
        except LianError as error:
            _sort(error, digest, result)
        except ValueError as error:
            message = f"the manifest {digest.short} in {repository} cannot be followed"
            result.unread.append(Problem("manifest-unreadable", message, cause=str(error)))
        return Parts()

    async def _blob(self, repository: Repository, blob: Descriptor, result: Scrubbed) -> None:
        key = (self._store(repository), blob.digest)
        async with self._locks.setdefault(key, asyncio.Lock()):
            answer = self._answers.get(key)
            if answer is None:
                answer = await self._intact(repository, blob)
            if not _is_gone(answer):  # it may still be there for another repository
                self._answers[key] = answer
        if isinstance(answer, LianError):
            _sort(answer, blob.digest, result)
        elif not answer:
            result.damaged.append(blob.digest)

    async def _intact(self, repository: Repository, blob: Descriptor) -> bool | LianError:
        async with self._gate:
            try:
                intact = await self.registry.verified(repository, blob)
            except LianError as error:
                return error
            self.read += blob.size
            return intact

    def _store(self, repository: Repository) -> str:
        settings = self.registries.get(repository.host)
        return repository.host if settings and settings.provider in _ONE_STORE else str(repository)


def _is_gone(answer: bool | LianError) -> bool:
    return isinstance(answer, LianError) and answer.problems[0].code in GONE


def _sort(error: LianError, digest: Digest, result: Scrubbed) -> None:
    for problem in error.problems:
        if problem.code in DAMAGED:
            result.damaged.append(digest)
        elif problem.code not in GONE:
            result.unread.append(problem)
