"""What two commits ask for differently of one artifact, whatever a registry holds: the reasons of a merge."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from reconciler.identity.inputs import platform_inputs
from reconciler.model.digest import Digest
from reconciler.model.duration import written
from reconciler.model.plan import Reason, ReasonCode
from reconciler.plan.explain import differences
from reconciler.plan.parents import other_parents, with_parents

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.identity.inputs import Inputs
    from reconciler.model.desired import Wanted
    from reconciler.model.plan import Change
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Reference

_UNKNOWN = Digest.parse("sha256:" + "0" * 64)
"""Stands for what the tag of a base image points at where nobody has looked: that is the same for both commits."""


def asked(before: Wanted, after: Wanted, builder: str | None, images: Mapping[Reference, Digest]) -> tuple[Reason, ...]:
    """The differences of the inputs, as far as the commits decide them; none where one of them is held. In which window
    of its `max_age` an artifact is decides no commit, but how long these are does. `images` are the digests of base
    images as far as they are known; a value that is not is left out."""
    if before.materials is None or after.materials is None:
        return ()
    then, now = (_inputs(each, builder, images) for each in (before, after))
    others = other_parents(then, now)
    own = differences(after.artifact, then, now, {reason.subject or "" for reason in others})
    told = (*others, *(replace(reason, old=_known(reason.old), new=_known(reason.new)) for reason in own))
    old, new = (written(age) if (age := each.artifact.max_age) else None for each in (before, after))
    return told if old == new else (*told, Reason(ReasonCode.MAX_AGE_CHANGED, old, new, subject="max_age"))


def because(change: Change, reasons: tuple[Reason, ...]) -> Change:
    """The change with what a merge is the reason of first. Of one thing it says what the merge does to it, not how it
    differs from what was built last: that may have been another commit."""
    told = set(map(_about, reasons))
    parents = {reason.new for reason in reasons if reason.code is ReasonCode.NAMED_CONTEXT_CHANGED}
    rest = (reason for reason in change.reasons if _about(reason) not in told and not _is_of(reason, parents))
    return replace(change, reasons=(*reasons, *rest))


def _is_of(reason: Reason, parents: Collection[str | None]) -> bool:
    """Whether it compares the image of such a parent with that of another, on which the present image stands."""
    return reason.code is ReasonCode.PARENT_CHANGED and reason.new is not None and reason.subject in parents


def _about(reason: Reason) -> tuple[ReasonCode, str | None]:
    """There is one `max_age`, whether its lengths are told or its windows."""
    return reason.code, None if reason.code is ReasonCode.MAX_AGE_CHANGED else reason.subject


def _inputs(wanted: Wanted, builder: str | None, images: Mapping[Reference, Digest]) -> dict[Platform, Inputs]:
    """With parents by name: the images of those are no matter of commits."""
    artifact, materials = replace(wanted.artifact, max_age=None), wanted.materials
    assert materials is not None
    known = _Known(images)
    return {
        platform: with_parents(
            artifact,
            materials.needs[platform],
            platform_inputs(artifact, materials, platform, known, {}, builder=builder, moment=0.0),
        )
        for platform in artifact.platforms
    }


def _known(value: str | None) -> str | None:
    return None if value == str(_UNKNOWN) else value


class _Known(dict["Reference", Digest]):
    def __missing__(self, reference: Reference) -> Digest:
        return _UNKNOWN
