"""The whole story of one artifact, also when it is in sync: `lian why`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.identity.resolve import Keyed, Pending, Resolution
from reconciler.model.observed import Found, Observed, Unknown
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.identity.inputs import Inputs
    from reconciler.model.digest import Digest
    from reconciler.model.name import ArtifactName
    from reconciler.model.plan import Change, Plan
    from reconciler.model.platform import Platform
    from reconciler.model.record import BuildRecord


@dataclass(frozen=True, slots=True)
class Story:
    """`tags` holds what each wanted tag (and the content tag, if known) names: a digest, None for absent, or a text
    for what could not be read. `record` is the newest of the image the tags point at."""

    change: Change
    revision: str
    content_tag: str | None
    tags: Mapping[str, Digest | str | None]
    inputs: Mapping[Platform, Inputs]
    parents: tuple[Change, ...]
    record: BuildRecord | None
    currency: str | None = None
    """Of the price in the change's forecast."""

    def to_json(self) -> dict[str, Any]:
        """The document of `lian why --json`."""
        return {
            "kind": "story",
            "version": 1,
            "revision": self.revision,
            "change": self.change.to_json(),
            "content_tag": self.content_tag,
            "tags": {tag: None if named is None else str(named) for tag, named in self.tags.items()},
            "inputs": {str(platform): dict(inputs) for platform, inputs in self.inputs.items()},
            "parents": [parent.to_json() for parent in self.parents],
            "record": self.record.to_json() if self.record else None,
        }


def tell(plan: Plan, name: ArtifactName, resolution: Resolution, observed: Observed) -> Story:
    """The story of an artifact that is in the plan."""
    changes = {change.artifact: change for change in plan.changes}
    change, identity = changes[name], resolution.identities[name]
    content = identity.tag() if isinstance(identity, Keyed) else None
    tags = [*([content] if content else []), *change.tags]
    parents = resolution.desired.wanted[name].artifact.parents
    return Story(
        change,
        plan.revision,
        content,
        {tag: _named(observed, change, tag) for tag in tags},
        identity.inputs if isinstance(identity, Keyed | Pending) else {},
        tuple(changes[parent] for parent in parents if parent in changes),
        _record(observed, change),
        plan.forecast.currency if plan.forecast else None,
    )


def image_of(change: Change, observed: Observed) -> Digest | None:
    """The digest that the artifact's tags point at now, the first one found."""
    return next(iter(observed.named(change.image, change.tags).values()), change.digest)


def _named(observed: Observed, change: Change, tag: str) -> Digest | str | None:
    head = observed.heads.get(Reference(change.image, tag))
    if isinstance(head, Found):
        return head.digest
    return head.problem.message if isinstance(head, Unknown) else None


def _record(observed: Observed, change: Change) -> BuildRecord | None:
    """The record for the change's key if the image has one, else its newest."""
    digest = image_of(change, observed)
    records = observed.records_of(change.image, digest) if digest else ()
    return next((record for record in records if record.key == change.key), records[0] if records else None)
