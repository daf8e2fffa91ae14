"""Look at what is attached to images as signatures."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.attest.verify import NO_BUNDLE, FoundBundle, Verdict
from reconciler.model.attestation import BUNDLE, BUNDLE_FAMILY
from reconciler.model.digest import Digest
from reconciler.model.manifest import Descriptor
from reconciler.model.problem import LianError, Problem

if TYPE_CHECKING:
    from collections.abc import Sequence

    from reconciler.model.manifest import Manifest
    from reconciler.model.reference import Repository
    from reconciler.ports.registry import Registry
    from reconciler.ports.signer import Verifier

MAX_BUNDLE = 64 << 20
"""Bytes read of one bundle. BuildKit makes no attestation over 40 MiB, which base64 makes 54."""
MAX_BUNDLES = 100
"""Looked at for one image: whoever may push could attach any number."""
MAX_IN_ALL = 256 << 20
"""Bytes read of all bundles of one image."""
SMALL = 1 << 20
"""Bundles of so many bytes may be in memory for many images at a time."""


@dataclass(frozen=True, slots=True)
class Signatures:
    """Judges what is attached. Bytes are kept no longer than that takes, and of all images together one bundle that is
    not SMALL is in memory at a time. `limit` bounds the bytes of one, `at_most` their number, `in_all` the bytes of all
    on one image."""

    registry: Registry
    limit: int = MAX_BUNDLE
    at_most: int = MAX_BUNDLES
    in_all: int = MAX_IN_ALL
    _gate: asyncio.Lock = field(default_factory=asyncio.Lock, repr=False)

    async def verdict(self, repository: Repository, subject: Digest, keys: Sequence[Verifier]) -> Verdict:
        """What of it holds; of a statement that does, only of what kind it is. The smallest are read first: no flood of
        large ones hides a plain signature. Raises LianError if the referrers cannot be listed, ValueError without keys:
        nothing could hold, whatever the image."""
        if not keys:
            raise ValueError("no key to verify with")
        referrers = await self.registry.referrers(repository, subject, BUNDLE)
        result, layers, left = Verdict(subject), list[tuple[Digest, Descriptor]](), self.in_all
        for referrer in referrers[: self.at_most]:
            layer = await self._layer(repository, subject, referrer.digest)
            if isinstance(layer, Descriptor):
                layers.append((referrer.digest, layer))
            else:
                result = result.after(FoundBundle(referrer.digest, layer), keys)
        for where, layer in sorted(layers, key=lambda each: each[1].size):
            left -= layer.size
            if left < 0:
                result = result.after(FoundBundle(where, _too_large(subject, self.in_all)), keys)
                break
            result = await self._after(result, repository, where, layer, keys)
        if len(referrers) > self.at_most:
            beyond = referrers[self.at_most].digest
            result = result.after(FoundBundle(beyond, _too_many(subject, self.at_most)), keys)
        return result

    async def _layer(self, repository: Repository, subject: Digest, referrer: Digest) -> Descriptor | Problem:
        """Where the bundle is, or why it is not read."""
        try:
            layer = _layer(await self.registry.manifest(repository, referrer), subject)
        except LianError as error:
            return error.problems[0]
        except ValueError as error:
            message = f"the signature {referrer.short} of {subject.short} is not attached as cosign does it"
            return Problem(NO_BUNDLE, message, cause=str(error))
        if layer.size > self.limit:
            message = f"the signature {referrer.short} of {subject.short} has {layer.size:,} bytes"
            hint = f"lian reads at most {self.limit:,} of one; remove it if nobody needs it"
            return Problem("bundle-oversized", message, hint=hint)
        return layer

    async def _after(
        self, result: Verdict, repository: Repository, referrer: Digest, layer: Descriptor, keys: Sequence[Verifier]
    ) -> Verdict:
        """The verdict with this bundle, which is read, judged and forgotten."""
        async with contextlib.nullcontext() if layer.size <= SMALL else self._gate:
            return result.after(FoundBundle(referrer, await self._read(repository, layer)), keys)

    async def _read(self, repository: Repository, layer: Descriptor) -> bytes | Problem:
        """No more of it than it says to have."""
        try:
            return await self.registry.blob(repository, layer.digest, layer.size)
        except LianError as error:
            return error.problems[0]


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


def _too_many(subject: Digest, at_most: int) -> Problem:
    message = f"more than {at_most} signatures are attached to {subject.short}, and the rest is not read"
    return Problem("bundles-too-many", message)


def _too_large(subject: Digest, in_all: int) -> Problem:
    message = (
        f"the signatures attached to {subject.short} have more than {in_all:,} bytes, and the largest are not read"
    )
    return Problem("bundles-too-many", message)
