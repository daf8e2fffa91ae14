"""The whole story of one artifact, also when it is in sync: `lian why`."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any

from reconciler.identity.resolve import Keyed, Pending, Resolution
from reconciler.model.observed import Found, Observed, Questions, Unknown
from reconciler.model.record import nearest
from reconciler.model.reference import Reference
from reconciler.plan.causes import inherited
from reconciler.plan.explain import without_secrets

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.identity.inputs import Inputs
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Sighting
    from reconciler.model.plan import Change, Plan, Reason
    from reconciler.model.platform import Platform
    from reconciler.model.record import BuildRecord, PlatformBuild


@dataclass(frozen=True, slots=True)
class Story:
    """`tags` holds what each wanted tag (and the content tag, if known) names, None for absent; `unread` why that is
    not known of the others. `record` is the artifact's newest of the image the tags point at, None where there is none,
    or where `record_unread` says why it is not known. In `inputs`, and in those of the record, what looks like a secret
    is hidden: a story is handed on."""

    change: Change
    revision: str
    _: KW_ONLY
    content_tag: str | None
    tags: Mapping[str, Digest | None]
    unread: Mapping[str, str]
    inputs: Mapping[Platform, Inputs]
    parents: tuple[Change, ...]
    record: BuildRecord | None
    record_unread: str | None = None
    currency: str | None = None
    """Of the price in the change's forecast."""
    behind: tuple[tuple[ArtifactName, Reason], ...] = ()
    """Why there is something to do for what it stands on, down to the root."""

    def to_json(self) -> dict[str, Any]:
        """The document of `lian why --json`."""
        return {
            "kind": "story",
            "version": 1,
            "revision": self.revision,
            "change": self.change.to_json(),
            "content_tag": self.content_tag,
            "tags": {tag: None if named is None else str(named) for tag, named in self.tags.items()},
            "unread": dict(self.unread),
            "inputs": {str(platform): dict(inputs) for platform, inputs in self.inputs.items()},
            "parents": [parent.to_json() for parent in self.parents],
            "behind": [{"artifact": str(name), "reason": reason.to_json()} for name, reason in self.behind],
            "record": self.record.to_json() if self.record else None,
            "record_unread": self.record_unread,
        }


def untold(change: Change, observed: Observed) -> Questions:
    """What has to be asked before the story of an artifact can be told: of one that is wrong in the commit nothing was,
    of one that is in sync not how it came to be."""
    heads = {Reference(change.image, tag) for tag in change.tags} - observed.heads.keys()
    image = image_of(change, observed)
    records = {(change.image, image)} - observed.records.keys() if image else set()
    return Questions(frozenset(heads), frozenset(records))


def tell(plan: Plan, name: ArtifactName, resolution: Resolution, observed: Observed) -> Story:
    """The story of an artifact that is in the plan, of which nothing is `untold`."""
    changes = {change.artifact: change for change in plan.changes}
    change, identity = changes[name], resolution.identities[name]
    content = identity.tag() if isinstance(identity, Keyed) else None
    tags = [*([content] if content else []), *change.tags]
    heads = {tag: observed.heads[Reference(change.image, tag)] for tag in tags}
    parents = resolution.desired.wanted[name].artifact.parents
    return Story(
        change,
        plan.revision,
        content_tag=content,
        tags={tag: _digest(head) for tag, head in heads.items() if not isinstance(head, Unknown)},
        unread={tag: head.problem.message for tag, head in heads.items() if isinstance(head, Unknown)},
        inputs={p: without_secrets(inputs) for p, inputs in identity.inputs.items()}
        if isinstance(identity, Keyed | Pending)
        else {},
        parents=tuple(changes[parent] for parent in parents if parent in changes),
        behind=inherited(plan, name),
        record=_record(observed, change, resolution.desired.fleet.name),
        record_unread=_record_unread(observed, change),
        currency=plan.forecast.currency if plan.forecast else None,
    )


def image_of(change: Change, observed: Observed) -> Digest | None:
    """The digest that the artifact's tags point at now, the first one found."""
    return next(iter(observed.named(change.image, change.tags).values()), change.digest)


def _digest(head: Sighting) -> Digest | None:
    return head.digest if isinstance(head, Found) else None


def _record(observed: Observed, change: Change, fleet: str) -> BuildRecord | None:
    """The record for the change's key if the image has one, else the artifact's newest."""
    digest = image_of(change, observed)
    records = observed.records_of(change.image, digest) if digest else ()
    same = (record for record in records if record.key == change.key)
    found = next(iter((*same, *nearest(records, str(change.artifact), fleet))), None)
    return found and replace(found, platforms={p: _without_secrets(build) for p, build in found.platforms.items()})


def _without_secrets(build: PlatformBuild) -> PlatformBuild:
    return replace(build, inputs=without_secrets(build.inputs))


def _record_unread(observed: Observed, change: Change) -> str | None:
    digest = image_of(change, observed)
    records = observed.records.get((change.image, digest)) if digest else None
    return records.problem.message if isinstance(records, Unknown) else None
