"""Find what is attached to an image as signatures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.attest.verify import NO_BUNDLE, FoundBundle
from reconciler.model.attestation import BUNDLE, BUNDLE_FAMILY
from reconciler.model.manifest import Descriptor
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Manifest
    from reconciler.model.reference import Repository
    from reconciler.ports.registry import Registry

MAX_BUNDLE = 64 << 20
"""Bytes read of one bundle. BuildKit makes no attestation over 40 MiB, which base64 makes 54."""
MAX_BUNDLES = 100
"""Looked at for one image: whoever may push could attach any number."""


async def find_bundles(
    registry: Registry,
    repository: Repository,
    subject: Digest,
    *,
    limit: int = MAX_BUNDLE,
    at_most: int = MAX_BUNDLES,
) -> tuple[FoundBundle, ...]:
    """The bundles attached to `subject`, each with its bytes or why it could not be read; `limit` bytes of each are
    read, and `at_most` so many of them. Raises LianError if the referrers cannot be listed."""
    referrers = await registry.referrers(repository, subject, BUNDLE)
    found = [await _read(registry, repository, subject, d.digest, limit) for d in referrers[:at_most]]
    if len(referrers) > at_most:
        message = f"more than {at_most} signatures are attached to {subject.short}, and the rest is not read"
        found.append(FoundBundle(referrers[at_most].digest, Problem("bundles-too-many", message)))
    return tuple(found)


async def _read(
    registry: Registry, repository: Repository, subject: Digest, referrer: Digest, limit: int
) -> FoundBundle:
    try:
        layer = _layer(await registry.manifest(repository, referrer), subject)
        if layer.size > limit:
            message = f"the signature {referrer.short} of {subject.short} has {layer.size:,} bytes"
            hint = f"lian reads at most {limit:,} of one; remove it if nobody needs it"
            return FoundBundle(referrer, Problem("bundle-oversized", message, hint=hint))
        return FoundBundle(referrer, await registry.blob(repository, layer.digest, limit))
    except LianError as error:
        return FoundBundle(referrer, error.problems[0])
    except ValueError as error:
        message = f"the signature {referrer.short} of {subject.short} is not attached as cosign does it"
        return FoundBundle(referrer, Problem(NO_BUNDLE, message, cause=str(error)))


def _layer(manifest: Manifest, subject: Digest) -> Descriptor:
    """The one layer of a referrer, which is the bundle. Raises ValueError."""
    document = manifest.document
    layers, about = document.get("layers"), document.get("subject")
    if not isinstance(about, dict) or Descriptor.from_json(about).digest != subject:
        raise ValueError("its manifest refers to something else")
    if not isinstance(layers, list) or len(layers) != 1:
        raise ValueError("its manifest has not exactly one layer")
    layer = Descriptor.from_json(layers[0])
    if not layer.media_type.startswith(BUNDLE_FAMILY):
        raise ValueError(f"its layer is of type {layer.media_type[:100]!r}")
    return layer
