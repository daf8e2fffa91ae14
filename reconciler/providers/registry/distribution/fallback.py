"""Keeping the lists of referrers that a registry over HTTP does not keep by itself (distribution-spec 1.1, "Referrers
Tag Schema"). A list is read, changed and written back; registries have no compare-and-swap, so it is read once more.

The list is written before what it no longer names is deleted: docker-registry refuses a list that names what is not
there, and then nothing more could be entered.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

from reconciler.model.digest import Digest
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference
from reconciler.providers.registry import problems, referrers
from reconciler.providers.registry.bounded import each
from reconciler.providers.registry.distribution.registry import DistributionRegistry
from reconciler.providers.registry.distribution.writes import delete_digest, delete_tag, put_manifest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from reconciler.model.manifest import Manifest
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.http.transport import Transport

_TRIES = 5
_locks: WeakValueDictionary[tuple[str, str, Digest], asyncio.Lock] = WeakValueDictionary()
"""Of each list that is being written: one writer at a time within this process, whoever made its FallbackLists."""


class FallbackLists:
    """All of one registry."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._host = transport.endpoint.host
        self._registry = DistributionRegistry(transport)

    async def enter(self, repository: Repository, subject: Digest, manifest: Manifest) -> None:
        """Enter a referrer that is in the repository already. Raises LianError `tag-not-moved`, …"""
        new = referrers.descriptor_of(manifest)
        async with self._alone(repository, subject):
            for _ in range(_TRIES):
                found, entries = await self._read(repository, subject)
                await self._write(repository, subject, found, referrers.merged(entries, new))
                _, now = await self._read(repository, subject)
                if any(e.get("digest") == str(new.digest) for e in now):
                    return
        raise self._contended(repository, subject, "the new referrer")

    async def leave(self, repository: Repository, subject: Digest, digest: Digest) -> None:
        """Take a referrer out of the list; the list goes with its last entry. Raises LianError `tag-not-moved`, …"""
        deleted: Digest | None = None
        async with self._alone(repository, subject):
            for _ in range(_TRIES):
                found, entries = await self._read(repository, subject)
                kept = referrers.without(entries, digest)
                if found is None or len(kept) == len(entries):
                    return
                if kept:
                    await self._write(repository, subject, found, kept)
                elif found.digest != deleted:
                    await delete_digest(self._transport, repository, found.digest)
                    deleted = found.digest
                else:  # go-containerregistry keeps the tags of what is deleted
                    await delete_tag(self._transport, repository, referrers.fallback_tag(subject))
        raise self._contended(repository, subject, f"a list without {digest}")

    async def _read(self, repository: Repository, subject: Digest) -> tuple[Manifest | None, list[dict[str, Any]]]:
        reference = Reference(repository, referrers.fallback_tag(subject))
        found = await self._registry.fetch(reference)
        try:
            return found, referrers.entries_of(found) if found else []
        except ValueError as error:
            raise LianError(problems.not_oci(self._host, str(reference), str(error))) from error

    async def _write(
        self, repository: Repository, subject: Digest, old: Manifest | None, entries: Sequence[dict[str, Any]]
    ) -> None:
        """An entry whose manifest someone took away by hand makes docker-registry refuse the list: it is left out."""
        wanted, tag = referrers.index_of(entries), referrers.fallback_tag(subject)
        if old is not None and old.data == wanted.data:
            return
        try:
            await put_manifest(self._transport, repository, wanted, tag)
        except LianError as error:
            there = await self._there(repository, entries) if error.problems[0].code == "registry-refused" else entries
            if len(there) == len(entries):
                raise
            await put_manifest(self._transport, repository, referrers.index_of(there), tag)

    async def _there(self, repository: Repository, entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The entries without those that are certainly absent."""

        async def is_there(entry: dict[str, Any]) -> bool:
            try:
                digest = Digest.parse(str(entry.get("digest")))
            except ValueError:
                return True
            return await self._registry.fetch(Reference(repository, digest=digest)) is not None

        held = await each(entries, is_there, self._transport.connections)
        return [entry for entry, there in zip(entries, held, strict=True) if there]

    @contextlib.asynccontextmanager
    async def _alone(self, repository: Repository, subject: Digest) -> AsyncIterator[None]:
        async with _locks.setdefault((self._transport.endpoint.url, repository.path, subject), asyncio.Lock()):
            yield

    def _contended(self, repository: Repository, subject: Digest, wanted: str) -> LianError:
        tag = f"{repository}:{referrers.fallback_tag(subject)}"
        return LianError(problems.not_moved(tag, wanted, "another writer's list, again and again"))
