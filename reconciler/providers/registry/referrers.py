"""The referrers of an image where the registry keeps no list of its own.

distribution-spec 1.1, "Referrers Tag Schema": an index under a tag made of the subject's digest. Pure functions.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from reconciler.model.canonical import canonical
from reconciler.model.manifest import EMPTY_CONFIG, IMAGE_INDEX, Descriptor, Manifest
from reconciler.model.record import TIME_ANNOTATION

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from reconciler.model.digest import Digest

OWN_PREFIX = "application/vnd.lian."
_UNSAID = (None, "", EMPTY_CONFIG)
KEPT = 50
"""Own entries kept for one subject; each build adds one, and a list must not outgrow what a registry takes."""


def fallback_tag(subject: Digest) -> str:
    """`sha256-<hex>`, cut as the specification says."""
    return f"{subject.algorithm[:32]}-{subject.hex[:64]}"


def subject_of(manifest: Manifest) -> Digest | None:
    """What the manifest refers to. Raises ValueError for a manifest that cannot be read."""
    subject = manifest.document.get("subject")
    return Descriptor.from_json(subject).digest if isinstance(subject, dict) else None


def descriptor_of(manifest: Manifest) -> Descriptor:
    """The manifest as it stands in a list of referrers: with artifact type and annotations. Raises ValueError."""
    document = manifest.document
    config = document.get("config")
    kind = document.get("artifactType") or (config.get("mediaType") if isinstance(config, dict) else None)
    annotations = document.get("annotations") or {}
    if not isinstance(annotations, dict):
        raise ValueError("annotations are a JSON object")
    plain = Descriptor.of(manifest.media_type, manifest.data)
    return replace(plain, artifact_type=str(kind) if kind else None, annotations=annotations)


def is_own_document(manifest: Manifest) -> bool:
    """True for what lian keeps under a tag of its own: an artifact of its kinds that refers to nothing."""
    document = manifest.document
    kind = document.get("artifactType")
    return isinstance(kind, str) and kind.startswith(OWN_PREFIX) and "subject" not in document


def entries_of(manifest: Manifest) -> list[dict[str, Any]]:
    """The descriptors of an index as they were written. Raises ValueError if it is no index."""
    entries = manifest.document.get("manifests")
    if not isinstance(entries, list) or not all(isinstance(e, dict) for e in entries):
        raise ValueError("it is not an image index")
    return entries


def merged(entries: Sequence[Mapping[str, Any]], new: Descriptor) -> list[dict[str, Any]]:
    """The entries with the new one in its place or at the end. Others' entries stay as they are; of lian's own the
    newest KEPT of a kind stay (by their creation time, then by their place)."""
    written = new.to_json()
    kept = [dict(e) for e in entries if e.get("digest") != written["digest"]] + [written]
    own = [i for i, e in enumerate(kept) if _is_own(e, new.artifact_type)]
    dropped = set(sorted(own, key=lambda i: (_created(kept[i]), i))[:-KEPT])
    return [e for i, e in enumerate(kept) if i not in dropped]


def without(entries: Sequence[Mapping[str, Any]], digest: Digest) -> list[dict[str, Any]]:
    """The entries of all other referrers."""
    return [dict(e) for e in entries if e.get("digest") != str(digest)]


def selected(entries: Sequence[Mapping[str, Any]], artifact_type: str | None) -> tuple[Descriptor, ...]:
    """The entries of this artifact type, each once; for None, those that say of which type they are. Raises ValueError
    for one that is not a descriptor."""
    found = (Descriptor.from_json(e) for e in entries if _is_of(e, artifact_type))
    return tuple({d.digest: d for d in found}.values())


def unsaid(entries: Sequence[Mapping[str, Any]]) -> tuple[Digest, ...]:
    """The referrers whose entry does not say what they are: without an artifact type (cosign's own lists), or with
    that of an empty config in its place (go-containerregistry's registry). Raises ValueError as `selected` does."""
    found = (Descriptor.from_json(e) for e in entries if e.get("artifactType") in _UNSAID)
    return tuple(dict.fromkeys(d.digest for d in found))


def described(manifest: Manifest) -> Descriptor | None:
    """As `descriptor_of`; None for what cannot be a referrer that anyone looks for."""
    try:
        return Descriptor.from_json(descriptor_of(manifest).to_json())
    except ValueError:
        return None


def index_of(entries: Sequence[Mapping[str, Any]]) -> Manifest:
    """The index to put under the fallback tag."""
    return Manifest(IMAGE_INDEX, canonical({"schemaVersion": 2, "mediaType": IMAGE_INDEX, "manifests": list(entries)}))


def _is_of(entry: Mapping[str, Any], artifact_type: str | None) -> bool:
    kind = entry.get("artifactType")
    return kind not in _UNSAID if artifact_type is None else kind == artifact_type


def _is_own(entry: Mapping[str, Any], artifact_type: str | None) -> bool:
    kind = entry.get("artifactType")
    return isinstance(kind, str) and kind.startswith(OWN_PREFIX) and kind == artifact_type


def _created(entry: Mapping[str, Any]) -> str:
    annotations = entry.get("annotations")
    return str(annotations.get(TIME_ANNOTATION, "")) if isinstance(annotations, dict) else ""
