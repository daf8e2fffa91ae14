"""Where a fleet's caches lie in each of its registries, and which paths no image may have because of that."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.cache.namespace import Layout
from reconciler.model.fleet import RegistryProvider
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from reconciler.cache.rules import Slot
    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.reference import Reference, Repository


def cache_layout(desired: Desired, host: str) -> Layout:
    """Of caches in the registry `host`."""
    return Layout(desired.fleet.cache_prefix, _in_projects(desired, host))


def place_of(desired: Desired, artifact: Artifact, slot: Slot) -> Reference:
    """Where a slot of the artifact's caches lies. Raises LianError `cache-name` if its registry has no such place."""
    try:
        return slot.at(artifact.cache_host, cache_layout(desired, artifact.cache_host))
    except ValueError as error:
        message = "the artifact can have no cache in this registry"
        hint = "give the artifact, its workspace or `cache_prefix` a shorter or plainer name"
        raise LianError(Problem("cache-name", message, cause=str(error), hint=hint)) from error


def session_layout(desired: Desired, host: str) -> Layout:
    """Of the images of sessions in the registry `host` (design section 6)."""
    settings = desired.registries.get(host)
    return Layout(settings.images_prefix.strip("/") if settings else "", _in_projects(desired, host))


def is_cache(desired: Desired, repository: Repository) -> bool:
    """True for a repository that holds an artifact's cache: what it holds is no image, and `lian cache` looks after
    it."""
    return cache_layout(desired, repository.host).parse(repository.path) is not None


def reserved(desired: Desired, image: Repository) -> str | None:
    """Whose place it is that this image would take, None if it is nobody's."""
    if cache_layout(desired, image.host).reserves(image.path):
        return "the fleet's caches"
    layout, parts = session_layout(desired, image.host), image.path.split("/")
    for end in range(1, len(parts)):
        found = layout.namespace("/".join(parts[:end]))
        if found is not None and found.actor in desired.fleet.access.actors:
            return f"the images of {found.actor}'s sessions"
    return None


def _in_projects(desired: Desired, host: str) -> bool:
    """Harbor gives rights for projects, not for folders of them."""
    settings = desired.registries.get(host)
    return settings is not None and settings.provider is RegistryProvider.HARBOR
