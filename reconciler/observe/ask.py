"""One round of questions to the registries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from reconciler.model.digest import Digest
from reconciler.model.manifest import parse
from reconciler.model.observed import Observed, Unknown
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.record import (
    ARTIFACT_TYPE,
    RECORD_LAYER,
    TIME_ANNOTATION,
    BuildRecord,
    listing_from_json,
)

if TYPE_CHECKING:
    from reconciler.model.manifest import Descriptor
    from reconciler.model.observed import Questions
    from reconciler.model.reference import Repository
    from reconciler.model.tree import Entry
    from reconciler.ports.registry import Registry

RECORDS_READ = 5
"""Of an image with many records (equal content under several keys) only the newest are read."""
RECORD_LIMIT = 4 << 20
LISTING_LIMIT = 64 << 20
CONCURRENCY = 8


async def ask(questions: Questions, registry: Registry) -> Observed:
    """The answers to all questions; what could not be read is Unknown."""
    gate = asyncio.Semaphore(CONCURRENCY)
    heads = await registry.heads(questions.heads) if questions.heads else {}
    images = sorted(questions.records)
    records = await asyncio.gather(*(_records(registry, *image, gate) for image in images))
    return Observed(dict(heads), dict(zip(images, records, strict=True)))


async def _records(
    registry: Registry, repository: Repository, digest: Digest, gate: asyncio.Semaphore
) -> tuple[BuildRecord, ...] | Unknown:
    """The newest records of one image. An unreadable record explains nothing, and is passed over as foreign."""
    async with gate:
        try:
            referrers = await registry.referrers(repository, digest, ARTIFACT_TYPE)
            newest = sorted(referrers, key=lambda d: d.annotations.get(TIME_ANNOTATION, ""), reverse=True)
            found = [await read_record(registry, repository, d) for d in newest[:RECORDS_READ]]
        except LianError as error:
            return Unknown(error.problems[0])
    return tuple(record for record in found if record is not None)


async def read_record(registry: Registry, repository: Repository, descriptor: Descriptor) -> BuildRecord | None:
    """The record behind a referrer; None if it is not a record of a version known here. Raises LianError."""
    manifest = await registry.manifest(repository, descriptor.digest)
    try:
        layers = manifest.document["layers"]
        digests = [layer["digest"] for layer in layers if layer["mediaType"] == RECORD_LAYER]
        if not digests:
            return None
        data = await registry.blob(repository, Digest.parse(digests[0]), RECORD_LIMIT)
        return BuildRecord.from_json(parse(data))
    except (ValueError, KeyError, TypeError):
        return None


async def read_listing(registry: Registry, repository: Repository, digest: Digest) -> tuple[Entry, ...]:
    """The files of a context as a record kept them. Raises LianError."""
    data = await registry.blob(repository, digest, LISTING_LIMIT)
    try:
        return listing_from_json(parse(data.decode("utf-8", "surrogateescape")))
    except ValueError as error:
        problem = Problem(
            "record-damaged", f"a build record in {repository} is damaged", cause=str(error), next=Next.PERSON
        )
        raise LianError(problem) from error
