"""Taking away from any registry that speaks the OCI distribution specification 1.1.

Deleting a manifest by its digest takes all its tags with it, so it is no way to take away a single tag. Where a tag can
be deleted by its name (distribution 3, zot), that is done. Where it cannot (docker-registry 2.8, Harbor) the tag is
pointed at an empty index made for it alone, and that is deleted. A tag must not be left there: so it is found out
before whether the registry deletes at all, and what stood there is put back if the deletion fails after all. Whoever
is killed in between leaves a tag that the same call, made again, takes away.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.canonical import canonical
from reconciler.model.manifest import IMAGE_INDEX, Manifest
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference
from reconciler.providers.registry import problems, referrers
from reconciler.providers.registry.distribution.fallback import FallbackLists
from reconciler.providers.registry.distribution.registry import DistributionRegistry
from reconciler.providers.registry.distribution.writes import delete_digest, delete_tag, put_manifest

if TYPE_CHECKING:
    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository
    from reconciler.providers.registry.http.transport import Transport

_REMOVED_TYPE = "application/vnd.lian.removed.v1"


class DistributionRemover:
    """The port Remover over HTTP. What its registry can do is learnt from the first answers."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._host = transport.endpoint.host
        self._registry = DistributionRegistry(transport)
        self._lists = FallbackLists(transport)
        self._by_tag: bool | None = None
        self._deletes = False

    async def untag(self, repository: Repository, tag: str) -> None:
        """See the port. Raises LianError `registry-refused`, `registry-denied`, …"""
        if self._by_tag is None:
            await self._untag_first(repository, tag)
        elif not (self._by_tag and await delete_tag(self._transport, repository, tag)):
            await self._untag_by_index(repository, tag)

    async def delete(self, repository: Repository, digest: Digest) -> None:
        """See the port. A referrer leaves its list before it goes, and once more after: another process may have put
        back a list that it had read before. Raises LianError `registry-refused`, …"""
        subject = await self._subject(repository, digest)
        if subject is None:
            await delete_digest(self._transport, repository, digest)
            return
        await self._expect_deletes(repository)
        await self._lists.leave(repository, subject, digest)
        await delete_digest(self._transport, repository, digest)
        await self._lists.leave(repository, subject, digest)

    async def _untag_first(self, repository: Repository, tag: str) -> None:
        """The first time it is watched whether only the tag goes: not everywhere does a manifest outlive its last."""
        before = await self._registry.fetch(Reference(repository, tag))
        if before is None:
            return
        if not await delete_tag(self._transport, repository, tag):
            self._by_tag = False
            await self._untag_by_index(repository, tag)
            return
        self._by_tag = await self._registry.fetch(Reference(repository, digest=before.digest)) is not None
        if not self._by_tag:
            await put_manifest(self._transport, repository, before, str(before.digest))

    async def _untag_by_index(self, repository: Repository, tag: str) -> None:
        reference, empty = Reference(repository, tag), _empty_index(repository, tag)
        before = await self._registry.fetch(reference)
        if before is None:
            return
        if before.digest != empty.digest:
            await self._expect_deletes(repository)
            await put_manifest(self._transport, repository, empty, tag)
        try:
            await delete_digest(self._transport, repository, empty.digest)
        except BaseException:
            await self._put_back(reference, before, empty)
            raise
        now = await self._registry.fetch(reference)
        if now is not None and now.digest == empty.digest:
            await self._put_back(reference, before, empty)
            raise LianError(
                problems.refused(self._host, f"the removal of {repository.path}:{tag}", "the tag is still there")
            )

    async def _put_back(self, reference: Reference, before: Manifest, empty: Manifest) -> None:
        """Unless someone else has moved the tag meanwhile."""
        now = await self._registry.fetch(reference)
        if before.digest != empty.digest and now is not None and now.digest == empty.digest:
            await put_manifest(self._transport, reference.repository, before, reference.name)

    async def _expect_deletes(self, repository: Repository) -> None:
        """Raises LianError unless the registry deletes: asked for what is not there, it says so without any harm."""
        if not self._deletes:
            await delete_digest(self._transport, repository, _empty_index(repository, "").digest)
            self._deletes = True

    async def _subject(self, repository: Repository, digest: Digest) -> Digest | None:
        """What the manifest refers to; None also for one that is gone or damaged, which can be deleted all the same."""
        try:
            found = await self._registry.fetch(Reference(repository, digest=digest))
            return referrers.subject_of(found) if found else None
        except ValueError:
            return None
        except LianError as error:
            if error.problems[0].code in {"registry-wrong-digest", "content-too-large"}:
                return None
            raise


def _empty_index(repository: Repository, tag: str) -> Manifest:
    """The same for the same tag, so that a second try finds what the first one left; no other tag points at it."""
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE_INDEX,
        "artifactType": _REMOVED_TYPE,
        "manifests": [],
        "annotations": {"dev.lian.removed": f"{repository.path}:{tag}"},
    }
    return Manifest(IMAGE_INDEX, canonical(document))
