"""The `index.json` of an image layout (image-spec, image-layout.md) as a value. Pure; what others wrote is kept."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from reconciler.model.digest import Digest
from reconciler.model.manifest import IMAGE_INDEX, Descriptor

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence

REF_NAME = "org.opencontainers.image.ref.name"
RETIRED = "dev.lian.retired"
"""On an entry that is only there for readers who have just seen the tag it names."""
KEPT_RETIRED = 2
"""Of each tag."""
_EMPTY: dict[str, Any] = {"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": []}


@dataclass(frozen=True, slots=True)
class LayoutIndex:
    """`document` is the parsed JSON object; it is never changed."""

    document: Mapping[str, Any]

    @classmethod
    def empty(cls) -> LayoutIndex:
        """Of a layout that holds nothing."""
        return cls(_EMPTY)

    @classmethod
    def parse(cls, data: bytes) -> LayoutIndex:
        """Raises ValueError for anything that is not such a document."""
        try:
            document = json.loads(data)
        except RecursionError:
            raise ValueError("it nests too deep") from None
        entries = document.get("manifests") if isinstance(document, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            raise ValueError("it has no list `manifests` of descriptors")
        return cls(document)

    def to_bytes(self) -> bytes:
        """As it is written to the file."""
        return json.dumps(self.document, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"

    @property
    def entries(self) -> list[dict[str, Any]]:
        """The descriptors as written."""
        return list(self.document["manifests"])

    def tagged(self, wanted: Collection[str]) -> dict[str, Descriptor]:
        """What these tags point at, as far as they exist; of two entries the later one. Raises ValueError."""
        found = {tag: entry for entry in self.entries if (tag := tag_of(entry)) in wanted}
        return {tag: Descriptor.from_json(entry) for tag, entry in found.items() if tag is not None}

    def descriptors(self) -> Iterator[Descriptor]:
        """All of them. Raises ValueError for one that is none."""
        return (Descriptor.from_json(entry) for entry in self.entries)

    def holding(self, descriptor: Descriptor) -> LayoutIndex:
        """The same, with an entry for this content unless there is one (for a referrer: one without a tag)."""
        written = descriptor.to_json()
        for entry in self.entries:
            if entry.get("digest") == written["digest"] and not (descriptor.artifact_type and tag_of(entry)):
                return self
        return self._with([*self.entries, written])

    def pointing(self, tags: Sequence[str], descriptor: Descriptor) -> LayoutIndex:
        """The same, with the tags on this content. What a tag leaves stays in the list, untagged."""
        moved = [e for e in self.entries if tag_of(e) in tags]
        if {tag_of(e) for e in moved} == set(tags) and {e.get("digest") for e in moved} <= {str(descriptor.digest)}:
            return self.holding(descriptor)
        plain = None if descriptor.artifact_type else descriptor.to_json()  # needless once a tag names it
        kept = [e for e in self.entries if tag_of(e) not in tags and e != plain]
        for tag in tags:
            kept.append(_tagged(descriptor, tag))
        held = {e.get("digest") for e in kept}
        for entry in moved:
            if entry.get("digest") not in held:
                held.add(entry.get("digest"))
                kept.append(_untagged(entry))
        return self._with(kept).holding(descriptor)

    def untagged(self, tag: str) -> LayoutIndex:
        """The same, without the tag. What it pointed at stays, if need be as an entry without a tag."""
        left = [e for e in self.entries if tag_of(e) == tag]
        kept = [e for e in self.entries if tag_of(e) != tag]
        held = {e.get("digest") for e in kept}
        return self._with(kept + [_untagged(e) for e in left[-1:] if e.get("digest") not in held])

    def removed(self, digest: str) -> LayoutIndex:
        """The same, without any entry of this content."""
        return self._with([e for e in self.entries if e.get("digest") != digest])

    def retired(self, digest: str, tag: str) -> LayoutIndex:
        """The same, where this content, which `tag` has left, is the last of those retired from the tag; of these the
        last KEPT_RETIRED stay. Content that another tag points at does not retire."""
        leaving = [e for e in self.entries if e.get("digest") == digest and tag_of(e) is None]
        kept = [e for e in self.entries if e not in leaving]
        kept += [_annotated(e, RETIRED, tag) for e in leaving[-1:]]
        old = [e for e in kept if tag_of(e) is None and annotations_of(e).get(RETIRED) == tag][:-KEPT_RETIRED]
        return self._with([e for e in kept if e not in old])

    def dropped(self, new: LayoutIndex) -> tuple[Digest, ...]:
        """The content that this index names and the new one does not."""
        kept = {entry.get("digest") for entry in new.entries}
        left = {str(entry.get("digest")) for entry in self.entries if entry.get("digest") not in kept}
        return tuple(_digests(left))

    def without(self, digests: Collection[str]) -> LayoutIndex:
        """The same, without the untagged entries of this content."""
        return self._with([e for e in self.entries if tag_of(e) is not None or e.get("digest") not in digests])

    def _with(self, entries: list[dict[str, Any]]) -> LayoutIndex:
        return self if entries == self.document["manifests"] else LayoutIndex({**self.document, "manifests": entries})


def _digests(texts: Iterable[str]) -> Iterator[Digest]:
    """As far as they are digests: what others wrote may be anything."""
    for text in texts:
        with contextlib.suppress(ValueError):
            yield Digest.parse(text)


def annotations_of(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The annotations of a descriptor as written, empty without any that can be read."""
    annotations = entry.get("annotations")
    return annotations if isinstance(annotations, dict) else {}


def tag_of(entry: Mapping[str, Any]) -> str | None:
    """The tag of a descriptor as written, None without one."""
    return annotations_of(entry).get(REF_NAME)


def _tagged(descriptor: Descriptor, tag: str) -> dict[str, Any]:
    return _annotated(descriptor.to_json(), REF_NAME, tag)


def _annotated(entry: Mapping[str, Any], name: str, value: str) -> dict[str, Any]:
    return {**entry, "annotations": {**annotations_of(entry), name: value}}


def _untagged(entry: Mapping[str, Any]) -> dict[str, Any]:
    annotations = {name: value for name, value in annotations_of(entry).items() if name != REF_NAME}
    rest = {name: value for name, value in entry.items() if name != "annotations"}
    return rest | {"annotations": annotations} if annotations else rest
