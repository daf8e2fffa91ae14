"""Where commits that the registry tells of stand in the desired repo's history."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from reconciler.ports.source import Source


async def lineage(source: Source, revisions: Iterable[str], ours: str) -> dict[str, bool | None]:
    """Each of these commits but ours -> whether it descends from ours, None where the repo cannot tell. Raises
    LianError if git cannot be read."""
    return {revision: await source.descends(revision) for revision in {*revisions} - {ours}}
