"""The references that an image is pushed under -> a directive's `image` and `tags`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.adopt.remark import Remark, Weight
from reconciler.model.reference import Reference, Repository

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from reconciler.adopt.build import Build

NOWHERE = "nowhere"
"""Stands for the registry of a name without a host; no host of that name has a dot, so none is taken for it."""
_RESERVED = "lian-"
_HUB = "docker.io"


@dataclass(frozen=True, slots=True)
class Pushed:
    """`image` as a directive writes it, `host` of the registry that it names, None if it names none."""

    image: str
    tags: tuple[str, ...]
    host: str | None
    elsewhere: tuple[str, ...] = ()
    """References in other repositories than the first one's."""
    reserved: tuple[str, ...] = ()
    """Tags that are lian's own."""

    def remarks(self, build: Build) -> Iterator[Remark]:
        """What cannot be said by one artifact."""
        for reference in self.elsewhere:
            message = f"an artifact is pushed to one repository, so {reference} is not written"
            hint = "declare a second artifact with the same context; its build comes out of the cache"
            yield Remark(Weight.DROPPED, "second-repository", message, build.place, "", build.name, hint)
        for tag in self.reserved:
            message = f"tags that begin with {_RESERVED} are lian's own, so {tag} is not written"
            yield Remark(Weight.DROPPED, "tag-reserved", message, build.place, "", build.name, "choose another tag")


def pushed(references: Sequence[str], common: str | None = None) -> Pushed:
    """The first reference names the repository; `common` is a host that goes without saying. Raises ValueError for a
    text that is no reference, or one with a digest, which nothing can be pushed under."""
    first, *_ = parsed = [_parse(text) for text in references]
    tags: dict[str, None] = {}
    elsewhere = []
    for text, (repository, tag) in zip(references, parsed, strict=True):
        if repository == first[0]:
            tags[tag] = None
        else:
            elsewhere.append(text)
    host = None if first[0].host == NOWHERE else first[0].host
    path = first[0].path
    image = path if host is None or host == common else f"{host}/{path}"
    kept = tuple(tag for tag in tags if not tag.startswith(_RESERVED))
    reserved = tuple(tag for tag in tags if tag.startswith(_RESERVED))
    return Pushed(image, kept or ("latest",), host, tuple(elsewhere), reserved)


def _parse(text: str) -> tuple[Repository, str]:
    if "@" in text:
        raise ValueError(f"{text} has a digest, and an image gets its digest by being built")
    if re.search(r"[A-Z]", text.rpartition("/")[2].partition(":")[0]):
        raise ValueError(f"{text} has capitals")
    tag = Reference.parse(text).tag or "latest"
    name = text[: -len(tag) - 1] if text.endswith(f":{tag}") else text
    found = Repository.parse(name, NOWHERE)
    if found.host in {"index.docker.io", "registry-1.docker.io"}:
        found = Repository(_HUB, found.path)
    return found, tag
