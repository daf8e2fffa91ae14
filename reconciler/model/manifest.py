"""Manifests and descriptors as they travel (OCI image-spec: descriptor.md, manifest.md, image-index.md)."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.platform import Platform

if TYPE_CHECKING:
    from collections.abc import Mapping

IMAGE_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
IMAGE_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
ACCEPTED = (IMAGE_INDEX, IMAGE_MANIFEST, DOCKER_LIST, DOCKER_MANIFEST)
EMPTY_CONFIG = "application/vnd.oci.empty.v1+json"
EMPTY_BLOB = b"{}"
MAX_SIZE = (1 << 63) - 1
"""Bytes that content may have (image-spec, descriptor.md: int64)."""
MAX_MANIFEST = 4 << 20
"""Bytes. Registries need not take more (distribution-spec, "Pushing Manifests"), so lian reads no more."""


def texts(value: object) -> bool:
    """True for a JSON object whose values are all texts."""
    return isinstance(value, dict) and all(isinstance(part, str) for part in value.values())


def parse(data: bytes | str) -> Any:
    """JSON from outside. Raises ValueError, also for what is nested too deep."""
    try:
        return json.loads(data)
    except RecursionError as error:
        raise ValueError("the document is nested too deep") from error


@dataclass(frozen=True, slots=True)
class Descriptor:
    """Names content; `size` in bytes."""

    media_type: str
    digest: Digest
    size: int
    artifact_type: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Mapping[str, str] | None = None

    @classmethod
    def of(cls, media_type: str, data: bytes) -> Descriptor:
        """The descriptor of these bytes."""
        return cls(media_type, Digest.of(data), len(data))

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Descriptor:
        """Raises ValueError for anything that is not a descriptor."""
        try:
            descriptor = cls(
                document["mediaType"],
                Digest.parse(document["digest"]),
                document["size"],
                document.get("artifactType"),
                document.get("annotations") or {},
                document.get("platform") or None,
            )
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"not a descriptor: {error}") from error
        if wrong := descriptor._misfits():
            raise ValueError(f"not a descriptor: {wrong} is of the wrong kind")
        return descriptor

    def _misfits(self) -> str | None:
        """The part that cannot be what it should, if there is one: documents of registries are not trusted."""
        size: object = self.size
        fits = {
            "mediaType": isinstance(self.media_type, str),
            "size": isinstance(size, int) and not isinstance(size, bool) and 0 <= size <= MAX_SIZE,
            "artifactType": isinstance(self.artifact_type, str | None),
            "annotations": texts(self.annotations),
            "platform": self.platform is None or isinstance(self.platform, dict),
        }
        return next((part for part, fit in fits.items() if not fit), None)

    def to_json(self) -> dict[str, Any]:
        """The specification's form; absent parts are left out."""
        document: dict[str, Any] = {
            "mediaType": self.media_type,
            "digest": str(self.digest),
            "size": self.size,
        }
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        if self.platform:
            document["platform"] = dict(self.platform)
        return document


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest's exact bytes with the media type they were sent under."""

    media_type: str
    data: bytes

    @property
    def digest(self) -> Digest:
        """Of the exact bytes."""
        return Digest.of(self.data)

    @property
    def document(self) -> dict[str, Any]:
        """The parsed JSON object. Raises ValueError if it is none."""
        document = parse(self.data)
        if not isinstance(document, dict):
            raise ValueError("a manifest is a JSON object")
        return document


def index(children: Mapping[Platform, Descriptor]) -> Manifest:
    """The image index of these platform manifests; the same children give the same bytes."""
    manifests = [
        {"mediaType": d.media_type, "digest": str(d.digest), "size": d.size, "platform": platform.to_json()}
        for platform, d in sorted(children.items())
    ]
    return Manifest(IMAGE_INDEX, canonical({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": manifests}))


def platforms_of(manifest: Manifest) -> dict[Platform, Digest]:
    """What an image index holds for each platform. Raises ValueError if it is none."""
    children = [Descriptor.from_json(child) for child in manifest.document.get("manifests", ())]
    return {Platform.from_json(child.platform): child.digest for child in children if child.platform}


def artifact(
    artifact_type: str, subject: Descriptor | None, layers: tuple[Descriptor, ...], annotations: Mapping[str, str]
) -> Manifest:
    """An artifact manifest, referring to `subject` if there is one (image-spec, "Guidelines for Artifact Usage"). Its
    config is EMPTY_BLOB."""
    empty = Descriptor.of(EMPTY_CONFIG, EMPTY_BLOB)
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "artifactType": artifact_type,
        "config": empty.to_json(),
        "layers": [layer.to_json() for layer in layers],
        "annotations": dict(annotations),
    }
    if subject is not None:
        document["subject"] = subject.to_json()
    return Manifest(IMAGE_MANIFEST, canonical(document))


def packed(artifact_type: str, layer_type: str, data: bytes) -> tuple[Manifest, dict[Digest, bytes]]:
    """An artifact of one layer that refers to nothing, and the blobs it is made of."""
    manifest = artifact(artifact_type, None, (Descriptor.of(layer_type, data),), {})
    return manifest, {Digest.of(EMPTY_BLOB): EMPTY_BLOB, Digest.of(data): data}


def layers_in(document: Mapping[str, Any]) -> list[Any] | None:
    """The layers of an image manifest: none where there is null, as BuildKit writes it for an image that has none.
    None for what is no image manifest."""
    layers = document.get("layers")
    if layers is None and "layers" in document:
        return []
    return layers if isinstance(layers, list) else None


def layer_of(manifest: Manifest, artifact_type: str, layer_type: str) -> Digest:
    """The layer that holds the document of such an artifact. Raises ValueError if the manifest is something else."""
    document = manifest.document
    layers = document.get("layers")
    if document.get("artifactType") != artifact_type or not isinstance(layers, list):
        raise ValueError(f"it is no {artifact_type}")
    for layer in layers:
        descriptor = Descriptor.from_json(layer)
        if descriptor.media_type == layer_type:
            return descriptor.digest
    raise ValueError(f"it has no layer {layer_type}")
