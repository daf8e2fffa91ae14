"""An image that is being tagged, with what belongs to it: seeing to it that a prune does not take it (ADR 032)."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.apply.held import HeldBack, prune_goes_on, pruned
from reconciler.finishing import all_of
from reconciler.model.observed import Found, Unknown
from reconciler.model.problem import LianError
from reconciler.model.record import TIME_ANNOTATION
from reconciler.model.reference import Reference
from reconciler.model.stock import Content
from reconciler.observe.ask import read_announcement
from reconciler.ports.registry import MANIFEST_UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Repository
    from reconciler.ports.bundle import Ports

REFERRERS = 50
"""So many of what refers to one manifest, the newest, are put back if a prune takes them."""
CONCURRENCY = 4
POLL_SECONDS = 1.0
PATIENCE_SECONDS = 90.0
"""How long a prune that has announced itself is waited for; it promises to be done sooner."""
_UNREADABLE = {MANIFEST_UNKNOWN, "registry-wrong-digest", "registry-damaged", "content-too-large"}


@dataclass(frozen=True, slots=True)
class Whole:
    """An image with the manifests that it names and those that refer to any of them."""

    image: Manifest
    parts: tuple[Manifest, ...] = ()
    referrers: tuple[Manifest, ...] = ()

    @property
    def manifests(self) -> tuple[Manifest, ...]:
        """In the order in which a registry takes them."""
        return (*self.parts, self.image, *self.referrers)


async def read_whole(ports: Ports, repository: Repository, image: Manifest) -> Whole:
    """The image with what belongs to it, before any tag of it is moved. Raises LianError, and HeldBack if a prune has
    just taken it: an image goes before what refers to it, so as long as it is there nothing is missing here."""
    reader = _Reader(ports, repository, asyncio.Semaphore(CONCURRENCY))
    parts = await reader.manifests(_children(image))
    about = await all_of(reader.referrers(manifest.digest) for manifest in (*parts, image))
    referrers = await reader.manifests(dict.fromkeys(digest for some in about for digest in some))
    reference = Reference(repository, digest=image.digest)
    if _is_gone((await ports.registry.heads([reference]))[reference]):
        raise HeldBack(pruned(f"{repository}@{image.digest}"))
    return Whole(image, parts, referrers)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads what belongs to an image, a few requests at a time."""

    ports: Ports
    repository: Repository
    gate: asyncio.Semaphore

    async def manifests(self, digests: Iterable[Digest]) -> tuple[Manifest, ...]:
        """Those that can be read. Raises LianError."""
        found = await all_of(self._readable(digest) for digest in digests)
        return tuple(manifest for manifest in found if manifest)

    async def referrers(self, subject: Digest) -> tuple[Digest, ...]:
        """The newest, the newest last. Raises LianError."""
        async with self.gate:
            found = await self.ports.registry.referrers(self.repository, subject, None)
        newest = sorted(found, key=lambda descriptor: descriptor.annotations.get(TIME_ANNOTATION, ""))[-REFERRERS:]
        return tuple(descriptor.digest for descriptor in newest)

    async def _readable(self, digest: Digest) -> Manifest | None:
        """None for what was not there before either, or is damaged: it cannot be put back. Raises LianError."""
        async with self.gate:
            try:
                return await self.ports.registry.manifest(self.repository, digest)
            except LianError as error:
                if error.problems[0].code not in _UNREADABLE:
                    raise
                return None


async def outlast(ports: Ports, repository: Repository, whole: Whole, tags: Collection[str]) -> None:
    """See to it that a prune in the same moment has not taken what these tags point at: one that announced itself is
    waited for; then everything is looked at again, and put again if need be. Raises HeldBack, LianError."""
    deadline = ports.clock() + PATIENCE_SECONDS
    while await _threatened(ports, repository, whole, tags):
        if ports.clock() > deadline:
            raise HeldBack(prune_goes_on(repository))
        await asyncio.sleep(POLL_SECONDS)
    named = {manifest.digest: Reference(repository, digest=manifest.digest) for manifest in whole.manifests}
    heads = await ports.registry.heads([*named.values(), *(Reference(repository, tag) for tag in tags)])
    lost = [tag for tag in tags if _is_gone(heads[Reference(repository, tag)])]
    for manifest in whole.manifests:
        again = lost if manifest == whole.image else ()
        if again or _is_gone(heads[named[manifest.digest]]):
            await ports.publisher.publish(repository, manifest, tags=again)


async def _threatened(ports: Ports, repository: Repository, whole: Whole, tags: Collection[str]) -> bool:
    announced = await read_announcement(ports.registry, repository)
    digests = {manifest.digest for manifest in whole.manifests}
    return announced is not None and announced.threatens(tags, digests, ports.clock())


def _is_gone(head: Sighting) -> bool:
    """Raises LianError if that cannot be told."""
    if isinstance(head, Unknown):
        raise LianError(head.problem)
    return not isinstance(head, Found)


def _children(image: Manifest) -> tuple[Digest, ...]:
    """The manifests of an index; none of what is no index that can be read."""
    try:
        return Content.of(image).children
    except ValueError:
        return ()
