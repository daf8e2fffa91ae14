"""What a manifest is made of."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.model.manifest import Descriptor

if TYPE_CHECKING:
    from reconciler.model.manifest import Manifest


def below(manifest: Manifest) -> tuple[tuple[Descriptor, ...], tuple[Descriptor, ...]]:
    """The manifests and the blobs that a manifest names. Raises ValueError for one that names neither."""
    document = manifest.document
    if isinstance(document.get("manifests"), list):
        return tuple(Descriptor.from_json(d) for d in document["manifests"]), ()
    if not isinstance(document.get("config"), dict) or not isinstance(document.get("layers"), list):
        raise ValueError("it is neither an image manifest nor an image index")
    return (), tuple(Descriptor.from_json(d) for d in (document["config"], *document["layers"]))
