"""What a manifest is made of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.model.manifest import Descriptor, layers_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.manifest import Manifest

_FOREIGN = (".foreign.", ".nondistributable.")
"""In the media types of layers that are not distributed with their image (image-spec, layer.md)."""


@dataclass(frozen=True, slots=True)
class Parts:
    """What a manifest names, in its order. `elsewhere` are layers that whoever pulls fetches from their URLs: a
    registry may hold them, and need not."""

    manifests: tuple[Descriptor, ...] = ()
    blobs: tuple[Descriptor, ...] = ()
    elsewhere: tuple[Descriptor, ...] = ()


def below(manifest: Manifest) -> Parts:
    """Raises ValueError for a manifest that names neither manifests nor blobs."""
    document = manifest.document
    if isinstance(document.get("manifests"), list):
        return Parts(manifests=tuple(Descriptor.from_json(d) for d in document["manifests"]))
    config, layers = document.get("config"), layers_in(document)
    if not isinstance(config, dict) or layers is None:
        raise ValueError("it is neither an image manifest nor an image index")
    here = [config, *(layer for layer in layers if not _is_elsewhere(layer))]
    elsewhere = [layer for layer in layers if _is_elsewhere(layer)]
    return Parts((), tuple(map(Descriptor.from_json, here)), tuple(map(Descriptor.from_json, elsewhere)))


def _is_elsewhere(layer: Mapping[str, Any]) -> bool:
    if not isinstance(layer, dict):
        return False
    return bool(layer.get("urls")) or any(kind in str(layer.get("mediaType")) for kind in _FOREIGN)
