"""Looking for what was applied once and is not wanted any more, without looking into every repository."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.cache.home import is_cache
from reconciler.finishing import all_of
from reconciler.model.applied import applied_at
from reconciler.model.observed import Observed, Unknown
from reconciler.model.problem import LianError
from reconciler.model.stock import CONTENT_TAG, names_image
from reconciler.observe.ask import CONCURRENCY, read_applied
from reconciler.observe.stock import catalogue, witnessed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.model.applied import Applied
    from reconciler.model.desired import Desired
    from reconciler.model.reference import Reference, Repository
    from reconciler.ports.bundle import Reading
    from reconciler.ports.registry import Registry


async def find_applied(ports: Reading, desired: Desired, wanted: Mapping[Repository, Collection[str]]) -> Observed:
    """The fleet's applied documents that may name something unwanted: of repositories on its hosts that nobody wants,
    and of those of `wanted` that have other tags than the wanted ones. A host that does not list its repositories is
    asked for the wanted ones alone. Caches are no images, and are passed by. Raises LianError."""
    fleet, hosts = desired.fleet.name, desired.registries.keys()
    listed = (await catalogue(ports.inventory, hosts)).repositories
    others = [one for one in listed if one not in wanted and not is_cache(desired, one)]
    strangers = await witnessed(ports.registry, fleet, others)
    names = await ports.inventory.all_names([repository for repository in wanted if repository.host in hosts])
    more = {repository for repository, tags in names.items() if _others(tags, wanted[repository])}
    gate = asyncio.Semaphore(CONCURRENCY)

    async def read(repository: Repository) -> Applied | None:
        async with gate:
            return await read_applied(ports.registry, applied_at(repository, fleet))

    repositories = sorted(strangers | more)
    documents = await all_of(read(repository) for repository in repositories)
    return Observed(applied=dict(zip(repositories, documents, strict=True)))


async def find_tags(registry: Registry, references: Collection[Reference]) -> Observed:
    """What these tags name. Raises LianError if one cannot be read."""
    heads = await registry.heads(references) if references else {}
    for head in heads.values():
        if isinstance(head, Unknown):
            raise LianError(head.problem)
    return Observed(heads=dict(heads))


def _others(tags: Collection[str], wanted: Collection[str]) -> bool:
    return any(names_image(tag) and tag not in wanted and not CONTENT_TAG.fullmatch(tag) for tag in tags)
