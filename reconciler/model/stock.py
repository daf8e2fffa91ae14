"""What one repository holds, as far as it decides what may be taken away. Content by digest never changes, tags do."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.model.applied import APPLIED_PREFIX
from reconciler.model.digest import Digest
from reconciler.model.manifest import Descriptor
from reconciler.model.pruning import CLAIM_PREFIX, PRUNING_TAG

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from reconciler.model.applied import Applied
    from reconciler.model.manifest import Manifest
    from reconciler.model.pruning import Announcement
    from reconciler.model.record import BuildRecord
    from reconciler.model.reference import Repository

CONTENT_TAG = re.compile(r"lian-[0-9a-f]{40}")
_ATTACHED_TAG = re.compile(r"(?P<algorithm>sha256|sha512)-(?P<hex>[0-9a-f]{64})(?P<rest>\.(sig|att|sbom))?")


def of_lian(tag: str) -> bool:
    """True for a tag under which lian keeps a document of its own: it names no image."""
    return tag == PRUNING_TAG or tag.startswith((APPLIED_PREFIX, CLAIM_PREFIX))


@dataclass(frozen=True, slots=True)
class AttachedTag:
    """A tag made of a digest, which holds what belongs to that content: the list of its referrers (distribution-spec
    1.1, "Referrers Tag Schema"), or with a `.sig`, `.att` or `.sbom` what cosign put there before there were any."""

    subject: Digest
    is_list: bool

    @classmethod
    def parse(cls, tag: str) -> AttachedTag | None:
        """None for any other tag. The tag of a sha512 digest is cut to 64 digits, so it does not tell which it is."""
        match = _ATTACHED_TAG.fullmatch(tag)
        if match is None or match["algorithm"] != "sha256":
            return None
        return cls(Digest("sha256", match["hex"]), match["rest"] is None)


def names_image(tag: str) -> bool:
    """True for a tag that names an image, or what someone else means to be one."""
    return not of_lian(tag) and _ATTACHED_TAG.fullmatch(tag) is None


@dataclass(frozen=True, slots=True)
class Content:
    """A manifest, as far as what it names is concerned. `size` in bytes: its own and that of its blobs."""

    children: tuple[Digest, ...] = ()
    """The manifests of an index, in its order."""
    config: Digest | None = None
    subject: Digest | None = None
    artifact_type: str | None = None
    size: int = 0

    @classmethod
    def of(cls, manifest: Manifest) -> Content:
        """Raises ValueError for a document that is no manifest."""
        document = manifest.document
        children = document.get("manifests")
        if children is not None and not isinstance(children, list):
            raise ValueError("its `manifests` are no list")
        config, subject, kind = (document.get(part) for part in ("config", "subject", "artifactType"))
        blobs = [config, *layers] if isinstance(layers := document.get("layers"), list) else [config]
        described = [found for blob in blobs if (found := _descriptor(blob))]
        return cls(
            tuple(dict.fromkeys(Descriptor.from_json(child).digest for child in children or ())),
            found.digest if (found := _descriptor(config)) else None,
            found.digest if (found := _descriptor(subject)) else None,
            kind if isinstance(kind, str) else None,
            len(manifest.data) + sum(blob.size for blob in described),
        )


def _descriptor(value: object) -> Descriptor | None:
    """What is none says nothing of what is kept: only an index does."""
    try:
        return Descriptor.from_json(value) if isinstance(value, dict) else None
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Stock:
    """A repository as it was found.

    `contents` has every manifest that is there of those that tags name, that these reach, and that an earlier prune
    left; so what is not in it is not there. `records` are by the image they are attached to, and `referrers` too.
    """

    repository: Repository
    tags: Mapping[str, Digest] = field(default_factory=dict)
    applied: Applied | None = None
    """This fleet's applied document."""
    left: Announcement | None = None
    """What a prune of this fleet had announced and did not come to the end of."""
    contents: Mapping[Digest, Content] = field(default_factory=dict)
    records: Mapping[Digest, tuple[BuildRecord, ...]] = field(default_factory=dict)
    referrers: Mapping[Digest, tuple[Digest, ...]] = field(default_factory=dict)

    def reach(self, starts: Iterable[Digest]) -> tuple[Digest, ...]:
        """These and all that they name, parents first."""
        found: dict[Digest, None] = dict.fromkeys(starts)
        waiting = list(found)
        for digest in waiting:
            content = self.contents.get(digest)
            for child in content.children if content else ():
                if child not in found:
                    found[child] = None
                    waiting.append(child)
        return tuple(found)

    def attached_tags(self) -> dict[Digest, dict[str, AttachedTag]]:
        """Digest -> the tags that are made of it."""
        found: dict[Digest, dict[str, AttachedTag]] = {}
        for tag in self.tags:
            if parsed := AttachedTag.parse(tag):
                found.setdefault(parsed.subject, {})[tag] = parsed
        return found
