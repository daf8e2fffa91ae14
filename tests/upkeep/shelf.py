"""Caches as BuildKit and lian leave them in a registry, made of values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.cache.content import LAYER_TIME, MOUNTS_PREFIX, rfc3339
from reconciler.cache.namespace import Layout, Namespace
from reconciler.cache.notes import CREATED, REVISION
from reconciler.cache.notes import FLEET as FLEET_NOTE
from reconciler.cache.rules import Generation, Slot
from reconciler.cache.vet import CONFIG
from reconciler.model.canonical import canonical
from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, IMAGE_MANIFEST, Descriptor, Manifest, artifact
from reconciler.model.platform import Platform
from reconciler.model.reference import Repository
from tests.commits import FLEET, HOST

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tests.fakes import World

LAYER = "application/vnd.oci.image.layer.v1.tar+gzip"
LAYOUT = Layout("cache")
HOUR, DAY = 3600.0, 86_400.0


@dataclass(frozen=True)
class Made:
    """A cache to push: its manifest, and its blobs."""

    manifest: Manifest
    blobs: Mapping[Digest, bytes] = field(default_factory=dict)


def layers(
    *contents: bytes,
    created: float | None,
    fleet: str | None = FLEET,
    revision: str | None = "0" * 40,
    made: float | None = None,
) -> Made:
    """BuildKit's, with these layers; `made` is when they were."""
    config = canonical({"layers": [{"blob": str(Digest.of(data))} for data in contents], "records": []})
    times = {} if made is None else {LAYER_TIME: rfc3339(made) or ""}
    described = [{**Descriptor.of(LAYER, data).to_json(), "annotations": times} for data in contents]
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": Descriptor.of(CONFIG, config).to_json(),
        "layers": described,
        "annotations": notes(created, fleet, revision),
    }
    blobs = {Digest.of(data): data for data in (config, *contents)}
    return Made(Manifest(IMAGE_MANIFEST, canonical(document)), blobs)


def mounts(content: bytes, *, created: float | None, fleet: str | None = FLEET) -> Made:
    """Saved cache mounts."""
    layer = Descriptor.of(LAYER, content)
    manifest = artifact(f"{MOUNTS_PREFIX}v1", None, (layer,), notes(created, fleet, "0" * 40))
    return Made(manifest, {Digest.of(EMPTY_BLOB): EMPTY_BLOB, layer.digest: content})


def notes(created: float | None, fleet: str | None, revision: str | None) -> dict[str, str]:
    """What lian writes on a cache."""
    said = {CREATED: rfc3339(created), FLEET_NOTE: fleet, REVISION: revision}
    return {name: text for name, text in said.items() if text is not None}


def spot(
    name: str, *, actor: str | None = None, platform: str = "linux/amd64", generation: Generation = Generation.LATEST
) -> Slot:
    """The place of an artifact's cache."""
    workspace, _, short = name.partition("/")
    return Slot(Namespace(workspace, actor), short, Platform.parse(platform), generation)


def where(slot: Slot, host: str = HOST) -> Repository:
    """The repository of a slot."""
    return Repository(host, LAYOUT.repository(slot.namespace, slot.artifact))


def put(world: World, slot: Slot, made: Made, tag: str | None = None) -> Digest:
    """Have it there."""
    repository = where(slot)
    for digest, data in made.blobs.items():
        world.registry.blobs[repository, digest] = data
    world.registry.put(repository, made.manifest)
    world.registry.tags[repository, tag or slot.tag] = made.manifest.digest
    return made.manifest.digest


def fill(world: World, name: str, age: float, *contents: bytes, **more: Any) -> Digest:
    """A cache of that age: `actor`, `platform` and `generation` say where, the rest what."""
    place = {key: more.pop(key) for key in ("actor", "platform", "generation") if key in more}
    slot = spot(name, **place)
    usual = {"created": world.clock.now - age}
    if slot.generation is Generation.MOUNTS:
        return put(world, slot, mounts(contents[0] if contents else str(slot).encode(), **{**usual, **more}))
    return put(world, slot, layers(*(contents or (str(slot).encode(),)), **{**usual, **more}))


def left(world: World) -> dict[str, set[str]]:
    """Path of each cache's repository -> its tags."""
    found: dict[str, set[str]] = {}
    for repository, tag in world.registry.tags:
        if LAYOUT.reserves(repository.path):
            found.setdefault(repository.path, set()).add(tag)
    return found
