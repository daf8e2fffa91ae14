"""Which commits of another repository are behind a changed context."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.model.plan import Moved, ReasonCode
from reconciler.model.record import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from reconciler.identity.resolve import Resolution
    from reconciler.model.desired import Materials, Origin
    from reconciler.model.observed import Observed
    from reconciler.model.plan import Change, Reason
    from reconciler.model.record import BuildRecord

_OF_THE_MAIN_CONTEXT = {ReasonCode.CONTEXT_CHANGED: "context", ReasonCode.DOCKERFILE_CHANGED: "dockerfile"}


def with_origins(change: Change, resolution: Resolution, observed: Observed) -> Change:
    """The change with the commits told behind each reason that is about another repository; where a record knows it,
    also the commit of before."""
    materials = resolution.desired.wanted[change.artifact].materials
    if materials is None or not (origins := materials.origins):
        return change
    records = observed.records_behind(change.image, change.tags)
    records = nearest(records, str(change.artifact), resolution.desired.fleet.name)

    def before(reason: Reason, name: str) -> Origin | None:
        record = _before(reason, name, records)
        return record.origins.get(name) if record else None

    return replace(change, reasons=tuple(_told(reason, origins, before) for reason in change.reasons))


def between(reasons: Iterable[Reason], before: Materials, after: Materials) -> tuple[Reason, ...]:
    """The same of reasons that are the difference of two commits of the desired repo."""
    old, new = before.origins, after.origins
    return tuple(_told(reason, new, lambda _reason, name: old.get(name)) for reason in reasons)


def _told(reason: Reason, origins: Mapping[str, Origin], before: Callable[[Reason, str], Origin | None]) -> Reason:
    name = _context_of(reason)
    origin = None if name is None else origins.get(name)
    if name is None or origin is None:
        return reason
    known = before(reason, name)
    old = known.commit if known and known.url == origin.url else None
    return replace(reason, origin=Moved(origin.url, origin.rev, old, origin.commit))


def _context_of(reason: Reason) -> str | None:
    """The name of the context that the reason is about; that of the main one is empty."""
    if reason.code in _OF_THE_MAIN_CONTEXT:
        return ""
    return reason.subject if reason.code is ReasonCode.NAMED_CONTEXT_CHANGED else None


def record_before(reason: Reason, records: Iterable[BuildRecord]) -> BuildRecord | None:
    """The record that the old value of a reason about a context or a Dockerfile is from."""
    name = _context_of(reason)
    return None if name is None else _before(reason, name, records)


def _before(reason: Reason, name: str, records: Iterable[BuildRecord]) -> BuildRecord | None:
    """The same of what was made of the context of that name."""

    def says(record: BuildRecord) -> bool:
        inputs = [build.inputs for build in record.platforms.values()]
        if leaf := _OF_THE_MAIN_CONTEXT.get(reason.code):
            return any(each.get(leaf) == reason.old for each in inputs)
        return any(each.get("contexts", {}).get(name, {}).get("folder") == reason.old for each in inputs)

    return next(filter(says, records), None)
