"""The names of tags in many repositories, from a registry's own list where it has one that can be believed.

As with what tags point at (bulk_heads), the list is never the last word: a repository that is not in it is asked for by
itself, and so is a random sample of the others. It leaves out tags that name no image (see zot_search).
"""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.problem import LianError
from reconciler.model.stock import names_image
from reconciler.providers.registry.distribution.bulk_heads import FEW, LEAST_PATIENCE, MOST_PATIENCE, SAMPLE
from reconciler.providers.registry.distribution.zot_search import Unlisted, ZotSearch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from reconciler.model.reference import Repository
    from reconciler.providers.registry.http.transport import Transport

    Names = Mapping[Repository, tuple[str, ...]]
    Ask = Callable[[Collection[Repository]], Awaitable[Names]]

_log = logging.getLogger(__name__)


async def names_in_bulk(transport: Transport, repositories: Collection[Repository], ask: Ask) -> Names:
    """Of as many repositories as can be had at once; perhaps of none. `ask` gives complete lists, one by one. Raises
    LianError as it does."""
    if len(repositories) <= FEW:
        return {}
    clock = asyncio.get_running_loop().time
    started = clock()
    seen = dict(await ask(random.sample(sorted(repositories), SAMPLE)))
    patience = min(max(LEAST_PATIENCE, (clock() - started) / SAMPLE * len(repositories)), MOST_PATIENCE)
    try:
        async with asyncio.timeout(patience):
            listed = await _listed(transport, repositories)
    except (Unlisted, LianError, TimeoutError) as error:
        return _left_aside(transport, str(error) or "it did not come in time", seen)
    if not listed:
        return seen
    # Another may have pushed or removed between the two.
    again = dict(await ask([r for r, names in seen.items() if not _agree(names, listed.get(r, ()))]))
    if wrong := [r for r, names in again.items() if not _agree(names, listed.get(r, ()))]:
        return _left_aside(transport, f"it names other tags of {wrong[0]} than its own list of them", seen | again)
    return listed | seen | again


@dataclass(frozen=True, slots=True)
class _OfRepositories:
    """All names of tags in these."""

    paths: Collection[str]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, tuple) and name[0] in self.paths


async def _listed(transport: Transport, repositories: Collection[Repository]) -> dict[Repository, tuple[str, ...]]:
    by_path = {repository.path: repository for repository in repositories}
    async with transport.lane() as lane:
        if lane is None:
            return {}
        search = ZotSearch(transport, lane, next(iter(by_path)))
        if not await search.offered():
            return {}
        found: dict[Repository, list[str]] = {}
        for path, tag in await search.digests(_OfRepositories(by_path.keys())):
            found.setdefault(by_path[path], []).append(tag)
    return {repository: tuple(tags) for repository, tags in found.items()}


def _agree(names: Collection[str], listed: Collection[str]) -> bool:
    """Whether the list has nothing more, and lacks only what names no image."""
    return set(listed) <= set(names) and not any(names_image(tag) for tag in set(names) - set(listed))


def _left_aside(
    transport: Transport, why: str, seen: dict[Repository, tuple[str, ...]]
) -> dict[Repository, tuple[str, ...]]:
    _log.debug("the list of %s is left aside: %s", transport.endpoint.host, why)
    return seen
