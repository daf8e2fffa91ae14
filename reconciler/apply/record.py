"""Attach the build record to an image."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, Descriptor, artifact
from reconciler.model.record import (
    ARTIFACT_TYPE,
    KEY_ANNOTATION,
    LISTING_LAYER,
    RECORD_LAYER,
    TIME_ANNOTATION,
    BuildRecord,
    PlatformBuild,
    listing_to_json,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.identity.resolve import Keyed
    from reconciler.model.desired import SentFolder, Wanted
    from reconciler.model.platform import Platform
    from reconciler.model.tier import Tier
    from reconciler.ports.builder import Built
    from reconciler.ports.registry import Publisher
    from reconciler.ports.source import Source


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a build beside its inputs: `started` in Unix seconds, `seconds` of wall time."""

    revision: str
    started: float
    seconds: float
    builder: str
    tier: Tier
    builds: Sequence[Built]
    peak_memory: int | None


async def attach(
    publisher: Publisher,
    source: Source,
    wanted: Wanted,
    identity: Keyed,
    subject: Descriptor,
    digests: Mapping[Platform, Digest],
    facts: Facts,
) -> None:
    """Write the record as a referrer of `subject`. Raises LianError."""
    listings = await _listings(source, wanted)
    record = BuildRecord(
        artifact=str(wanted.artifact.name),
        revision=facts.revision,
        key=identity.key,
        digest=subject.digest,
        platforms={
            p: PlatformBuild(identity.keys[p], identity.inputs[p], digests[p]) for p in wanted.artifact.platforms
        },
        started=_rfc3339(facts.started),
        seconds=facts.seconds,
        builder={"builder": facts.builder},
        tier=facts.tier.to_json(),
        steps={"total": sum(b.steps for b in facts.builds), "cached": sum(b.cached_steps for b in facts.builds)},
        peak_memory=facts.peak_memory,
        listings={root: Digest.of(data) for root, data in listings.items()},
    )
    data = canonical(record.to_json())
    layers = [Descriptor.of(RECORD_LAYER, data), *(Descriptor.of(LISTING_LAYER, d) for d in listings.values())]
    annotations = {KEY_ANNOTATION: identity.key, TIME_ANNOTATION: record.started}
    manifest = artifact(ARTIFACT_TYPE, subject, tuple(layers), annotations)
    blobs = {Digest.of(blob): blob for blob in (EMPTY_BLOB, data, *listings.values())}
    await publisher.publish(wanted.artifact.image, manifest, blobs=blobs)


async def _listings(source: Source, wanted: Wanted) -> dict[str, bytes]:
    """Merkle root -> the listing's bytes, for each folder that was sent."""
    if wanted.materials is None:
        return {}
    folders: dict[str, SentFolder] = {wanted.materials.context.root: wanted.materials.context}
    folders |= {folder.root: folder for folder in wanted.materials.folders.values()}
    return {root: canonical(listing_to_json(await source.listing(folder))) for root, folder in folders.items()}


def _rfc3339(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
