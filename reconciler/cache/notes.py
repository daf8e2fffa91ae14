"""What lian notes on a cache when a build has written it: annotations of its manifest, which BuildKit does not read.

They say whose it is and how old, which decides what upkeep removes; how fresh it is, which decides who may read it; and
what its steps take when they run, which tells what it saves.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.cache_use import CachedStep
from reconciler.model.canonical import canonical
from reconciler.model.manifest import Manifest, parse, texts

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from reconciler.model.cache_use import StepRun

CREATED = "org.opencontainers.image.created"
ARTIFACT = "dev.lian.cache.artifact"
FLEET = "dev.lian.cache.fleet"
REVISION = "dev.lian.cache.revision"
FRESHNESS = "dev.lian.cache.freshness"
SECONDS = "dev.lian.cache.seconds"
MAX_STEPS = 1000
"""Steps whose seconds are noted; a manifest that grows too large would not be read any more."""


@dataclass(frozen=True, slots=True)
class Note:
    """`created` is RFC 3339 in UTC. `seconds` has what steps take, by `step_id`. Parts that are not told are empty."""

    artifact: str = ""
    fleet: str = ""
    revision: str = ""
    created: str = ""
    freshness: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)


def step_id(name: str) -> str:
    """A step by its name in BuildKit's words, which may be long: 12 hexadecimal digits."""
    return hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def noted(manifest: Manifest, note: Note) -> Manifest:
    """The same cache with the note. Raises ValueError for a manifest that is no JSON object."""
    parts = {**origin(note), SECONDS: canonical(dict(note.seconds)).decode()}
    return Manifest(manifest.media_type, canonical({**manifest.document, "annotations": parts}))


def origin(note: Note) -> dict[str, str]:
    """The annotations that say where a cache comes from: all of the note but the seconds."""
    parts = {ARTIFACT: note.artifact, FLEET: note.fleet, REVISION: note.revision, CREATED: note.created}
    return {**parts, FRESHNESS: note.freshness}


def note_of(manifest: Manifest) -> Note:
    """The note on a cache; an empty one where there is none, or one that cannot be read. Raises nothing for content
    that is a JSON object."""
    annotations = manifest.document.get("annotations")
    if not texts(annotations):
        return Note()
    told: dict[str, str] = annotations  # type: ignore[assignment]
    return Note(
        told.get(ARTIFACT, ""),
        told.get(FLEET, ""),
        told.get(REVISION, ""),
        told.get(CREATED, ""),
        told.get(FRESHNESS, ""),
        _seconds(told.get(SECONDS, "{}")),
    )


def is_finished(manifest: Manifest) -> bool:
    """True if the build that wrote it has ended, and was good: BuildKit writes a cache before that is known, and lian
    notes it after (ADR 065)."""
    return bool(note_of(manifest).created)


def is_fresh(manifest: Manifest, freshness: str) -> bool:
    """True if a build that is asked to be so fresh may have this. What is not noted nobody knows."""
    return not freshness or note_of(manifest).freshness == freshness


def is_same(one: Manifest, other: Manifest) -> bool:
    """True if both are the same cache, whatever is noted on them."""
    return _bare(one) == _bare(other)


def as_first_met(solves: Sequence[Sequence[StepRun]]) -> tuple[StepRun, ...]:
    """The steps of the last of these, which one builder did one after another, as it first met each of them: what it
    ran for one of them it does not run again for the next."""
    ran = {step.name: step for steps in reversed(solves) for step in steps if not step.hit}
    return tuple(ran.get(step.name, step) for step in solves[-1])


def tally(steps: Iterable[StepRun], known: Mapping[str, float]) -> tuple[CachedStep, ...]:
    """What each step takes: those that ran as measured, the others as they were `known` to."""
    return tuple(CachedStep(s.name, s.hit, known.get(step_id(s.name)) if s.hit else s.seconds) for s in steps)


def seconds_of(steps: Sequence[CachedStep]) -> dict[str, float]:
    """What is noted of these steps."""
    return {step_id(step.name): step.seconds for step in steps[:MAX_STEPS] if step.seconds is not None}


def _bare(manifest: Manifest) -> dict[str, object]:
    return {name: part for name, part in manifest.document.items() if name != "annotations"}


def _seconds(text: str) -> dict[str, float]:
    try:
        found = parse(text)
    except ValueError:
        return {}
    pairs = found.items() if isinstance(found, dict) and len(found) <= MAX_STEPS else ()
    return {name: float(value) for name, value in pairs if _is_time(value)}


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1e7
