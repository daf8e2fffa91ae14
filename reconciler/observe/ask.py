"""One round of questions to the registries."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

from reconciler.finishing import all_of
from reconciler.model.applied import APPLIED_LAYER, APPLIED_TYPE, Applied, applied_at
from reconciler.model.digest import Digest
from reconciler.model.manifest import layer_of, parse
from reconciler.model.observed import Found, Observed, Unknown
from reconciler.model.problem import LianError, Next, Problem
from reconciler.model.pruning import PRUNING_LAYER, PRUNING_TAG, PRUNING_TYPE, Announcement
from reconciler.model.record import (
    ARTIFACT_TYPE,
    KEY_ANNOTATION,
    RECORD_LAYER,
    TIME_ANNOTATION,
    BuildRecord,
    listing_from_json,
)
from reconciler.model.reference import Reference
from reconciler.ports.registry import GONE

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable

    from reconciler.model.manifest import Descriptor
    from reconciler.model.observed import Absent, Questions
    from reconciler.model.reference import Repository
    from reconciler.model.tree import Entry
    from reconciler.ports.registry import Registry

T = TypeVar("T")
P = ParamSpec("P")

RECORDS_READ = 8
"""Of an image with many records (equal content under several keys) the newest of each key are read, at most these."""
LOOKS = 5
"""How often a document is looked for that others keep replacing."""
DOCUMENT_LIMIT = 16 << 20
RECORD_LIMIT = 4 << 20
LISTING_LIMIT = 64 << 20
CONCURRENCY = 8


async def ask(questions: Questions, registry: Registry) -> Observed:
    """The answers to all questions; what could not be read is Unknown."""
    gate = asyncio.Semaphore(CONCURRENCY)
    heads = await registry.heads(questions.heads) if questions.heads else {}
    images, documents, whole = sorted(questions.records), list(questions.applied), sorted(questions.whole)
    records = await all_of(_gated(gate, read_records, registry, *image) for image in images)
    applied = await all_of(_gated(gate, read_applied, registry, where) for where in documents)
    missing = await all_of(_gated(gate, registry.missing, *image) for image in whole)
    return Observed(
        dict(heads),
        dict(zip(images, records, strict=True)),
        {where.repository: found for where, found in zip(documents, applied, strict=True)},
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


async def read_applied(registry: Registry, where: Reference) -> Applied | None:
    """The applied document that lies there, None if there is none. Raises LianError, also `document-unreadable`."""
    applied = await _document(registry, where, (APPLIED_TYPE, APPLIED_LAYER), Applied.from_json)
    return applied if applied and applied_at(where.repository, applied.fleet).tag == where.tag else None


async def read_announcement(registry: Registry, repository: Repository, tag: str = PRUNING_TAG) -> Announcement | None:
    """What a prune has announced in the repository, None for nothing; under another `tag`, a claim of one. Raises
    LianError, also `document-unreadable`."""
    reference = Reference(repository, tag)
    return await _document(registry, reference, (PRUNING_TYPE, PRUNING_LAYER), Announcement.from_json)


async def _document(
    registry: Registry, reference: Reference, kind: tuple[str, str], read: Callable[[Any], T]
) -> T | None:
    """What an artifact of one layer says, under a tag. If its content is gone, the tag is looked at again: some
    registries drop the old content of a tag that moves at once. Only one that still names it says nothing."""
    tag = Reference(reference.repository, reference.tag)
    digest = reference.digest or await _named(registry, tag)
    for left in reversed(range(LOOKS)):
        if digest is None:
            return None
        try:
            return await _read(registry, Reference(tag.repository, tag.tag, digest), kind, read)
        except LianError as error:
            if error.problems[0].code not in GONE:
                raise
            named = await _named(registry, tag)
            if named == digest:
                return None
            if not left:
                raise
            digest = named
    return None


async def _named(registry: Registry, tag: Reference) -> Digest | None:
    """What a tag names right now, None for one that is not there. Raises LianError if it cannot be told."""
    head = (await registry.heads([tag]))[tag]
    if isinstance(head, Unknown):
        raise LianError(head.problem)
    return head.digest if isinstance(head, Found) else None


async def _read(registry: Registry, reference: Reference, kind: tuple[str, str], read: Callable[[Any], T]) -> T:
    """One that cannot be understood may come from a newer lian, and is not passed over. Raises LianError."""
    assert reference.digest
    manifest = await registry.manifest(reference.repository, reference.digest)
    try:
        data = await registry.blob(reference.repository, layer_of(manifest, *kind), DOCUMENT_LIMIT)
        return read(parse(data))
    except ValueError as error:
        hint = "use the lian that wrote it or a newer one; if it is damaged, delete that tag"
        message = f"{reference.repository}:{reference.tag} cannot be understood"
        raise LianError(Problem("document-unreadable", message, cause=str(error), hint=hint)) from error


async def known_heads(registry: Registry, repository: Repository, tags: Collection[str]) -> dict[str, Found | Absent]:
    """What these tags name right now. Raises LianError if one cannot be read: unknown is never absent."""
    references = {tag: Reference(repository, tag) for tag in tags}
    answers = await registry.heads(references.values())
    heads: dict[str, Found | Absent] = {}
    for tag, reference in references.items():
        head = answers[reference]
        if isinstance(head, Unknown):
            raise LianError(head.problem)
        heads[tag] = head
    return heads


async def read_records(
    registry: Registry, repository: Repository, digest: Digest, key: str | None = None
) -> tuple[BuildRecord, ...]:
    """The newest records of one image, newest first; of one `key` alone if it is given. What is no record is passed
    over as foreign, and so is one whose content is certainly gone: it tells nothing, and never will (ADR 030). Raises
    LianError."""
    referrers = await registry.referrers(repository, digest, ARTIFACT_TYPE)
    chosen = newest_records(d for d in referrers if key in {None, d.annotations.get(KEY_ANNOTATION, key)})
    found = [await _record_if_there(registry, repository, d) for d in chosen]
    return tuple(record for record in found if record is not None and key in {None, record.key})


async def _record_if_there(registry: Registry, repository: Repository, descriptor: Descriptor) -> BuildRecord | None:
    """The same as read_record; None also for one whose content is gone. Raises LianError."""
    try:
        return await read_record(registry, repository, descriptor)
    except LianError as error:
        if error.problems[0].code not in GONE:
            raise
        return None


def newest_records(records: Iterable[Descriptor]) -> list[Descriptor]:
    """The newest of each key, newest first, at most RECORDS_READ; all of those that do not tell their key."""
    found: dict[str, Descriptor] = {}
    for d in sorted(records, key=lambda d: d.annotations.get(TIME_ANNOTATION, ""), reverse=True):
        found.setdefault(d.annotations.get(KEY_ANNOTATION, str(d.digest)), d)
        if len(found) == RECORDS_READ:
            break
    return list(found.values())


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
