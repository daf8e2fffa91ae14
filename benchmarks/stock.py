"""What a pass would have pushed for the changes of a plan, and how it comes to a registry at little cost.

Where that can be done, a storage folder is filled before a registry is started on it: pushing ten thousand images with
all that belongs to them takes many minutes, and writing the same files a few seconds. zot goes through all that it
finds at its start once more in the background, for each digest, and answers slowly meanwhile: there it is pushed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from reconciler.model.applied import Applied, AppliedTag, History, applied_at
from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, IMAGE_MANIFEST, Descriptor, Manifest, artifact
from reconciler.model.platform import Platform
from reconciler.model.record import (
    ARTIFACT_TYPE,
    KEY_ANNOTATION,
    RECORD_LAYER,
    TIME_ANNOTATION,
    BuildRecord,
    PlatformBuild,
)
from reconciler.model.reference import Repository
from reconciler.providers.registry.layout.index import REF_NAME
from reconciler.providers.registry.referrers import descriptor_of, fallback_tag, index_of

if TYPE_CHECKING:
    import http.client
    from collections.abc import Mapping, Sequence
    from pathlib import Path

FLEET = "bench"
CONFIG = "application/vnd.oci.image.config.v1+json"
PUSHED = datetime(2024, 3, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Put:
    """A manifest under some tags, or under none, and the blobs it is made of. `subject` is what it refers to."""

    manifest: Manifest
    tags: Sequence[str] = ()
    blobs: Mapping[Digest, bytes] = field(default_factory=dict)
    subject: Digest | None = None


def pushed(change: Mapping[str, Any]) -> list[Put]:
    """The image of one change of a plan, alone in its repository: image, build record, applied document."""
    key, tags, revision, time = str(change["key"]), list(change["tags"]), "0" * 40, int(PUSHED.timestamp())
    config = canonical(
        {"architecture": "amd64", "os": "linux", "config": {"Labels": {"key": key}}, "rootfs": _NO_LAYERS}
    )
    descriptor = Descriptor.of(CONFIG, config).to_json()
    document = {"schemaVersion": 2, "mediaType": IMAGE_MANIFEST, "config": descriptor, "layers": []}
    image = Manifest(IMAGE_MANIFEST, canonical(document))
    entry = AppliedTag(image.digest, str(change["artifact"]), revision, time)
    applied, blobs = Applied(FLEET, History(revision, time), dict.fromkeys(tags, entry)).packed()
    where = applied_at(Repository("", repository(change)), FLEET)
    return [
        Put(image, [f"lian-{key[:40]}", *tags], {Digest.of(config): config}),
        _record(change, image, revision),
        Put(applied, [where.name], blobs),
    ]


_NO_LAYERS = {"type": "layers", "diff_ids": []}


def repository(change: Mapping[str, Any]) -> str:
    """The path of a change's repository, whatever host the plan was made for."""
    return "bench/" + str(change["image"]).rpartition("/bench/")[2]


def _record(change: Mapping[str, Any], image: Manifest, revision: str) -> Put:
    started, key = PUSHED.isoformat().replace("+00:00", "Z"), str(change["key"])
    built = {Platform.parse(p): PlatformBuild(key, {}, image.digest) for p in change["platforms"]}
    record = BuildRecord(str(change["artifact"]), revision, key, image.digest, built, started, 1.0, fleet=FLEET)
    data = canonical(record.to_json())
    subject, layers = Descriptor.of(image.media_type, image.data), (Descriptor.of(RECORD_LAYER, data),)
    manifest = artifact(ARTIFACT_TYPE, subject, layers, {KEY_ANNOTATION: key, TIME_ANNOTATION: started})
    return Put(manifest, blobs={Digest.of(EMPTY_BLOB): EMPTY_BLOB, Digest.of(data): data}, subject=image.digest)


def as_layout(root: Path, path: str, puts: Sequence[Put]) -> None:
    """As an OCI image layout (image-spec, image-layout.md)."""
    entries = []
    blobs = root / path / "blobs/sha256"
    blobs.mkdir(parents=True)
    for put in puts:
        for digest, data in {**put.blobs, put.manifest.digest: put.manifest.data}.items():
            (blobs / digest.hex).write_bytes(data)
        described = (descriptor_of if put.subject else _plain)(put.manifest).to_json()
        entries += [described | {"annotations": {REF_NAME: tag}} for tag in put.tags] or [described]
    (root / path / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
    (root / path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')


def as_distribution(root: Path, path: str, puts: Sequence[Put]) -> None:
    """As distribution's storage driver lays its files down (distribution, registry/storage/paths.go), with the lists of
    referrers under their fallback tags: it has no referrers API."""
    store = root / "docker/registry/v2"
    own = store / "repositories" / path
    lists = [
        Put(index_of([descriptor_of(put.manifest).to_json()]), [fallback_tag(put.subject)])
        for put in puts
        if put.subject
    ]
    for put in [*puts, *lists]:
        digest = put.manifest.digest
        for blob, data in {**put.blobs, digest: put.manifest.data}.items():
            _write(store / "blobs/sha256" / blob.hex[:2] / blob.hex / "data", data)
        for blob in put.blobs:
            _write(own / "_layers/sha256" / blob.hex / "link", str(blob).encode())
        _write(own / "_manifests/revisions/sha256" / digest.hex / "link", str(digest).encode())
        for tag in put.tags:
            _write(own / "_manifests/tags" / tag / "current/link", str(digest).encode())
            _write(own / "_manifests/tags" / tag / "index/sha256" / digest.hex / "link", str(digest).encode())


def push(connection: http.client.HTTPConnection, path: str, puts: Sequence[Put]) -> None:
    """As plainly as HTTP can, to a registry with a referrers API. Raises RuntimeError for what is refused."""
    for put in puts:
        for digest, data in put.blobs.items():
            _ask(connection, "POST", f"/v2/{path}/blobs/uploads/?digest={digest}", data, "application/octet-stream")
        for name in put.tags or [str(put.manifest.digest)]:
            _ask(connection, "PUT", f"/v2/{path}/manifests/{name}", put.manifest.data, put.manifest.media_type)


def _ask(connection: http.client.HTTPConnection, method: str, target: str, body: bytes, kind: str) -> None:
    connection.request(method, target, body, {"content-type": kind})
    response = connection.getresponse()
    said = response.read()
    if response.status != 201:
        raise RuntimeError(f"{method} {target}: {response.status} {said.decode()}")


def _plain(manifest: Manifest) -> Descriptor:
    return Descriptor.of(manifest.media_type, manifest.data)


def _write(file: Path, data: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data)
