"""What is asked before something is built, so that it can be told what that will take. Where nothing is to be built,
nothing is asked."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.model.observed import Questions
from reconciler.observe.ask import ask
from reconciler.observe.evidence import evidence
from reconciler.sizing.choose import size
from reconciler.sizing.sized import Sized

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from reconciler.model.desired import Desired
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Observed
    from reconciler.model.reference import Reference
    from reconciler.ports.bundle import Reading
    from reconciler.ports.registry import Registry

CACHES_SECONDS = 20.0
"""A plan does not wait longer to know whether there are caches: builds look for themselves."""


async def sized(ports: Reading, desired: Desired, observed: Observed, names: Collection[ArtifactName]) -> Sized:
    """How large a runner each of these gets, by what earlier builds needed; `observed` learns what had to be asked for
    it. Raises LianError."""
    sizes = await ports.source.sizes()
    known = await evidence(ports.registry, desired, observed, names)
    wanted = {name: desired.wanted[name] for name in names}
    return Sized(sizes.ladder, {name: size(w.artifact, w.spec, known[name], sizes) for name, w in wanted.items()})


async def look_for(registry: Registry, places: Iterable[Reference], observed: Observed) -> None:
    """Whether something lies there, all in one question; `observed` learns it. What is not answered in time stays
    unasked."""
    asked = frozenset(place for place in places if place not in observed.heads)
    if not asked:
        return
    try:
        async with asyncio.timeout(CACHES_SECONDS):
            observed.take(await ask(Questions(heads=asked), registry))
    except TimeoutError:
        return
