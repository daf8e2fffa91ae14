"""Which images the parents of artifacts are, as their tags tell, and which of them an image was built on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.artifact import ParentImage
from reconciler.model.plan import Reason, ReasonCode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Desired
    from reconciler.model.name import ArtifactName
    from reconciler.model.observed import Observed
    from reconciler.model.record import BuildRecord


@dataclass(slots=True)
class Standing:
    """What the tags of artifacts point at."""

    desired: Desired
    observed: Observed
    _owners: dict[str, ArtifactName] | None = None

    def of(self, name: ArtifactName) -> set[str]:
        """The images of one."""
        wanted = self.desired.wanted.get(name)
        if wanted is None:
            return set()
        artifact = wanted.artifact
        return {str(digest) for digest in self.observed.named(artifact.image, artifact.tags).values()}

    def alone(self, name: ArtifactName) -> set[str]:
        """The same of one that is made for one platform; else none."""
        wanted = self.desired.wanted.get(name)
        return self.of(name) if wanted is not None and len(wanted.artifact.platforms) == 1 else set()

    def whose(self, digest: str) -> ArtifactName | None:
        """The artifact of an image, the first by name of several; worked out once."""
        if self._owners is None:
            self._owners = {}
            for name in sorted(self.desired.wanted):
                for one in self.of(name):
                    self._owners.setdefault(one, name)
        return self._owners.get(digest)


def stood_on(record: BuildRecord) -> dict[str, str]:
    """Context -> the image that the record's build took under that name; the first platform's."""
    found: dict[str, str] = {}
    for build in record.platforms.values():
        for name, leaf in build.inputs.get("contexts", {}).items():
            if "image" in leaf:
                found.setdefault(name, leaf["image"])
    return found


def old_parent(artifact: Artifact, parent: ArtifactName, stood: Mapping[str, str]) -> str | None:
    """The parent's digest that the present image stands on, if a record tells; the new one is not known yet."""
    names = (n for n, c in artifact.contexts.items() if isinstance(c, ParentImage) and c.artifact == parent)
    return next((stood[name] for name in names if name in stood), None)


def is_on_none_of(artifact: Artifact, names: Iterable[str], stood: Mapping[str, str], standing: Standing) -> bool:
    """Whether the present image stands on what a parent that is waited for is not now: however that comes out, it will
    not be that. Nothing is said of a parent that is not there, or of several platforms: the tags of those name an
    index."""
    parents = ((name, artifact.contexts[name]) for name in names)
    known = ((stood.get(n), standing.alone(c.artifact)) for n, c in parents if isinstance(c, ParentImage))
    return any(digest is not None and images and digest not in images for digest, images in known)


def told_by_name(artifact: Artifact, reasons: Iterable[Reason], standing: Standing) -> Iterator[Reason]:
    """The reasons, where what an image stood on is another artifact's image with the names of both instead."""
    names = {str(c.artifact): name for name, c in artifact.contexts.items() if isinstance(c, ParentImage)}
    for reason in reasons:
        other = standing.whose(reason.old) if reason.code is ReasonCode.PARENT_CHANGED and reason.old else None
        if other is None or str(other) == reason.subject or reason.subject not in names:
            yield reason
        else:
            yield Reason(ReasonCode.NAMED_CONTEXT_CHANGED, str(other), reason.subject, subject=names[reason.subject])


def of_others(
    artifact: Artifact, names: Iterable[str], stood: Mapping[str, str], standing: Standing
) -> Iterator[Reason]:
    """Where the present image stands on another artifact than the one that is waited for: that one's image, as far
    as its tags tell, it is and not this one's."""
    for name in names:
        parent = artifact.contexts[name]
        assert isinstance(parent, ParentImage)
        if (digest := stood.get(name)) is None or digest in standing.of(parent.artifact):
            continue
        if (other := standing.whose(digest)) is not None:
            yield Reason(ReasonCode.NAMED_CONTEXT_CHANGED, str(other), str(parent.artifact), subject=name)
