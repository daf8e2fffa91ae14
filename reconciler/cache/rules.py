"""Which caches a build reads and writes. It follows from who builds, the workspace, the artifact and the platform, and
from nothing else (design section 6).

CI reads and writes its own namespace of the workspace. A session reads its actor's and CI's, and writes its actor's.
"""

from __future__ import annotations

from enum import StrEnum
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from reconciler.cache.namespace import Namespace
from reconciler.model.cache import Ci, Session
from reconciler.model.problem import LianError, Problem
from reconciler.model.reference import Reference, Repository

if TYPE_CHECKING:
    from reconciler.cache.namespace import Layout
    from reconciler.model.cache import BuildMode
    from reconciler.model.platform import Platform


class Generation(StrEnum):
    """What a tag of a cache repository holds."""

    LATEST = ""
    """What the last build exported."""
    PREVIOUS = ".previous"
    """What the last build found: that of the parent revision, or of another branch built in turns with this one."""
    MOUNTS = ".mounts"
    """The folders of `RUN --mount=type=cache`."""

    @property
    def called(self) -> str:
        """What it is called where it is told."""
        return self.removeprefix(".") or "latest"


_LAYERS = (Generation.LATEST, Generation.PREVIOUS)


class Slot(NamedTuple):
    """One tag of the cache: an artifact's, for one platform, in one namespace. A tuple: a fleet has many thousands."""

    namespace: Namespace
    artifact: str
    platform: Platform
    generation: Generation = Generation.LATEST

    @property
    def tag(self) -> str:
        """`linux-arm-v7`, `linux-amd64.previous`: no part of a platform holds a dash or a dot."""
        return _tag(self.platform, self.generation)

    def at(self, host: str, layout: Layout) -> Reference:
        """Where it lies in a registry. Raises ValueError where there is no such place."""
        return Reference(_repository(host, layout, self.namespace, self.artifact), self.tag)


@lru_cache(maxsize=256)
def _repository(host: str, layout: Layout, namespace: Namespace, artifact: str) -> Repository:
    """An artifact's slots are asked for one after another, and share it."""
    return Repository(host, layout.repository(namespace, artifact))


@lru_cache(maxsize=4096)
def _tag(platform: Platform, generation: Generation) -> str:
    return f"{str(platform).replace('/', '-')}{generation.value}"


@lru_cache(maxsize=4096)
def own_namespace(mode: BuildMode, workspace: str) -> Namespace:
    """The one that is written."""
    match mode:
        case Ci():
            return Namespace(workspace)
        case Session(actor):
            return Namespace(workspace, actor)


@lru_cache(maxsize=4096)
def namespaces_read(mode: BuildMode, workspace: str) -> tuple[Namespace, ...]:
    """Those that are read, the own one first."""
    return tuple(dict.fromkeys((own_namespace(mode, workspace), Namespace(workspace))))


def imports(mode: BuildMode, workspace: str, artifact: str, platform: Platform) -> tuple[Slot, ...]:
    """What a build reads, in the order in which it is looked at."""
    return tuple([Slot(n, artifact, platform, g) for n in namespaces_read(mode, workspace) for g in _LAYERS])


def export(mode: BuildMode, workspace: str, artifact: str, platform: Platform) -> Slot:
    """What a build writes."""
    return Slot(own_namespace(mode, workspace), artifact, platform)


def previous(slot: Slot) -> Slot:
    """Where what a slot held goes when it is written anew."""
    return Slot(slot.namespace, slot.artifact, slot.platform, Generation.PREVIOUS)


def mounts_read(mode: BuildMode, workspace: str, artifact: str, platform: Platform) -> tuple[Slot, ...]:
    """Where a build's cache mounts are restored from: the first that is there."""
    return tuple(Slot(n, artifact, platform, Generation.MOUNTS) for n in namespaces_read(mode, workspace))


def mounts_written(mode: BuildMode, workspace: str, artifact: str, platform: Platform) -> Slot:
    """Where they are saved."""
    return Slot(own_namespace(mode, workspace), artifact, platform, Generation.MOUNTS)


def may_read(mode: BuildMode, workspace: str, namespace: Namespace) -> bool:
    """True if builds of the workspace may read this namespace."""
    return namespace in namespaces_read(mode, workspace)


def may_write(mode: BuildMode, workspace: str, namespace: Namespace) -> bool:
    """True if builds of the workspace may write this namespace."""
    return namespace == own_namespace(mode, workspace)


def admit_import(text: str, mode: BuildMode, workspace: str, host: str, layout: Layout) -> Reference:
    """A cache that someone asks to read (`--cache-from`). Raises LianError `cache-reference`, `cache-forbidden`."""
    reference, namespace = _requested(text, "--cache-from", host, layout)
    if not may_read(mode, workspace, namespace):
        readable = " and ".join(map(str, namespaces_read(mode, workspace)))
        raise LianError(_forbidden(text, f"a {_builder(mode)} of {workspace} reads {readable}, not {namespace}"))
    return reference


def admit_export(text: str, mode: BuildMode, workspace: str, host: str, layout: Layout) -> Reference:
    """A cache that someone asks to write (`--cache-to`). Raises LianError `cache-reference`, `cache-forbidden`."""
    reference, namespace = _requested(text, "--cache-to", host, layout)
    if not may_write(mode, workspace, namespace):
        writable = own_namespace(mode, workspace)
        raise LianError(_forbidden(text, f"a {_builder(mode)} of {workspace} writes {writable}, not {namespace}"))
    if reference.digest is not None:
        hint = "leave the digest out: what is written has one of its own"
        raise LianError(Problem("cache-reference", f"--cache-to {text!r} names a digest", hint=hint))
    return reference


def _builder(mode: BuildMode) -> str:
    return "CI build" if isinstance(mode, Ci) else str(mode)


def _requested(text: str, flag: str, host: str, layout: Layout) -> tuple[Reference, Namespace]:
    folder = layout.joint.join(filter(None, (layout.prefix, "ci", "WORKSPACE")))
    hint = f"write {host}/{folder}/ARTIFACT:PLATFORM, as `lian cache refs` shows it"
    try:
        reference = Reference.parse(text)
    except ValueError as error:
        message = f"{flag} {text[:140]!r} is not a reference"
        raise LianError(Problem("cache-reference", message, cause=str(error), hint=hint)) from error
    found = layout.parse(reference.repository.path) if reference.repository.host == host else None
    if found is None:
        cause = "it lies in no namespace of the fleet's cache, so nobody knows who wrote it"
        raise LianError(_forbidden(text, cause))
    return reference, found[0]


def _forbidden(text: str, cause: str) -> Problem:
    hint = "leave it out: what a build may read and write follows from who builds, `lian cache refs` shows it"
    return Problem("cache-forbidden", f"the cache {text[:140]!r} must not be used here", cause=cause, hint=hint)
