"""Take BuildKit's SBOMs off the image they came with.

With `--opt attest:sbom=generator=IMAGE` BuildKit wraps the image's manifest, which stays what it is without, in an
index beside an attestation manifest (buildkit: docs/attestations/attestation-storage.md). That index is no image of
lian's: its digest differs with each build. The manifest in it is tagged, and its SBOMs are signed and attached to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from reconciler.model.attestation import SBOM_PREDICATE, Statement, sbom_statement
from reconciler.model.manifest import Descriptor, Manifest, layers_in
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from reconciler.model.digest import Digest
    from reconciler.model.reference import Repository

KIND_ANNOTATION = "vnd.docker.reference.type"
IMAGE_ANNOTATION = "vnd.docker.reference.digest"
ATTESTATION = "attestation-manifest"
PREDICATE_ANNOTATION = "in-toto.io/predicate-type"
MAX_SBOM = 40 << 20
"""Bytes; BuildKit makes no larger attestation."""


@dataclass(frozen=True, slots=True)
class Scanned:
    """One platform's image, and what the scanner said of it: a statement for each filesystem it was shown."""

    image: Descriptor
    sboms: tuple[Statement, ...]


class Content(Protocol):
    """Where a build's result is read: a registry, or the folder that it was written to."""

    async def manifest(self, repository: Repository, digest: Digest) -> Manifest:
        """See ports.registry.Registry."""
        ...

    async def blob(self, repository: Repository, digest: Digest, limit: int) -> bytes:
        """See ports.registry.Registry."""
        ...


async def unwrap(content: Content, repository: Repository, built: Manifest) -> Scanned:
    """What BuildKit made of one platform. Raises LianError `sbom-damaged`, and what reading raises."""
    try:
        image, attestations = apart(built)
        sboms: list[Statement] = []
        for attestation in attestations:
            manifest = await content.manifest(repository, attestation.digest)
            for layer in sbom_layers(manifest):
                payload = await content.blob(repository, layer.digest, MAX_SBOM)
                sboms.append(_of(image.digest, Statement.parse(payload)))
    except ValueError as error:
        message = f"what the builder made for {repository} holds no SBOM that can be read"
        raise LianError(Problem("sbom-damaged", message, cause=str(error), hint=_HINT)) from error
    return Scanned(image, tuple(sboms))


def apart(built: Manifest) -> tuple[Descriptor, tuple[Descriptor, ...]]:
    """The one image of an index that BuildKit made for one platform, and the attestation manifests about it; a manifest
    that is no index is an image without any. Raises ValueError."""
    children = built.document.get("manifests")
    if children is None:
        return Descriptor.of(built.media_type, built.data), ()
    if not isinstance(children, list):
        raise ValueError("its index has no list of manifests")
    descriptors = [Descriptor.from_json(child) for child in children]
    images = [d for d in descriptors if KIND_ANNOTATION not in d.annotations]
    if len(images) != 1:
        raise ValueError(f"its index holds {len(images)} images")
    image = Descriptor(images[0].media_type, images[0].digest, images[0].size)
    about = {KIND_ANNOTATION: ATTESTATION, IMAGE_ANNOTATION: str(image.digest)}
    return image, tuple(d for d in descriptors if about.items() <= d.annotations.items())


def sbom_layers(attestation: Manifest) -> tuple[Descriptor, ...]:
    """The layers of an attestation manifest that are SBOMs. Raises ValueError."""
    layers = layers_in(attestation.document)  # none at all: the scanner has said nothing
    if layers is None:
        raise ValueError("its attestation manifest has no layers")
    descriptors = [Descriptor.from_json(layer) for layer in layers]
    return tuple(d for d in descriptors if d.annotations.get(PREDICATE_ANNOTATION) == SBOM_PREDICATE)


def _of(image: Digest, statement: Statement) -> Statement:
    """Said anew of the image's digest alone. The builder's own subject is a name with that digest; an image that is
    written to a folder has no name, so there is none, and the index alone says what the attestation is about."""
    about_it = image in statement.subjects or not statement.subjects
    if statement.predicate_type != SBOM_PREDICATE or not about_it:
        raise ValueError("its SBOM is of something else")
    return sbom_statement(image, statement.predicate)


_HINT = "look at `scanner` under `policy.sign`: it has to follow BuildKit's SBOM scanning protocol"
