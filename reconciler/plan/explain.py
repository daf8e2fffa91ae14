"""Why an image has to be built: its last record's inputs against the new ones, leaf by leaf."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime
from typing import TYPE_CHECKING, Any

from reconciler.identity.inputs import freshness
from reconciler.model.artifact import ParentImage
from reconciler.model.plan import Reason, ReasonCode
from reconciler.plan.secret_looks import masked, masked_place

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Set

    from reconciler.model.artifact import Artifact
    from reconciler.model.platform import Platform
    from reconciler.model.record import BuildRecord

_SCALARS = {
    "context": ReasonCode.CONTEXT_CHANGED,
    "dockerfile": ReasonCode.DOCKERFILE_CHANGED,
    "target": ReasonCode.TARGET_CHANGED,
    "frontend": ReasonCode.FRONTEND_MOVED,
    "os_epoch": ReasonCode.EXPIRED,
    "source_date_epoch": ReasonCode.EPOCH_CHANGED,
    "builder": ReasonCode.BUILDER_CHANGED,
}
_MAPPINGS = {
    "args": ReasonCode.ARGS_CHANGED,
    "labels": ReasonCode.LABELS_CHANGED,
    "bases": ReasonCode.BASE_MOVED,
    "fetched": ReasonCode.FETCHED_MOVED,
    "secrets": ReasonCode.SECRET_CHANGED,
}
OF_INPUTS = {
    *_SCALARS.values(),
    *_MAPPINGS.values(),
    ReasonCode.MAX_AGE_CHANGED,
    ReasonCode.NAMED_CONTEXT_CHANGED,
    ReasonCode.PARENT_CHANGED,
    ReasonCode.PLATFORM_MISSING,
}
"""The codes of what `differences` finds."""
_FREE = {"args", "labels"}
"""Whose values people write as they like. Reasons are printed, sent and kept, so what looks like a secret is hidden in
them from the start; records and keys have the values themselves."""


def without_secrets(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """A platform's inputs as they may be sent and kept: what looks like a secret is hidden in them."""
    told = {leaf: {key: masked(key, each) for key, each in inputs[leaf].items()} for leaf in _FREE & inputs.keys()}
    if "fetched" in inputs:
        told["fetched"] = _fetched(inputs["fetched"], inputs.get("args", {}))
    return {**inputs, **told}


def _fetched(fetched: Mapping[str, str], args: Mapping[str, str]) -> dict[str, str]:
    """Location -> what it is pinned to; those that are the same without their secrets are counted."""
    told: dict[str, str] = {}
    count: Counter[str] = Counter()
    for location, pin in fetched.items():
        place = masked_place(location, args)
        count[place] += 1
        told[place if count[place] == 1 else f"{place} ({count[place]})"] = pin
    return told


def reasons(
    artifact: Artifact, record: BuildRecord, inputs: Mapping[Platform, Mapping[str, Any]], waiting: Set[str]
) -> tuple[Reason, ...]:
    """How inputs differ from those that a record tells of, see `differences`."""
    old = {platform: build.inputs for platform, build in record.platforms.items()}
    return differences(artifact, old, inputs, waiting, _moment(record.started))


def differences(
    artifact: Artifact,
    old: Mapping[Platform, Mapping[str, Any]],
    inputs: Mapping[Platform, Mapping[str, Any]],
    waiting: Set[str],
    built: float | None = None,
) -> tuple[Reason, ...]:
    """The differences over all platforms, each once, the most telling first.

    `waiting` names the contexts whose parents are not built yet: their leaves are left out of the comparison. `built`
    is when the old ones were built from, in Unix seconds, where that is known.
    Empty where both agree.
    """
    found: dict[Reason, None] = {}
    for platform, new in sorted(inputs.items()):
        if platform not in old:
            found[Reason(ReasonCode.PLATFORM_MISSING, None, str(platform), subject=str(platform))] = None
            continue
        found |= dict.fromkeys(_between(artifact, old[platform], new, waiting, built))
    for platform in sorted(set(old) - set(inputs)):
        found[Reason(ReasonCode.PLATFORM_MISSING, str(platform), None, subject=str(platform))] = None
    return tuple(found)


def _between(
    artifact: Artifact, old: Mapping[str, Any], new: Mapping[str, Any], waiting: Set[str], built: float | None
) -> Iterator[Reason]:
    for leaf, code in _SCALARS.items():
        if old.get(leaf) != new.get(leaf):
            yield Reason(code, _text(old.get(leaf)), _text(new.get(leaf)), subject=_subject(leaf))
    if old.get("fresh") != new.get("fresh"):
        code = _aged(artifact, old.get("fresh"), new.get("fresh"), built)
        yield Reason(code, _text(old.get("fresh")), _text(new.get("fresh")), subject="fresh")
    for leaf, code in _MAPPINGS.items():
        before, after = old.get(leaf, {}), new.get(leaf, {})
        for key in sorted(before.keys() | after.keys()):
            if before.get(key) != after.get(key):
                was, now = (_text(value.get(key)) for value in (before, after))
                if leaf in _FREE:
                    was, now = (each and masked(key, each) for each in (was, now))
                yield Reason(code, was, now, subject=_named(leaf, key, old if key in before else new))
    before, after = old.get("contexts", {}), new.get("contexts", {})
    for name in sorted((before.keys() | after.keys()) - waiting):
        if before.get(name) != after.get(name):
            context = artifact.contexts.get(name)
            if name in after and isinstance(context, ParentImage):
                code, subject = ReasonCode.PARENT_CHANGED, str(context.artifact)
            else:  # what is not used any more is no parent
                code, subject = ReasonCode.NAMED_CONTEXT_CHANGED, name
            yield Reason(code, _leaf(before.get(name)), _leaf(after.get(name)), subject=subject)


def _named(leaf: str, key: str, inputs: Mapping[str, Any]) -> str:
    """What a reason is about; `inputs` are those that have the key."""
    return masked_place(key, inputs.get("args", {})) if leaf == "fetched" else key


def _aged(artifact: Artifact, old: object, new: object, built: float | None) -> ReasonCode:
    """Whether a window of `max_age` has passed, or windows are counted otherwise now: no number of a window tells how
    long that was. Numbers that follow each other are of one count: a pass may begin in one window and build in the
    next."""
    if not isinstance(old, int) or not isinstance(new, int) or artifact.max_age is None or new < old:
        return ReasonCode.MAX_AGE_CHANGED
    if old + 1 < new and built is not None and freshness(artifact.name, artifact.max_age, built) == new:
        return ReasonCode.MAX_AGE_CHANGED
    return ReasonCode.EXPIRED


def _moment(started: str) -> float | None:
    try:
        return datetime.fromisoformat(started).timestamp()
    except ValueError:
        return None


def _subject(leaf: str) -> str | None:
    return leaf if leaf in {"os_epoch", "source_date_epoch"} else None


def _text(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return json.dumps(value, sort_keys=True, ensure_ascii=False)


def _leaf(value: Mapping[str, str] | None) -> str | None:
    """A named context's leaf holds one digest under the kind of the context."""
    return None if value is None else next(iter(value.values()), None)
