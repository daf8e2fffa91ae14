"""Caches that a person names for one build (`--cache-from`, `--cache-to`), as far as the rules admit them."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.cache import rules
from reconciler.cache.home import cache_layout
from reconciler.cache.refs import admitted
from reconciler.model.cache import CacheMode, Ci
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.cache.namespace import Layout
    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.reference import Reference


def with_caches(desired: Desired, cache_from: Sequence[str], cache_to: str | None) -> Desired:
    """The same, with every artifact reading and writing these caches too. Raises LianError `cache-reference`,
    `cache-forbidden`, `cache-off`."""
    if not cache_from and cache_to is None:
        return desired
    if cache_to is not None and not desired.committed:
        message = "--cache-to names a cache of CI, which holds what was built from commits and nothing else"
        hint = "leave it out, or build from a git repository"
        raise LianError(Problem("cache-forbidden", message, hint=hint))
    wanted = {
        name: replace(one, artifact=_with(desired, one.artifact, cache_from, cache_to))
        for name, one in desired.wanted.items()
    }
    return replace(desired, wanted=wanted)


def _with(desired: Desired, artifact: Artifact, cache_from: Sequence[str], cache_to: str | None) -> Artifact:
    if artifact.cache.mode is CacheMode.OFF:
        message = f"caches are named for {artifact.name}, and the cache policy that holds for it is off"
        hint = "leave --cache-from and --cache-to out, or change `cache.mode` in lian.ncl"
        raise LianError(Problem("cache-off", message, hint=hint))
    host, layout = artifact.cache_host, cache_layout(desired, artifact.cache_host)
    imports, export = admitted(cache_from, cache_to, Ci(), artifact.name.workspace, host, layout)
    beside = tuple(dict.fromkeys(_artifact(one, artifact, layout, "--cache-from") for one in imports))
    instead = _artifact(export, artifact, layout, "--cache-to") if export is not None else None
    return replace(artifact, cache=replace(artifact.cache, beside=beside, instead=instead))


def _artifact(reference: Reference, artifact: Artifact, layout: Layout, flag: str) -> str:
    """Whose cache it is. No tag, or `latest`, is that of the platform that is built. Raises LianError."""
    found = layout.parse(reference.repository.path)
    slots = [
        slot
        for platform in artifact.platforms
        for slot in rules.imports(Ci(), artifact.name.workspace, artifact.name.artifact, platform)
    ]
    tags = {"latest", *(slot.tag for slot in slots)}
    if found is None or reference.digest is not None or reference.tag not in tags:
        message = f"{flag} {reference} names no cache of what is built"
        hint = f"leave the tag out, or write {slots[0].tag}"
        raise LianError(Problem("cache-reference", message, flag, hint=hint))
    return found[1]
