"""One artifact before its judge: what of it rules are about, and where that is written.

It is what the commit asks for: what directives and `.build-spec.ncl` files say, and what a build really takes in from
outside, on each platform. What cannot be known (an artifact whose materials could not be read) is held anyway.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.model.artifact import BaseImage, GitFolder
from reconciler.model.git_url import as_commit
from reconciler.model.moving import Part, PartKind
from reconciler.model.rule import Written
from reconciler.plan.secret_looks import masked_place

if TYPE_CHECKING:
    from collections.abc import Iterator

    from reconciler.model.desired import Wanted
    from reconciler.model.lock import Lock
    from reconciler.model.reference import Reference


@dataclass(frozen=True, slots=True)
class Source:
    """What a build fetches from git or from a URL. `text` is how it is told of, `location` where it is, None where only
    the build will know."""

    written: Written
    text: str
    location: str | None
    pinned: bool
    remedy: str
    """What pins it."""


class Case:
    """One artifact that is judged."""

    def __init__(self, wanted: Wanted) -> None:
        self.artifact, self.spec, self._materials = wanted.artifact, wanted.spec, wanted.materials
        self._images: tuple[tuple[Reference, str, bool], ...] | None = None

    @property
    def images(self) -> tuple[tuple[Reference, str, bool], ...]:
        """Every image from outside that its builds and its checks use, once for each name: the image, the name, and
        whether that is of a named context (else of the Dockerfile)."""
        if self._images is None:
            self._images = tuple(dict.fromkeys(self._taken_in()))
        return self._images

    def _taken_in(self) -> Iterator[tuple[Reference, str, bool]]:
        materials = self._materials
        for needs in (*materials.needs.values(), *materials.check_needs.values()) if materials else ():
            yield from ((image, name, False) for name, image in needs.taken_in.items())
            for name in needs.contexts:
                context = self.artifact.contexts[name]
                if isinstance(context, BaseImage):
                    yield context.reference, name, True

    def sources(self, lock: Lock | None) -> Iterator[Source]:
        """Every git context, used or not, for lian itself reads them; and what its Dockerfile fetches on the way to the
        target and to its checks."""
        for name, context in (("", self.artifact.context), *sorted(self.artifact.contexts.items())):
            if isinstance(context, GitFolder):
                written = self.field("contexts", name, "git") if name else self.field("context", "git")
                locked = lock is not None and lock.pin(Part(PartKind.GIT, context.url, context.rev)) is not None
                text, remedy = f"{context.url}@{context.rev}", "name a commit in `rev`"
                yield Source(written, text, context.url, locked or as_commit(context.rev) is not None, remedy)
        materials = self._materials
        needs = (*materials.needs.values(), *materials.check_needs.values()) if materials else ()
        pinned = {source.location for one in needs for source in one.fetched if source.pin}
        for remote in dict.fromkeys(remote for one in needs for remote in one.remotes):
            assert materials is not None
            written = Written(self.artifact.name, materials.dockerfile_path, line=remote.line)
            place = remote.location
            text = remote.written if place is None else masked_place(place, self.artifact.args)
            fixed = remote.pinned or remote.location in pinned
            yield Source(written, text, remote.location, fixed, "give the ADD a --checksum")

    def field(self, *path: str) -> Written:
        """A field of its directive, by its path below the artifact."""
        return Written(
            self.artifact.name, self.artifact.place.file, (("artifacts", self.artifact.name.artifact, *path),)
        )

    def of_runner(self, name: str) -> Written:
        """A field of its runner; a directive file may say it for all of its artifacts."""
        own = self.field("runner", name)
        return Written(own.artifact, own.file, (*own.fields, ("runner", name)))

    def name_of(self, image: str, in_context: bool) -> Written:
        """Where an image that is taken in has its name."""
        if in_context or self._materials is None:
            return self.field("contexts", image)
        return Written(self.artifact.name, self._materials.dockerfile_path, image=image)
