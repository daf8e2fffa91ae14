"""What many references name, from a registry's own list where it has one that can be believed.

The list is never the last word: what is not in it is asked for by HEAD, and so is a random sample of what is in it. A
list that contradicts the sample, comes late or is none at all is left aside without a word to the user: it saves time,
and decides nothing. It may also be behind, so whoever asks about one repository alone, as one does before something is
taken away there, is answered without it.
"""

from __future__ import annotations

import asyncio
import logging
import random
from typing import TYPE_CHECKING

from reconciler.model.observed import Found
from reconciler.model.problem import LianError
from reconciler.providers.registry.distribution.zot_search import Unlisted, ZotSearch

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from reconciler.model.digest import Digest
    from reconciler.model.observed import Sighting
    from reconciler.model.reference import Reference
    from reconciler.providers.registry.distribution.heads import Heads

FEW = 20
"""So many references are asked one by one as soon: sample, offer and list are four round trips, with hands as they are
at first."""
SAMPLE = 5
LEAST_PATIENCE, MOST_PATIENCE = 0.5, 60.0
"""Seconds that a list may take; in between, as long as asking one by one is likely to take."""

_log = logging.getLogger(__name__)


async def in_bulk(heads: Heads, references: Collection[Reference]) -> dict[Reference, Sighting]:
    """Answers for as many of the references as can be had at once; perhaps for none."""
    tagged = [reference for reference in references if reference.digest is None]
    if len(tagged) <= FEW or len({reference.repository for reference in tagged}) == 1:
        return {}
    clock = asyncio.get_running_loop().time
    started = clock()
    seen = await heads.each(random.sample(tagged, SAMPLE))
    patience = min(max(LEAST_PATIENCE, (clock() - started) / SAMPLE * len(tagged)), MOST_PATIENCE)
    try:
        async with asyncio.timeout(patience):
            listed = await _listed(heads, tagged)
    except (Unlisted, LianError, TimeoutError) as error:
        return _left_aside(heads, str(error) or "it did not come in time", seen)
    again = await heads.each([r for r in seen if r in listed and _digest(seen[r]) != listed[r]])
    if wrong := [reference for reference in again if _digest(again[reference]) != listed[reference]]:
        return _left_aside(heads, f"it says of {wrong[0]} what a HEAD does not", seen | again)
    return {reference: Found(digest) for reference, digest in listed.items()} | seen | again


async def _listed(heads: Heads, references: Sequence[Reference]) -> Mapping[Reference, Digest]:
    wanted = {(reference.repository.path, reference.tag or "latest"): reference for reference in references}
    async with heads.transport.lane() as lane:
        if lane is None:
            return {}
        search = ZotSearch(heads.transport, lane, references[0].repository.path)
        if not await search.offered():
            return {}
        return {wanted[name]: digest for name, digest in (await search.digests(wanted)).items()}


def _digest(seen: Sighting) -> Digest | None:
    return seen.digest if isinstance(seen, Found) else None


def _left_aside(heads: Heads, why: str, seen: dict[Reference, Sighting]) -> dict[Reference, Sighting]:
    _log.debug("the list of %s is left aside: %s", heads.transport.endpoint.host, why)
    return seen
