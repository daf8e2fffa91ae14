"""lian.lock: what each moving part of a commit is pinned to (design section 4; schemas/json/lock.json)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler.model.digest import Digest
from reconciler.model.git_url import as_commit
from reconciler.model.json_places import read_json
from reconciler.model.moving import Part, PartKind
from reconciler.model.reference import Reference

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from reconciler.model.json_places import JsonText

T = TypeVar("T")

NAME = "lian.lock"
KIND, VERSION = "lock", 1
_SECTIONS = ("images", "git", "urls")
_FIELDS = frozenset({"kind", "version", *_SECTIONS})
_GIT_FIELDS = ("url", "rev", "commit")
_URL = re.compile(r"https?://[^\s]+")
_REMEDY = "take it from an older commit, or delete it and run `lian lock`"


@dataclass(frozen=True, slots=True)
class Lock:
    """Pins, by what a commit writes. An empty one pins nothing, which is what no lock at all does."""

    images: Mapping[Reference, Digest] = field(default_factory=lambda: MappingProxyType({}))
    """Full reference by tag -> the digest that the tag had (ADR 024: of the index, where there is one)."""
    git: Mapping[tuple[str, str], str] = field(default_factory=lambda: MappingProxyType({}))
    """URL and branch or tag of a repository -> a commit's whole id, 40 or 64 hex digits."""
    urls: Mapping[str, Digest] = field(default_factory=lambda: MappingProxyType({}))
    """URL -> sha256 of the content."""

    @classmethod
    def of(cls, pins: Mapping[Part, str]) -> Lock:
        """From each part's pin, as `pins` has them."""
        return cls(
            {Reference.parse(p.name): Digest.parse(pin) for p, pin in pins.items() if p.kind is PartKind.IMAGE},
            {(p.name, p.rev): pin for p, pin in pins.items() if p.kind is PartKind.GIT},
            {p.name: Digest.parse(pin) for p, pin in pins.items() if p.kind is PartKind.URL},
        )

    @classmethod
    def parse(cls, text: str) -> Lock:
        """The inverse of `str`; the order of entries and the white space carry no meaning. Raises JsonFault, which
        names line and column."""
        read = read_json(text)
        document = read.value
        if not isinstance(document, dict):
            raise read.fault((), "it is no JSON object", _REMEDY)
        _check_head(read, document)
        return cls(_images(read), _git(read), _urls(read))

    @property
    def pins(self) -> dict[Part, str]:
        """Every entry as a part with its pin."""
        return {
            **{Part.image(reference): str(digest) for reference, digest in self.images.items()},
            **{Part(PartKind.GIT, url, rev): commit for (url, rev), commit in self.git.items()},
            **{Part(PartKind.URL, url): str(digest) for url, digest in self.urls.items()},
        }

    def pin(self, part: Part) -> str | None:
        """What a part is pinned to, if it is: a digest or a commit."""
        found: object = None
        match part.kind:
            case PartKind.IMAGE:
                found = self.images.get(Reference.parse(part.name))
            case PartKind.GIT:
                found = self.commit_of(part.name, part.rev)
            case PartKind.URL:
                found = self.urls.get(part.name)
        return None if found is None else str(found)

    def commit_of(self, url: str, rev: str) -> str | None:
        """The commit that a branch or tag of a repository is pinned to."""
        return self.git.get((url, rev))

    def __str__(self) -> str:
        """The one way to write it: sorted, each entry on a line of its own, so that two changes of different entries
        merge, and a diff shows what moved."""
        images = {str(reference): str(digest) for reference, digest in self.images.items()}
        urls = {url: str(digest) for url, digest in self.urls.items()}
        git = [
            "{" + ", ".join(f"{_quoted(n)}: {_quoted(v)}" for n, v in zip(_GIT_FIELDS, entry, strict=True)) + "}"
            for entry in sorted((url, rev, commit) for (url, rev), commit in self.git.items())
        ]
        sections = (
            f'"kind": "{KIND}"',
            f'"version": {VERSION}',
            f'"images": {_block("{}", _pairs(images))}',
            f'"git": {_block("[]", git)}',
            f'"urls": {_block("{}", _pairs(urls))}',
        )
        return "{\n" + ",\n".join(f"  {section}" for section in sections) + "\n}\n"


def _pairs(entries: Mapping[str, str]) -> list[str]:
    return [f"{_quoted(name)}: {_quoted(value)}" for name, value in sorted(entries.items())]


def _block(brackets: str, entries: list[str]) -> str:
    if not entries:
        return brackets
    return brackets[0] + "\n" + ",\n".join(f"    {entry}" for entry in entries) + f"\n  {brackets[1]}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _check_head(read: JsonText, document: dict[str, Any]) -> None:
    if document.get("kind") != KIND:
        at = ("kind",) if "kind" in document else ()
        raise read.fault(at, f'its `kind` is not "{KIND}"', _REMEDY)
    version = document.get("version")
    if version != VERSION or isinstance(version, bool):
        newer = isinstance(version, int) and version > VERSION
        what = f"it is of version {json.dumps(version)}, and this lian reads version {VERSION}"
        at = ("version",) if "version" in document else ()
        raise read.fault(at, what, "use the lian that wrote it, or a newer one" if newer else _REMEDY)
    for name in document:
        if name not in _FIELDS:
            raise read.fault((name,), f"it has a field {name!r} that no lock has", _REMEDY)


def _mapping(read: JsonText, section: str) -> dict[str, Any]:
    found = read.value.get(section, {})
    if not isinstance(found, dict):
        raise read.fault((section,), f"`{section}` is no JSON object", _REMEDY)
    return found


def _images(read: JsonText) -> dict[Reference, Digest]:
    return {
        _parsed(read, ("images", name), _reference, name): _digest(read, ("images", name), pin)
        for name, pin in _mapping(read, "images").items()
    }


def _reference(name: str) -> Reference:
    reference = Reference.parse(name)
    if reference.digest is not None:
        raise ValueError(f"{name} has a digest already, so there is nothing to pin")
    if str(reference) != name:
        raise ValueError(f"{name!r} is not a whole name: it is {reference}")
    return reference


def _urls(read: JsonText) -> dict[str, Digest]:
    found: dict[str, Digest] = {}
    for url, pin in _mapping(read, "urls").items():
        if not _URL.fullmatch(url):
            raise read.fault(("urls", url), f"{url[:100]!r} is no URL of http or https", _REMEDY)
        found[url] = _digest(read, ("urls", url), pin)
        if found[url].algorithm != "sha256":
            raise read.fault(("urls", url), "a URL is pinned by sha256", _REMEDY)
    return found


def _git(read: JsonText) -> dict[tuple[str, str], str]:
    entries = read.value.get("git", [])
    if not isinstance(entries, list):
        raise read.fault(("git",), "`git` is no JSON array", _REMEDY)
    found: dict[tuple[str, str], str] = {}
    for number, entry in enumerate(entries):
        at = ("git", number)
        if not isinstance(entry, dict) or set(entry) != set(_GIT_FIELDS):
            raise read.fault(at, "an entry of `git` has `url`, `rev` and `commit`", _REMEDY)
        url, rev, commit = (entry[name] for name in _GIT_FIELDS)
        if not (isinstance(url, str) and isinstance(rev, str) and url and rev):
            raise read.fault(at, "`url` and `rev` are texts", _REMEDY)
        if not isinstance(commit, str) or as_commit(commit) != commit:
            raise read.fault((*at, "commit"), "a commit is 40 or 64 hex digits in lower case", _REMEDY)
        if (url, rev) in found:
            raise read.fault(at, f"{url} at {rev} stands here twice", "keep one of them")
        found[url, rev] = commit
    return found


def _digest(read: JsonText, at: tuple[str | int, ...], pin: object) -> Digest:
    if not isinstance(pin, str):
        raise read.fault(at, "a pin is a digest, a text", _REMEDY)
    return _parsed(read, at, Digest.parse, pin)


def _parsed(read: JsonText, at: tuple[str | int, ...], parse: Callable[[str], T], text: str) -> T:
    try:
        return parse(text)
    except ValueError as error:
        raise read.fault(at, str(error), _REMEDY) from error
