"""Patterns of rules: `*` takes any signs, slashes too, `?` one; of images, registry, repository and tag each match for
themselves, so that `*.example.org/*` is no image of another registry whose path looks alike."""

from __future__ import annotations

import re
from fnmatch import translate
from functools import lru_cache
from typing import TYPE_CHECKING, TypeAlias

from reconciler.plan.source_places import GIT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from reconciler.model.reference import Reference, Repository

_Matches: TypeAlias = "Callable[[str], re.Match[str] | None]"

_KEPT = 4096
_ANY = "*"
_ON_DISK = "oci-layout"
"""How a pattern names the host of every registry on disk: where its folder lies is no matter of policy."""


def first_match(globs: Iterable[str], text: str) -> str | None:
    """The first glob (also with `[a-z]`) that takes the text."""
    return next((glob for glob in globs if _glob(glob)(text)), None)


def takes_value(glob: str, text: str) -> bool:
    """Whether a pattern without `[a-z]` takes the text."""
    return _simple(glob)(text) is not None


def first_name(globs: Iterable[str], name: str) -> str | None:
    """The first glob that takes a name, in upper or lower case."""
    return next((glob for glob in globs if _simple(glob.upper())(name.upper())), None)


def first_image(patterns: Iterable[str], image: Reference) -> str | None:
    """The first pattern, `HOST/PATH[:TAG]`, that takes the image; one with a tag takes none that is written without."""
    for pattern in patterns:
        repository, tag = _parts(pattern)
        if _is_there(repository, image.repository) and (tag is None or (image.tag and _simple(tag)(image.tag))):
            return pattern
    return None


def named_by_patterns(repository: Repository) -> str:
    """A repository as patterns name it."""
    return f"{_ON_DISK}/{repository.path}" if repository.layout is not None else str(repository)


def first_repository(patterns: Iterable[str], repository: Repository) -> str | None:
    """The first pattern, `HOST/PATH`, that takes the repository."""
    return next((pattern for pattern in patterns if _is_there(pattern, repository)), None)


def first_source(patterns: Iterable[str], place: str | None) -> str | None:
    """The first pattern, `HOST/PATH`, that takes a place as `source_places.place_of` tells it; `*` alone takes any,
    known or not."""
    return next((pattern for pattern in patterns if pattern == _ANY or (place and _is_source(pattern, place))), None)


def _is_source(pattern: str, place: str) -> bool:
    (host, _, path), (there, _, below) = pattern.partition("/"), place.partition("/")
    return bool(_simple(_host(host))(there) and _simple(path.removesuffix(GIT))(below))


def _parts(pattern: str) -> tuple[str, str | None]:
    """Repository and tag; a port is no tag."""
    head, colon, tag = pattern.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (pattern, None)


def _is_there(pattern: str, repository: Repository) -> bool:
    if pattern == _ANY:
        return True
    host, _, path = pattern.partition("/")
    there = _ON_DISK if repository.layout is not None else _host(repository.host)
    return bool(_simple(_host(host))(there) and _simple(path)(repository.path))


def _host(host: str) -> str:
    """Hosts are the same in upper and lower case, and with the port that goes without saying."""
    return host.lower().removesuffix(":443")


@lru_cache(maxsize=_KEPT)
def _glob(glob: str) -> _Matches:
    """As `immutable_tags` are read, `[a-z]` and `[!a-z]` included."""
    return re.compile(translate(glob)).match


@lru_cache(maxsize=_KEPT)
def _simple(glob: str) -> _Matches:
    """With `*` and `?` alone: other signs stand for themselves."""
    return re.compile(translate(glob.replace("[", "[[]"))).match
