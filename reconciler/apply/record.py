"""Attach the build record to an image."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from reconciler.apply.log import LOG_LIMIT, log_text
from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, Descriptor, artifact
from reconciler.model.problem import LianError
from reconciler.model.record import (
    ARTIFACT_TYPE,
    KEY_ANNOTATION,
    LISTING_LAYER,
    LOG_LAYER,
    RECORD_LAYER,
    TIME_ANNOTATION,
    BuildRecord,
    PlatformBuild,
    listing_to_json,
)
from reconciler.observe.ask import LISTING_LIMIT, read_records
from reconciler.ports.registry import GONE

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from reconciler.identity.resolve import Keyed
    from reconciler.model.artifact import Artifact
    from reconciler.model.attempt import FailedTry
    from reconciler.model.cache_use import CacheUse
    from reconciler.model.desired import SentFolder, Wanted
    from reconciler.model.manifest import Manifest
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Repository
    from reconciler.model.run import Run
    from reconciler.model.tier import Tier
    from reconciler.ports.builder import Built
    from reconciler.ports.bundle import Ports
    from reconciler.ports.registry import Registry
    from reconciler.ports.source import Source


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a build beside its inputs: `started` in Unix seconds, `seconds` of wall time, `logs` the files
    of its solves."""

    fleet: str
    revision: str
    started: float
    seconds: float
    builder: str
    tier: Tier
    builds: Sequence[Built]
    peak_memory: int | None
    logs: Sequence[Path]
    caches: Mapping[Platform, CacheUse]
    runs: tuple[Run, ...] = ()
    """This build's, and those of the builds before it."""
    tries: tuple[FailedTry, ...] = ()


async def attach(
    ports: Ports,
    wanted: Wanted,
    identity: Keyed,
    subject: Descriptor,
    digests: Mapping[Platform, Digest],
    facts: Facts,
) -> BuildRecord:
    """Write the record as a referrer of `subject`, with the listings of what was sent and the log. Raises LianError."""
    listings = await _listings(ports.source, wanted)
    log = await asyncio.to_thread(log_text, facts.logs)
    steps = [step for built in facts.builds for step in built.steps]
    record = BuildRecord(
        artifact=str(wanted.artifact.name),
        revision=facts.revision,
        key=identity.key,
        digest=subject.digest,
        platforms={
            p: PlatformBuild(identity.keys[p], identity.inputs[p], digests[p]) for p in wanted.artifact.platforms
        },
        started=rfc3339(facts.started),
        seconds=round(facts.seconds, 3),  # as its document says it: what is said of the record is said of that
        builder={"builder": facts.builder},
        tier=facts.tier.to_json(),
        steps={"total": len(steps), "cached": sum(step.hit for step in steps)},
        peak_memory=facts.peak_memory,
        listings={root: Digest.of(data) for root, data in listings.items()},
        fleet=facts.fleet,
        log=Digest.of(log),
        caches=facts.caches,
        runs=facts.runs,
        tries=facts.tries,
        origins=wanted.materials.origins if wanted.materials else {},
    )
    layers = [(LISTING_LAYER, data) for data in listings.values()]
    await _put(ports, wanted.artifact.image, subject, record, [*layers, (LOG_LAYER, log)])
    return record


async def carry_over(
    ports: Ports, source: Repository, artifact: Artifact, fleet: str, key: str, image: Manifest
) -> None:
    """Give an image that was copied from `source` the record this fleet has there for this key, as this artifact's.
    Raises LianError."""
    records = await read_records(ports.registry, source, image.digest, key)
    for record in (r for r in records if (r.fleet, r.digest) == (fleet, image.digest)):
        await _again(ports, source, artifact, image, record)
        return


async def single_out(
    ports: Ports, artifact: Artifact, fleet: str, key: str, image: Manifest, known: Iterable[BuildRecord]
) -> None:
    """Give an image of one platform a record of its own, if it has none because it was built as part of an index: what
    this fleet's record of the index, one of the `known`, says of it. Raises LianError."""
    ours = (record for record in known if record.fleet == fleet)
    parts = [(r, {p: b}) for r in ours for p, b in r.platforms.items() if (b.key, b.digest) == (key, image.digest)]
    if not parts or await read_records(ports.registry, artifact.image, image.digest, key):
        return
    record, platforms = parts[0]
    own = replace(record, key=key, digest=image.digest, platforms=platforms)
    await _again(ports, artifact.image, artifact, image, own)


async def _again(ports: Ports, source: Repository, artifact: Artifact, image: Manifest, record: BuildRecord) -> None:
    """Attach a record to the image once more, as this artifact's, with what goes with it in `source`; what of that is
    gone is left out."""
    logs = {} if record.log is None else {"": record.log}
    listings = await _still_there(ports.registry, source, record.listings, LISTING_LIMIT)
    kept_logs = await _still_there(ports.registry, source, logs, LOG_LIMIT)
    layers = [
        *((LISTING_LAYER, data) for data in listings.values()),
        *((LOG_LAYER, data) for data in kept_logs.values()),
    ]
    own = replace(
        record,
        artifact=str(artifact.name),
        listings={root: record.listings[root] for root in listings},
        log=record.log if kept_logs else None,
    )
    await _put(ports, artifact.image, Descriptor.of(image.media_type, image.data), own, layers)


async def _still_there(
    registry: Registry, repository: Repository, blobs: Mapping[str, Digest], limit: int
) -> dict[str, bytes]:
    """The content of these, without those that are certainly gone. Raises LianError."""
    found: dict[str, bytes] = {}
    for name, digest in blobs.items():
        try:
            found[name] = await registry.blob(repository, digest, limit)
        except LianError as error:
            if error.problems[0].code not in GONE:
                raise
    return found


async def _put(
    ports: Ports, repository: Repository, subject: Descriptor, record: BuildRecord, layers: Sequence[tuple[str, bytes]]
) -> None:
    data = canonical(record.to_json())
    blobs = [(RECORD_LAYER, data), *layers]
    annotations = {KEY_ANNOTATION: record.key, TIME_ANNOTATION: record.started}
    descriptors = tuple(Descriptor.of(kind, blob) for kind, blob in blobs)
    manifest = artifact(ARTIFACT_TYPE, subject, descriptors, annotations)
    held = {Digest.of(blob): blob for blob in (EMPTY_BLOB, *(blob for _, blob in blobs))}
    await ports.publisher.publish(repository, manifest, blobs=held)


async def _listings(source: Source, wanted: Wanted) -> dict[str, bytes]:
    """Merkle root -> the listing's bytes, for each folder that was sent."""
    if wanted.materials is None:
        return {}
    folders: dict[str, SentFolder] = {wanted.materials.context.root: wanted.materials.context}
    folders |= {folder.root: folder for folder in wanted.materials.folders.values()}
    return {root: canonical(listing_to_json(await source.listing(folder))) for root, folder in folders.items()}


def rfc3339(moment: float) -> str:
    """Unix seconds, as records have them."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
