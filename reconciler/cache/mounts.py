"""Saved cache mounts as they lie in a registry: one artifact for all of a build's, one layer for each (ADR 055).

What is read here may have been written by anyone who may write the cache, so nothing in it is believed that is not
checked: neither what it says it is, nor how much.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.cache.content import moment
from reconciler.cache.notes import CREATED
from reconciler.model.cache import (
    MAX_MOUNT_BYTES,
    MAX_MOUNT_ID,
    MAX_MOUNT_MEMBERS,
    MAX_MOUNTS,
    MAX_MOUNTS_BYTES,
    CacheMount,
    Owner,
)
from reconciler.model.manifest import IMAGE_MANIFEST, Descriptor, artifact, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.manifest import Manifest
    from reconciler.model.name import ArtifactName
    from reconciler.model.platform import Platform

KIND = "application/vnd.lian.cache-mounts.v1"
LAYER = "application/vnd.lian.cache-mount.v1.tar+zstd"
ID, OWNER = "dev.lian.cache-mount.id", "dev.lian.cache-mount.owner"
SIZE, MEMBERS = "dev.lian.cache-mount.size", "dev.lian.cache-mount.members"
RENEWED_AFTER = 24 * 3600.0
"""Seconds after which what has not changed is dated anew, so that upkeep sees that it is in use."""
_OWNER = re.compile(r"(?P<uid>\d{1,10}):(?P<gid>\d{1,10}):(?P<mode>[0-7]{1,11})", re.ASCII)
_COUNT = re.compile(r"\d{1,15}", re.ASCII)


@dataclass(frozen=True, slots=True)
class SavedMount:
    """One mount's archive: its blob, its bytes before compression, its files, folders and links."""

    mount: CacheMount
    blob: Descriptor
    size: int
    members: int


def namespace(name: ArtifactName, platform: Platform) -> str:
    """What BuildKit puts before the ids of the cache mounts of this artifact's builds for this platform. Two never
    begin alike: no part of a name holds a dot, and none of it a slash."""
    return f"lian.{name.workspace}.{name.artifact}.{str(platform).replace('/', '-')}"


def formed(saved: Iterable[SavedMount], annotations: Mapping[str, str]) -> Manifest:
    """The artifact that holds them; their order is of no account."""
    layers = sorted(map(_layer, saved), key=lambda layer: (layer.annotations[ID], layer.annotations.get(OWNER, "")))
    return artifact(KIND, None, tuple(layers), annotations)


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


def is_current(manifest: Manifest, saved: Sequence[SavedMount], now: float) -> bool:
    """True if the manifest holds just these, and says that it is young."""
    annotations = manifest.document.get("annotations")
    told = annotations.get(CREATED) if isinstance(annotations, dict) and texts(annotations) else None
    created = moment(told)
    try:
        same = {(one.mount, one.blob.digest) for one in parsed(manifest)}
    except ValueError:
        return False
    young = created is not None and abs(now - created) < RENEWED_AFTER
    return young and same == {(one.mount, one.blob.digest) for one in saved}


def _layer(one: SavedMount) -> Descriptor:
    annotations = {ID: one.mount.id, SIZE: str(one.size), MEMBERS: str(one.members)}
    if one.mount.owner is not None:
        annotations[OWNER] = str(one.mount.owner)
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
    return SavedMount(CacheMount(identity, _owner(told.get(OWNER))), plain, size, members)


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
