"""In which way the world is not a saved plan's any more: what has moved, and from what to what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.identity.held import Held
from reconciler.model.artifact import ParentImage
from reconciler.model.canonical import fingerprint
from reconciler.model.observed import Absent, Found
from reconciler.model.plan import Action, Reason
from reconciler.model.reference import Reference
from reconciler.model.wording import some
from reconciler.plan.explain import differences, without_secrets
from reconciler.plan.parents import by_name, other_parents, with_parents

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from reconciler.identity.inputs import Inputs
    from reconciler.identity.resolve import Resolution
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Observed
    from reconciler.model.plan import Change
    from reconciler.model.platform import Platform
    from reconciler.model.saved_plan import Bound

_SHOWN = 5
"""Things that have moved that are named for many."""
_LONGEST = 60
"""Characters of a value that are shown."""


@dataclass(frozen=True, slots=True)
class Stale:
    """Why a change is not carried out: one sentence, and what has moved, where that is known."""

    message: str
    moved: str | None = None


def outdated(
    change: Change,
    bound: Bound | None,
    resolution: Resolution,
    observed: Observed,
    behind: Collection[ArtifactName],
) -> Stale | None:
    """None if the plan still says what is found now. What is in sync is what the plan says only if it is that of which
    the plan speaks. `behind` are the artifacts so far that are not as the plan says; parents come first."""
    if bound is None or bound.action is Action.NONE:
        if change.action is Action.NONE:
            return None
        return Stale("the plan leaves it as it was, and it drifts now", _told(change.reasons))
    asked = _asked_otherwise(change, bound, resolution, behind)
    return asked if asked or change.action is Action.NONE else _leads_elsewhere(change, bound, observed)


def inputs_of(name: ArtifactName, resolution: Resolution) -> str | None:
    """Of what an artifact's key is made, a hash: with the names of its parents and not their images, which may be built
    first."""
    made = _made_of(name, resolution)
    return None if made is None else fingerprint({str(platform): by_name(inputs) for platform, inputs in made.items()})


def made_of(name: ArtifactName, resolution: Resolution) -> Mapping[Platform, Inputs] | None:
    """The inputs themselves, as far as they are known, with the names of parents and without what looks like a secret:
    a plan is handed on."""
    made = _made_of(name, resolution)
    return None if made is None else {platform: without_secrets(inputs) for platform, inputs in made.items()}


def pointing(change: Change, observed: Observed) -> dict[str, Digest | None]:
    """Tag -> what it points at, None for one that is not there; without those that could not be read."""
    heads = {tag: observed.heads.get(Reference(change.image, tag)) for tag in change.tags}
    found: dict[str, Digest | None] = {tag: head.digest for tag, head in heads.items() if isinstance(head, Found)}
    return found | {tag: None for tag, head in heads.items() if isinstance(head, Absent)}


def _made_of(name: ArtifactName, resolution: Resolution) -> dict[Platform, Inputs] | None:
    """The inputs, with the name of the artifact beside its image in each leaf of a parent, known or not."""
    identity, wanted = resolution.identities.get(name), resolution.desired.wanted.get(name)
    if identity is None or isinstance(identity, Held) or wanted is None or wanted.materials is None:
        return None
    needs = wanted.materials.needs
    return {
        platform: with_parents(wanted.artifact, needs[platform], inputs) for platform, inputs in identity.inputs.items()
    }


def _asked_otherwise(
    change: Change, bound: Bound, resolution: Resolution, behind: Collection[ArtifactName]
) -> Stale | None:
    """How what the commit asks for is not what the plan is about."""
    if (bound.image, bound.tags, bound.platforms) != (change.image, change.tags, change.platforms):
        return Stale("it is wanted under another image, other tags or for other platforms", _wanted(change, bound))
    keyed = bound.key is not None and change.key is not None
    if keyed and bound.key == change.key:
        return None
    if bound.inputs != inputs_of(change.artifact, resolution):
        return Stale("it is made of something else now", _leaves(change, bound, resolution))
    if keyed:
        return Stale("what it stands on came out otherwise", _leaves(change, bound, resolution))
    wanted = resolution.desired.wanted.get(change.artifact)  # what is left over has no parents
    parents = sorted({*wanted.artifact.parents}.intersection(behind)) if wanted else []
    return Stale("what it stands on is not what the plan says", some(parents, _SHOWN)) if parents else None


def _leads_elsewhere(change: Change, bound: Bound, observed: Observed) -> Stale | None:
    """How what would be done, or the tags that it starts from, is not the plan's. What is left to do of a build that
    was cut off is: its image is there, and its tags are not all."""
    if bound.action is change.action is Action.RETAG and bound.digest != change.digest:
        return Stale("another image of what it is made of is there now", from_to(bound.digest, change.digest))
    if bound.action is not change.action and (bound.action, change.action) != (Action.BUILD, Action.RETAG):
        return Stale(f"the plan was to {bound.action} it, and now it would be a {change.action}")
    for tag, digest in pointing(change, observed).items():
        allowed = {start := bound.starts.get(tag), *([change.digest] if change.digest else [])}
        if digest not in allowed:
            return Stale(f"the tag {tag} was moved meanwhile", from_to(start, digest))
    return None


def _wanted(change: Change, bound: Bound) -> str:
    pairs = (
        ("image", str(bound.image), str(change.image)),
        ("tags", ", ".join(bound.tags), ", ".join(change.tags)),
        ("platforms", ", ".join(map(str, bound.platforms)), ", ".join(map(str, change.platforms))),
    )
    return "; ".join(f"{what}: {old} → {new}" for what, old, new in pairs if old != new)


def _leaves(change: Change, bound: Bound, resolution: Resolution) -> str | None:
    """What of its inputs differs; parents' images only where both are known."""
    now = made_of(change.artifact, resolution)
    if now is None or bound.made_of is None:
        return None
    artifact = resolution.desired.wanted[change.artifact].artifact
    others = other_parents(bound.made_of, now)
    parents = {name for name, context in artifact.contexts.items() if isinstance(context, ParentImage)}
    told = {reason.subject or "" for reason in others}
    unknown = told | parents if bound.key is None or change.key is None else told
    return _told([*others, *differences(artifact, bound.made_of, now, unknown)])


def _told(reasons: Collection[Reason]) -> str | None:
    """Their codes as words, each with what it is about: `args changed: VERSION (1.4 → 1.5)`."""
    return some(list(dict.fromkeys(map(_words, reasons))), _SHOWN) or None


def _words(reason: Reason) -> str:
    about = f": {reason.subject}" if reason.subject else ""
    values = "" if reason.old is None and reason.new is None else f" ({from_to(reason.old, reason.new)})"
    return reason.code.replace("-", " ") + about + values


def from_to(old: object, new: object) -> str:
    """`old → new`, digests and commits cut short."""
    return f"{_short(old)} → {_short(new)}"


def _short(value: object) -> str:
    if value is None:
        return "nothing"
    text = str(value)
    bare = text.removeprefix("sha256:")
    if len(bare) in {40, 64} and set(bare) <= set("0123456789abcdef"):
        return bare[:12]
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"
