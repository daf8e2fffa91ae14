"""What moves by itself: a name in a commit whose content others can change without the commit changing."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from reconciler.model.artifact import BaseImage, GitFolder
from reconciler.model.git_url import as_commit

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from reconciler.model.artifact import Artifact
    from reconciler.model.desired import Materials, Needs
    from reconciler.model.platform import Platform
    from reconciler.model.reference import Reference

_FAMILIAR = ("docker.io/library/", "docker.io/")


class PartKind(StrEnum):
    """What kind of thing a name names."""

    IMAGE = "image"
    GIT = "git"
    URL = "url"


@dataclass(frozen=True, slots=True, order=True)
class Part:
    """One moving part. `name` is an image's full reference, a repository's URL, or a URL; `rev` a branch or a tag of a
    repository, empty for all others."""

    kind: PartKind
    name: str
    rev: str = ""

    @classmethod
    def image(cls, reference: Reference) -> Part:
        """An image by tag."""
        return cls(PartKind.IMAGE, str(reference))

    @property
    def names(self) -> tuple[str, ...]:
        """How people may write it, the whole name first."""
        if self.kind is PartKind.GIT:
            return (str(self), self.name)
        if self.kind is PartKind.URL:
            return (self.name,)
        short = next((self.name.removeprefix(p) for p in _FAMILIAR if self.name.startswith(p)), self.name)
        spelled = dict.fromkeys((self.name, short))
        return (*spelled, *dict.fromkeys(text.rpartition(":")[0] for text in spelled))

    def __str__(self) -> str:
        return f"{self.name}#{self.rev}" if self.kind is PartKind.GIT else self.name


def parts_of(artifact: Artifact, materials: Materials | None) -> frozenset[Part]:
    """What of an artifact can move: its images by tag, its git contexts by branch or tag, and what its Dockerfile
    fetches unpinned; checks as well. Without materials only what the directive itself says is known."""
    found = set(context_parts(artifact, materials))
    if materials is not None:
        found.update(needed_parts(materials.needs), needed_parts(materials.check_needs))
    return frozenset(found)


def context_parts(artifact: Artifact, materials: Materials | None) -> Iterator[Part]:
    """Those that stand in its directive; named images only where its Dockerfile uses them."""
    folders = (artifact.context, *artifact.contexts.values())
    yield from (
        Part(PartKind.GIT, context.url, context.rev)
        for context in folders
        if isinstance(context, GitFolder) and as_commit(context.rev) is None
    )
    images = {
        name: context.reference
        for name, context in artifact.contexts.items()
        if isinstance(context, BaseImage) and context.reference.digest is None
    }
    if images and materials is not None:
        needs = (*materials.needs.values(), *materials.check_needs.values())
        used = {name for each in needs for name in each.contexts}
        yield from (Part.image(reference) for name, reference in images.items() if name in used)


def needed_parts(needs: Mapping[Platform, Needs]) -> Iterator[Part]:
    """Those that stand in its Dockerfile."""
    for each in needs.values():
        yield from (Part.image(reference) for reference in each.images.values() if reference.digest is None)
        yield from (source.part for source in each.fetched)
        if each.frontend is not None and each.frontend.digest is None:
            yield Part.image(each.frontend)
