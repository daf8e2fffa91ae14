"""Whether what lies in a cache's place can be given to a build. The names in it are anybody's; its layers are verified.

BuildKit verifies a layer against its digest, and has no means to tell whether it came from the step it is filed under:
whoever may write a cache can choose what comes out of a build (buildx#939). So rights decide who writes where; here is
only what a cache must be, so that a broken or crafted one costs time and nothing else.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from reconciler.model.cache_use import LookStatus
from reconciler.model.manifest import IMAGE_MANIFEST, Descriptor

if TYPE_CHECKING:
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest

CONFIG = "application/vnd.buildkit.cacheconfig.v0"
LIMIT = 1 << 20
"""Bytes of a manifest or a config. BuildKit silently reads no larger one (cache/remotecache/import.go)."""
_LAYERS = ("application/vnd.oci.image.layer.v1.tar", "application/vnd.docker.image.rootfs.diff.tar")
"""What the media types of layers begin with."""


def unfit(manifest: Manifest) -> tuple[LookStatus, str] | None:
    """Why this is not given to a build, None for a cache as BuildKit writes it."""
    if len(manifest.data) > LIMIT:
        return LookStatus.TOO_LARGE, f"its manifest has {len(manifest.data):,} bytes, and BuildKit reads {LIMIT:,}"
    try:
        document = manifest.document
    except ValueError as error:
        return LookStatus.FOREIGN, f"its manifest is no JSON object: {error}"
    config, layers = document.get("config"), document.get("layers")
    if manifest.media_type != IMAGE_MANIFEST or not isinstance(config, dict) or not isinstance(layers, list):
        return LookStatus.FOREIGN, f"it is {manifest.media_type}, and a cache is an image manifest"
    if config.get("mediaType") != CONFIG:
        return LookStatus.FOREIGN, "its config is not that of a BuildKit cache"
    size = config.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size > LIMIT:
        return LookStatus.TOO_LARGE, f"its config has more than the {LIMIT:,} bytes that BuildKit reads"
    if "subject" in document:
        return LookStatus.FOREIGN, "it refers to another manifest, and a cache refers to none"
    return next((wrong for part in (config, *layers) if (wrong := _elsewhere(part))), None) or next(
        (wrong for layer in layers if (wrong := _no_layer(layer))), None
    )


def config_of(manifest: Manifest) -> Digest:
    """Where a cache that is fit says which layer is filed under which step."""
    return Descriptor.from_json(manifest.document["config"]).digest


def undescribed(config: bytes) -> tuple[LookStatus, str] | None:
    """Why the config of a cache says nothing to BuildKit (cache/remotecache/v1/spec.go), which passes it by in silence.
    That of an empty cache has no fields."""
    try:
        described = json.loads(config)
    except (ValueError, RecursionError):
        described = None
    if not isinstance(described, dict):
        return LookStatus.FOREIGN, "its config is no JSON object"
    if described and not described.keys() & {"layers", "records"}:
        return LookStatus.FOREIGN, "its config describes no cache"
    return None


def _elsewhere(part: Any) -> tuple[LookStatus, str] | None:
    """Content that would be fetched from a URL of the manifest's choice, or is in it; or that is none."""
    try:
        Descriptor.from_json(part)
    except ValueError as error:
        return LookStatus.FOREIGN, f"a part of it is {error}"
    if part.get("urls") or part.get("data"):
        return LookStatus.FOREIGN, "a part of it points elsewhere than into the registry"
    return None


def _no_layer(layer: dict[str, Any]) -> tuple[LookStatus, str] | None:
    kind = layer.get("mediaType")
    if not isinstance(kind, str) or not kind.startswith(_LAYERS):
        return LookStatus.FOREIGN, f"it holds {str(kind)[:140]!r}, and a cache holds layers"
    return None
