"""A build request as the runner's machine sees it: every folder it names is there, under the name that it has there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.finishing import all_of
from reconciler.ports.builder import PinnedImage, WriteFolder
from reconciler.ports.publisher import ReadLayout, WriteLayout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.ports.builder import BuildRequest, CacheSource, CacheTarget, ContextInput
    from reconciler.ports.machine import Workplace
    from reconciler.ports.publisher import Destination


async def moved(request: BuildRequest, place: Workplace) -> BuildRequest:
    """All that it reads is sent there, and where it writes can be written to. Raises LianError."""
    folders = {folder: f"{request.artifact} {role}" for role, folder in _read(request)}
    sent = await all_of(place.send(folder, role) for folder, role in folders.items())
    there = dict(zip(folders, sent, strict=True))
    cache_to = request.cache_to
    return replace(
        request,
        context=there[request.context],
        dockerfile=there[request.dockerfile.parent] / request.dockerfile.name,
        destination=await _destination(request.destination, place),
        contexts={name: _context(context, there) for name, context in request.contexts.items()},
        cache_from=tuple(_source(source, there) for source in request.cache_from),
        cache_to=cache_to and await _target(cache_to, place),
    )


def _read(request: BuildRequest) -> Iterator[tuple[str, Path]]:
    """Each folder, and what it is."""
    yield "context", request.context
    yield "dockerfile", request.dockerfile.parent
    for name, context in request.contexts.items():
        if isinstance(context, Path):
            yield f"context {name}", context
        elif isinstance(context.origin, ReadLayout):
            yield f"layout {name}", context.origin.folder
    for number, source in enumerate(request.cache_from):
        if isinstance(source.origin, ReadLayout):
            yield f"cache {number}", source.origin.folder


def _context(context: ContextInput, there: dict[Path, Path]) -> ContextInput:
    if isinstance(context, Path):
        return there[context]
    if isinstance(context.origin, ReadLayout):
        return PinnedImage(context.digest, ReadLayout(there[context.origin.folder]))
    return context


def _source(source: CacheSource, there: dict[Path, Path]) -> CacheSource:
    if isinstance(source.origin, ReadLayout):
        return replace(source, origin=ReadLayout(there[source.origin.folder]))
    return source


async def _destination(
    destination: Destination | WriteFolder | None, place: Workplace
) -> Destination | WriteFolder | None:
    match destination:
        case WriteFolder(folder):
            return WriteFolder(await place.expect(folder))
        case WriteLayout(folder):
            return WriteLayout(await place.expect(folder))
        case _:
            return destination


async def _target(target: CacheTarget, place: Workplace) -> CacheTarget:
    if isinstance(target.destination, WriteLayout):
        return replace(target, destination=WriteLayout(await place.expect(target.destination.folder)))
    return target
