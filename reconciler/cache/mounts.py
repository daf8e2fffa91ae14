"""Saved cache mounts as they lie in a registry: one artifact for all of a build's, one layer for each (ADR 055).

What is read here may have been written by anyone who may write the cache, so nothing in it is believed that is not
checked: neither what it says it is, nor how much.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.cache.content import moment, rfc3339
from reconciler.cache.notes import note_of
from reconciler.model.cache import (
    MAX_MOUNT_BYTES,
    MAX_MOUNT_ID,
    MAX_MOUNT_MEMBERS,
    MAX_MOUNTS,
    MAX_MOUNTS_BYTES,
    CacheMount,
    Owner,
)
from reconciler.model.manifest import IMAGE_MANIFEST, Descriptor, artifact

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.manifest import Manifest
    from reconciler.model.name import ArtifactName
    from reconciler.model.platform import Platform

KIND = "application/vnd.lian.cache-mounts.v1"
LAYER = "application/vnd.lian.cache-mount.v1.tar+zstd"
ID, OWNER = "dev.lian.cache-mount.id", "dev.lian.cache-mount.owner"
SIZE, MEMBERS = "dev.lian.cache-mount.size", "dev.lian.cache-mount.members"
SEEN = "dev.lian.cache-mount.seen"
RENEWED_AFTER = 24 * 3600.0
"""Seconds after which what has not changed is dated anew, so that upkeep sees that it is in use."""
UNUSED_SECONDS = 30 * RENEWED_AFTER
"""After which a mount that no build has had any more is let go."""
_OWNER = re.compile(r"(?P<uid>\d{1,10}):(?P<gid>\d{1,10}):(?P<mode>[0-7]{1,11})", re.ASCII)
_COUNT = re.compile(r"\d{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SavedMount:
    """One mount's archive: its blob, its bytes before compression, its files, folders and links. `seen` is when a build
    last had the mount, in Unix seconds; None if nobody knows."""

    mount: CacheMount
    blob: Descriptor
    size: int
    members: int
    seen: float | None = None


def namespace(name: ArtifactName, platform: Platform) -> str:
    """What BuildKit puts before the ids of the cache mounts of this artifact's builds for this platform. None is
    another followed by a slash: no part of it holds one."""
    return f"lian.{name.workspace}.{name.artifact}.{str(platform).replace('/', '-')}"


def formed(saved: Iterable[SavedMount], annotations: Mapping[str, str]) -> Manifest:
    """The artifact that holds them; their order is of no account. Raises ValueError, saying why, for what `parsed`
    would refuse: it would lie there for nothing."""
    layers = sorted(map(_layer, saved), key=lambda layer: (layer.annotations[ID], layer.annotations.get(OWNER, "")))
    manifest = artifact(KIND, None, tuple(layers), annotations)
    parsed(manifest)
    return manifest


def parsed(manifest: Manifest) -> tuple[SavedMount, ...]:
    """The inverse. Raises ValueError, saying why, for everything else."""
    document = manifest.document
    layers = document.get("layers")
    if manifest.media_type != IMAGE_MANIFEST or document.get("artifactType") != KIND or not isinstance(layers, list):
        raise ValueError("it holds no cache mounts that lian saved")
    if "subject" in document:
        raise ValueError("it refers to another manifest, and saved cache mounts refer to none")
    if len(layers) > MAX_MOUNTS:
        raise ValueError(f"it has {len(layers):,} layers, and no build has more than {MAX_MOUNTS} cache mounts")
    saved = tuple(map(_saved, layers))
    if len({one.mount for one in saved}) < len(saved):
        raise ValueError("it has one cache mount twice")
    if sum(one.size for one in saved) > MAX_MOUNTS_BYTES:
        raise ValueError(f"it says that it has more than {MAX_MOUNTS_BYTES:,} bytes")
    return saved


def is_current(manifest: Manifest, saved: Sequence[SavedMount], now: float, freshness: str = "") -> bool:
    """True if the manifest holds just these and is as fresh, and all that it is dated by is young."""
    try:
        before = {(one.mount, one.blob.digest): one.seen for one in parsed(manifest)}
    except ValueError:
        return False
    note, after = note_of(manifest), {(one.mount, one.blob.digest): one.seen for one in saved}
    dates = [(moment(note.created), now), *((before[one], after[one]) for one in before.keys() & after)]
    same = before.keys() == after.keys() and note.freshness == freshness
    return same and all(map(_is_young, dates))


def _is_young(dates: tuple[float | None, float | None]) -> bool:
    noted, now = dates
    return now is None or (noted is not None and abs(now - noted) < RENEWED_AFTER)


def _layer(one: SavedMount) -> Descriptor:
    annotations = {ID: one.mount.id, SIZE: str(one.size), MEMBERS: str(one.members)}
    if one.mount.owner is not None:
        annotations[OWNER] = str(one.mount.owner)
    if (seen := rfc3339(one.seen)) is not None:
        annotations[SEEN] = seen
    return Descriptor(LAYER, one.blob.digest, one.blob.size, annotations=annotations)


def _saved(layer: object) -> SavedMount:
    """Raises ValueError."""
    if not isinstance(layer, dict) or layer.get("urls") or layer.get("data"):
        raise ValueError("a layer of it points elsewhere than into the registry")
    blob = Descriptor.from_json(layer)
    if blob.media_type != LAYER or not 0 < blob.size <= MAX_MOUNT_BYTES:
        raise ValueError(f"a layer of it is {blob.media_type[:140]!r} of {blob.size:,} bytes")
    told = blob.annotations
    identity = told.get(ID, "")
    if not 0 < len(identity) <= MAX_MOUNT_ID:
        raise ValueError("a layer of it does not say which cache mount it is")
    size, members = (_count(told.get(part), most) for part, most in _BOUNDS)
    plain = Descriptor(LAYER, blob.digest, blob.size)
    return SavedMount(CacheMount(identity, _owner(told.get(OWNER))), plain, size, members, moment(told.get(SEEN)))


_BOUNDS = ((SIZE, MAX_MOUNT_BYTES), (MEMBERS, MAX_MOUNT_MEMBERS))


def _count(text: str | None, most: int) -> int:
    if text is None or not _COUNT.fullmatch(text) or int(text) > most:
        raise ValueError("a layer of it says that it is larger than a cache mount may be, or does not say how large")
    return int(text)


def _owner(text: str | None) -> Owner | None:
    if text is None:
        return None
    match = _OWNER.fullmatch(text)
    owner = Owner(int(match["uid"]), int(match["gid"]), int(match["mode"], 8)) if match else None
    if owner is None or max(owner.uid, owner.gid, owner.mode) >= 2**32:
        raise ValueError("a layer of it does not say whose the cache mount is")
    return owner
