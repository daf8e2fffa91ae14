"""Whether a build record says of an image that it is what the commit asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from reconciler.audit.certainty import DAMAGED
from reconciler.model.problem import LianError, Problem
from reconciler.model.record import ARTIFACT_TYPE, KEY_ANNOTATION, TIME_ANNOTATION, BuildRecord
from reconciler.observe.ask import RECORDS_READ, read_record
from reconciler.ports.registry import GONE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.model.digest import Digest
    from reconciler.model.manifest import Descriptor
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Repository
    from reconciler.ports.registry import Registry


async def fitting_record(registry: Registry, repository: Repository, digest: Digest, key: str) -> BuildRecord | Problem:
    """The newest record of this image for this key, or why there is none: `record-missing`, `record-other-key`,
    `record-other-image`, `record-unreadable`. Raises LianError for what could not be found out.

    An image can have many records (equal content under several keys); those of this key are read, by the annotation
    that names it in the list, so that no others can stand in their way.
    """
    image = f"the image {digest.short} in {repository}"
    referrers = await registry.referrers(repository, digest, ARTIFACT_TYPE)
    if not referrers:
        return Problem("record-missing", f"{image} has no build record")
    named = [d for d in referrers if d.annotations.get(KEY_ANNOTATION, key) == key]
    newest = sorted(named, key=lambda d: d.annotations.get(TIME_ANNOTATION, ""), reverse=True)
    answer = Problem("record-other-key", f"{image} has no build record of the inputs of this commit")
    for descriptor in newest[:RECORDS_READ]:
        record = await _read(registry, repository, descriptor)
        if isinstance(record, str):
            answer = Problem("record-unreadable", f"{image} has a build record that cannot be read", cause=record)
        elif record.key == key and record.digest != digest:
            cause = f"it is of {record.digest}"
            answer = Problem("record-other-image", f"{image} has the build record of another image", cause=cause)
        elif record.key == key:
            return record
    return answer


def other_platforms(record: BuildRecord, digests: Mapping[Platform, Digest]) -> Problem | None:
    """The problem of a record that does not name what the image holds for each platform."""
    wrong = [p for p, digest in digests.items() if p not in record.platforms or record.platforms[p].digest != digest]
    if not wrong:
        return None
    message = f"the build record of the image {record.digest.short} names other manifests than it holds"
    return Problem("record-other-image", message, cause=f"those of {', '.join(map(str, sorted(wrong)))}")


async def _read(registry: Registry, repository: Repository, descriptor: Descriptor) -> BuildRecord | str:
    """A record, or why there certainly is none to read. Raises LianError."""
    try:
        return await read_record(registry, repository, descriptor) or "it is of no form that is known here"
    except LianError as error:
        if error.problems[0].code not in GONE | DAMAGED:
            raise
        return error.problems[0].message
