"""How long a cache may be silent, whatever else is told meanwhile."""

from __future__ import annotations

import asyncio
import json

from reconciler.providers.builder.patience import Held, Patience
from reconciler.providers.builder.progress import Progress

BEGAN = "2026-01-01T00:00:00Z"
LAYER = f"sha256:{'a' * 64}"


def fed(progress: Progress, **parts: object) -> None:
    progress.feed(json.dumps({name: [part] for name, part in parts.items()}).encode())


def reading() -> Progress:
    """A build that fetches a layer for one step while another one runs."""
    progress = Progress()
    for number in (1, 2):
        fed(progress, vertexes={"digest": f"v{number}", "name": f"[{number}/2] RUN x", "started": BEGAN})
    fed(progress, statuses={"vertex": "v1", "id": LAYER, "current": 1})
    assert progress.reads_cache
    return progress


async def chatter(patience: Patience, progress: Progress, parts: dict[str, object]) -> bool:
    """Whether it is given up in spite of these, which are told again and again."""
    patience.saw(progress)
    losing = asyncio.create_task(patience.lost())
    for _ in range(20):
        fed(progress, **parts)
        patience.saw(progress)
        await asyncio.wait({losing}, timeout=0.05)
    given_up = losing.done()
    if given_up:
        assert losing.result()[0] is Held.READING
    losing.cancel()
    return given_up


def test_what_another_step_says_is_no_sign_of_the_cache() -> None:
    parts: dict[str, object] = {"logs": {"vertex": "v2", "data": "aGVsbG8K"}}
    assert asyncio.run(chatter(Patience(0.3, 60.0), reading(), parts))


def test_a_layer_that_moves_is_waited_for() -> None:
    parts: dict[str, object] = {"statuses": {"vertex": "v1", "id": LAYER, "current": 2}}
    assert not asyncio.run(chatter(Patience(0.3, 60.0), reading(), parts))
