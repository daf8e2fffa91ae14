"""One round of questions to the registries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from reconciler.model.applied import APPLIED_LAYER, APPLIED_TAG, APPLIED_TYPE, Applied
from reconciler.model.digest import Digest
from reconciler.model.manifest import layer_of, parse
from reconciler.model.observed import Absent, Observed, Unknown
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.pruning import PRUNING_LAYER, PRUNING_TAG, PRUNING_TYPE, Announcement
from reconciler.model.record import (
    ARTIFACT_TYPE,
    RECORD_LAYER,
    TIME_ANNOTATION,
    BuildRecord,
    listing_from_json,
)
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from reconciler.model.manifest import Descriptor
    from reconciler.model.observed import Questions
    from reconciler.model.reference import Repository
    from reconciler.model.tree import Entry
    from reconciler.ports.registry import Registry

T = TypeVar("T")
P = ParamSpec("P")

RECORDS_READ = 5
"""Of an image with many records (equal content under several keys) only the newest are read."""
_GONE = {"manifest-unknown", "blob-unknown"}
DOCUMENT_LIMIT = 16 << 20
RECORD_LIMIT = 4 << 20
LISTING_LIMIT = 64 << 20
CONCURRENCY = 8


async def ask(questions: Questions, registry: Registry) -> Observed:
    """The answers to all questions; what could not be read is Unknown."""
    gate = asyncio.Semaphore(CONCURRENCY)
    heads = await registry.heads(questions.heads) if questions.heads else {}
    images, repositories, whole = sorted(questions.records), sorted(questions.applied), sorted(questions.whole)
    records = await asyncio.gather(*(_gated(gate, read_records, registry, *image) for image in images))
    applied = await asyncio.gather(*(_gated(gate, read_applied, registry, r) for r in repositories))
    missing = await asyncio.gather(*(_gated(gate, registry.missing, *image) for image in whole))
    return Observed(
        dict(heads),
        dict(zip(images, records, strict=True)),
        dict(zip(repositories, applied, strict=True)),
        dict(zip(whole, missing, strict=True)),
    )


async def _gated(
    gate: asyncio.Semaphore, read: Callable[P, Awaitable[T]], *asked: P.args, **named: P.kwargs
) -> T | Unknown:
    async with gate:
        try:
            return await read(*asked, **named)
        except LianError as error:
            return Unknown(error.problems[0])


async def read_applied(registry: Registry, repository: Repository, digest: Digest | None = None) -> Applied | None:
    """The repository's applied document, None if there is none; the one of this `digest`, if it is known already where
    the tag points. Raises LianError, also `document-unreadable`."""
    reference = Reference(repository, APPLIED_TAG, digest)
    return await _document(registry, reference, (APPLIED_TYPE, APPLIED_LAYER), Applied.from_json)


async def read_announcement(registry: Registry, repository: Repository, tag: str = PRUNING_TAG) -> Announcement | None:
    """What a prune has announced in the repository, None for nothing; under another `tag`, a claim of one. Raises
    LianError, also `document-unreadable`."""
    reference = Reference(repository, tag)
    return await _document(registry, reference, (PRUNING_TYPE, PRUNING_LAYER), Announcement.from_json)


async def _document(
    registry: Registry, reference: Reference, kind: tuple[str, str], read: Callable[[Any], T]
) -> T | None:
    """What an artifact of one layer says, under a tag. One whose content is gone says nothing; one that cannot be
    understood may come from a newer lian, and is not passed over."""
    digest = reference.digest
    if digest is None:
        head = (await registry.heads([reference]))[reference]
        if isinstance(head, Unknown):
            raise LianError(head.problem)
        if isinstance(head, Absent):
            return None
        digest = head.digest
    try:
        manifest = await registry.manifest(reference.repository, digest)
        data = await registry.blob(reference.repository, layer_of(manifest, *kind), DOCUMENT_LIMIT)
        return read(parse(data))
    except LianError as error:
        if error.problems[0].code in _GONE:
            return None
        raise
    except ValueError as error:
        hint = "use the lian that wrote it or a newer one; if it is damaged, delete that tag"
        message = f"{reference} cannot be understood"
        raise LianError(Problem("document-unreadable", message, cause=str(error), hint=hint)) from error


async def read_records(registry: Registry, repository: Repository, digest: Digest) -> tuple[BuildRecord, ...]:
    """The newest records of one image, newest first; what is no record is passed over as foreign. Raises LianError."""
    referrers = await registry.referrers(repository, digest, ARTIFACT_TYPE)
    newest = sorted(referrers, key=lambda d: d.annotations.get(TIME_ANNOTATION, ""), reverse=True)
    found = [await read_record(registry, repository, d) for d in newest[:RECORDS_READ]]
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
