"""What lian needs of a registry, as tests that every adapter must pass on every kind of server.

A test module derives from RegistrySuite and gives it the fixture `place`: the host to use, a way to open a reader and
a publisher for it, and in what this kind of registry differs from the others (docs/registries.md has the whole list).
A difference changes what a test expects; no test is left out.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import httpx
import pytest

from reconciler.model.digest import Digest
from reconciler.model.manifest import EMPTY_BLOB, IMAGE_INDEX, IMAGE_MANIFEST, Descriptor, Manifest, artifact, index
from reconciler.model.observed import ABSENT, Absent, Found
from reconciler.model.platform import Platform
from reconciler.model.problem import LianError
from reconciler.model.record import TIME_ANNOTATION
from reconciler.model.reference import Reference, Repository
from reconciler.ports.publisher import PullFrom, PushTo, ReadLayout, WriteLayout

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from contextlib import AbstractAsyncContextManager
    from pathlib import Path

    from reconciler.model.observed import Sighting
    from reconciler.ports.publisher import Destination, Publisher
    from reconciler.ports.registry import Registry
    from reconciler.ports.remover import Remover

KIND = "application/vnd.lian.test.v1"
OTHER_KIND = "application/vnd.lian.other.v1"
AMD64, ARM64 = Platform("linux", "amd64"), Platform("linux", "arm64")


@dataclass(frozen=True)
class Differences:
    """In what a kind of registry differs; the defaults are what most do.

    `refuses_incomplete`: a manifest is refused while a blob that it names is missing. `keeps_untagged`: a manifest
    stays when its last tag moves on. `deletes_tags`: a deleted manifest's tags go with it. `impossible_names`:
    repositories that it cannot hold beside those of the suite.
    """

    refuses_incomplete: bool = True
    deletes_tags: bool = True
    keeps_untagged: bool = True
    impossible_names: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Place:
    """A registry under test. `open` and `remove` connect to it; use them inside one event loop."""

    host: str
    open: Callable[[], AbstractAsyncContextManager[tuple[Registry, Publisher]]]
    remove: Callable[[], AbstractAsyncContextManager[Remover]]
    differs: Differences = Differences()
    builder: str | None = None
    """The Authorization header of a builder that pushes there, where one is needed."""

    def repository(self, path: str = "shop/api") -> Repository:
        """A repository on it."""
        return Repository(self.host, path)

    def run(self, use: Callable[[Registry, Publisher], Awaitable[None]]) -> None:
        """Open, use, close."""

        async def whole() -> None:
            async with self.open() as (registry, publisher):
                await use(registry, publisher)

        asyncio.run(whole())

    def run_removing(self, use: Callable[[Registry, Publisher, Remover], Awaitable[None]]) -> None:
        """As `run`, with what takes away."""

        async def whole() -> None:
            async with self.open() as (registry, publisher), self.remove() as remover:
                await use(registry, publisher, remover)

        asyncio.run(whole())


@dataclass(frozen=True)
class Image:
    """A small image; two with different text differ in every blob."""

    text: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def blobs(self) -> dict[Digest, bytes]:
        """Config and one layer."""
        config = json.dumps({"architecture": "amd64", "os": "linux", "text": self.text}).encode()
        layer = f"layer {self.text}".encode()
        return {Digest.of(config): config, Digest.of(layer): layer}

    @property
    def manifest(self) -> Manifest:
        """An OCI image manifest; its bytes are not in canonical form, as other tools' are not."""
        config, layer = self.blobs.values()
        document = {
            "schemaVersion": 2,
            "mediaType": IMAGE_MANIFEST,
            "config": Descriptor.of("application/vnd.oci.image.config.v1+json", config).to_json(),
            "layers": [Descriptor.of("application/vnd.oci.image.layer.v1.tar", layer).to_json()],
        }
        return Manifest(IMAGE_MANIFEST, json.dumps(document, indent=3).encode())

    @property
    def descriptor(self) -> Descriptor:
        """Of the manifest."""
        return Descriptor.of(IMAGE_MANIFEST, self.manifest.data)


def leave(destination: Destination, place: Place, images: list[Image], top: Manifest | None = None) -> None:
    """What a builder does: leave images (and an index over them) where it was told."""
    manifests = [image.manifest for image in images] + ([top] if top else [])
    blobs = {digest: data for image in images for digest, data in image.blobs.items()}
    if isinstance(destination, WriteLayout):
        write_layout(destination.folder, manifests, blobs)
    else:
        push(destination, manifests, blobs, place.builder)


def write_layout(folder: Path, manifests: list[Manifest], blobs: dict[Digest, bytes]) -> None:
    """A layout as buildctl writes it."""
    (folder / "blobs/sha256").mkdir(parents=True)
    for digest, data in (blobs | {m.digest: m.data for m in manifests}).items():
        (folder / "blobs/sha256" / digest.hex).write_bytes(data)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    top = Descriptor.of(manifests[-1].media_type, manifests[-1].data).to_json()
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [top]}))


def push(
    destination: PushTo, manifests: list[Manifest], blobs: dict[Digest, bytes], authorization: str | None = None
) -> None:
    """A push by digest."""
    assert destination.plain
    base = f"http://{destination.repository.host}/v2/{destination.repository.path}"
    with httpx.Client(headers={"authorization": authorization} if authorization else {}) as client:
        for digest, data in blobs.items():
            started = client.post(f"{base}/blobs/uploads/")
            location = httpx.URL(base).join(started.headers["location"]).copy_merge_params({"digest": str(digest)})
            assert client.put(location, content=data).status_code == 201
        for manifest in manifests:
            kind = {"content-type": manifest.media_type}
            assert (
                client.put(f"{base}/manifests/{manifest.digest}", content=manifest.data, headers=kind).status_code
                == 201
            )


def record(subject: Descriptor, text: str, kind: str = KIND, created: str = "") -> tuple[Manifest, dict[Digest, bytes]]:
    """An artifact that refers to `subject`, with its blobs."""
    data = text.encode()
    annotations = {"dev.lian.text": text} | ({TIME_ANNOTATION: created} if created else {})
    manifest = artifact(kind, subject, (Descriptor.of("application/json", data),), annotations)
    return manifest, {Digest.of(EMPTY_BLOB): EMPTY_BLOB, Digest.of(data): data}


async def head(registry: Registry, repository: Repository, name: str | Digest) -> Sighting:
    """What a tag or a digest is seen as."""
    digest = name if isinstance(name, Digest) else None
    reference = Reference(repository, None if digest else str(name), digest)
    return (await registry.heads([reference]))[reference]


def codes(error: pytest.ExceptionInfo[LianError]) -> set[str]:
    """The codes of the problems in an error."""
    return {problem.code for problem in error.value.problems}


class RegistrySuite:
    """The promises of the ports of registries."""

    def test_an_empty_registry_holds_nothing(self, place: Place) -> None:
        async def use(registry: Registry, _: Publisher) -> None:
            wanted = [
                Reference(place.repository(), "latest"),
                Reference(place.repository("a/b/c"), digest=Digest.of(b"nothing")),
            ]
            assert await registry.heads(wanted) == dict.fromkeys(wanted, ABSENT)
            assert await registry.heads([]) == {}
            for asked, code in ((registry.manifest, "manifest-unknown"), (registry.blob, "blob-unknown")):
                with pytest.raises(LianError) as error:
                    await asked(place.repository(), Digest.of(b"nothing"), *([10] if code == "blob-unknown" else []))
                assert codes(error) == {code}
            assert list(await registry.referrers(place.repository(), Digest.of(b"nothing"), KIND)) == []

        place.run(use)

    def test_what_is_published_is_found_under_digest_and_every_tag(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            image, repository = Image(), place.repository()
            told = await publisher.publish(repository, image.manifest, tags=["1.4", "stable"], blobs=image.blobs)
            assert (told.digest, told.size, told.media_type) == (image.manifest.digest, told.size, IMAGE_MANIFEST)
            seen = await registry.heads([Reference(repository, tag) for tag in ("1.4", "stable", "other")])
            found = Found(image.manifest.digest, IMAGE_MANIFEST, len(image.manifest.data))
            assert list(seen.values()) == [found, found, ABSENT]
            by_digest = Reference(repository, "stable", image.manifest.digest)
            assert (await registry.heads([by_digest]))[by_digest] == found
            assert await registry.manifest(repository, image.manifest.digest) == image.manifest
            for digest, data in image.blobs.items():
                assert await registry.blob(repository, digest, len(data)) == data

        place.run(use)

    def test_a_blob_over_the_limit_is_refused(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            image = Image()
            await publisher.publish(place.repository(), image.manifest, blobs=image.blobs)
            for digest, data in image.blobs.items():
                with pytest.raises(LianError) as error:
                    await registry.blob(place.repository(), digest, len(data) - 1)
                assert codes(error) == {"content-too-large"}

        place.run(use)

    def test_a_tag_moves_and_comes_back_without_its_blobs(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            first, second, tag = Image(), Image(), Reference(place.repository(), "latest")
            for image in (first, second):
                await publisher.publish(place.repository(), image.manifest, tags=["latest"], blobs=image.blobs)
                assert (await registry.heads([tag]))[tag] == Found(
                    image.manifest.digest, IMAGE_MANIFEST, image.descriptor.size
                )
            if place.differs.keeps_untagged:
                assert await registry.manifest(place.repository(), first.manifest.digest) == first.manifest
            else:
                with pytest.raises(LianError) as error:
                    await registry.manifest(place.repository(), first.manifest.digest)
                assert codes(error) == {"manifest-unknown"}
            await publisher.publish(place.repository(), first.manifest, tags=["latest"])
            assert (await registry.heads([tag]))[tag] == Found(
                first.manifest.digest, IMAGE_MANIFEST, first.descriptor.size
            )
            for digest, data in first.blobs.items():
                assert await registry.blob(place.repository(), digest, len(data)) == data

        place.run(use)

    def test_a_manifest_stays_while_one_of_its_tags_does(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            first, second, repository = Image(), Image(), place.repository()
            await publisher.publish(repository, first.manifest, tags=["lian-1", "latest"], blobs=first.blobs)
            await publisher.publish(repository, second.manifest, tags=["latest"], blobs=second.blobs)
            assert await registry.manifest(repository, first.manifest.digest) == first.manifest

        place.run(use)

    def test_publishing_again_changes_nothing(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            image = Image()
            for _ in range(3):
                await publisher.publish(place.repository(), image.manifest, tags=["a", "b"], blobs=image.blobs)
            seen = await registry.heads([Reference(place.repository(), tag) for tag in "ab"])
            assert {s.digest for s in seen.values() if isinstance(s, Found)} == {image.manifest.digest}

        place.run(use)

    def test_a_manifest_without_its_blobs_is_refused_or_told(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            image, tag = Image(), Reference(place.repository(), "latest")
            if not place.differs.refuses_incomplete:
                await publisher.publish(place.repository(), image.manifest, tags=["latest"])
                assert set(await registry.missing(place.repository(), image.manifest.digest)) == set(image.blobs)
                return
            with pytest.raises(LianError) as error:
                await publisher.publish(place.repository(), image.manifest, tags=["latest"])
            assert codes(error) == {"registry-refused"}
            assert isinstance((await registry.heads([tag]))[tag], Absent)

        place.run(use)

    def test_repositories_do_not_mix(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            paths = ("a", "a/b", "a/b/c", "a/blobs", "a/blobs/sha256", "a/index", "index.json", "a/oci-layout")
            images = {path: Image() for path in paths if path not in place.differs.impossible_names}
            for path, image in images.items():
                await publisher.publish(place.repository(path), image.manifest, tags=["latest"], blobs=image.blobs)
            for path in place.differs.impossible_names:
                with pytest.raises(LianError) as error:
                    await publisher.publish(place.repository(path), Image().manifest, tags=["latest"])
                assert codes(error) <= {"registry-refused", "registry-failing", "harbor-project-missing"}
            seen = await registry.heads([Reference(place.repository(path), "latest") for path in paths])
            assert {r.repository.path: s.digest for r, s in seen.items() if isinstance(s, Found)} == {
                path: image.manifest.digest for path, image in images.items()
            }

        place.run(use)

    def test_what_a_builder_left_is_taken_in(self, place: Place, tmp_path: Path) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            image, repository = Image(), place.repository()
            destination = publisher.destination(repository, tmp_path)
            leave(destination, place, [image])
            for _ in range(2):
                assert await publisher.take_in(repository, destination, image.manifest.digest) == image.manifest
            assert await registry.manifest(repository, image.manifest.digest) == image.manifest
            for digest, data in image.blobs.items():
                assert await registry.blob(repository, digest, 1000) == data

        place.run(use)

    def test_an_index_is_taken_in_with_its_platforms(self, place: Place, tmp_path: Path) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            amd64, arm64, repository = Image(), Image(), place.repository()
            top = index({AMD64: amd64.descriptor, ARM64: arm64.descriptor})
            destination = publisher.destination(repository, tmp_path)
            leave(destination, place, [amd64, arm64], top)
            assert await publisher.take_in(repository, destination, top.digest) == top
            assert (await registry.manifest(repository, arm64.manifest.digest)).media_type == IMAGE_MANIFEST
            await publisher.publish(repository, top, tags=["latest"])
            tag = Reference(repository, "latest")
            assert (await registry.heads([tag]))[tag] == Found(top.digest, IMAGE_INDEX, len(top.data))

        place.run(use)

    def test_what_a_builder_did_not_leave_is_an_error(self, place: Place, tmp_path: Path) -> None:
        async def use(_: Registry, publisher: Publisher) -> None:
            destination = publisher.destination(place.repository(), tmp_path)
            leave(destination, place, [Image()])
            with pytest.raises(LianError) as error:
                await publisher.take_in(place.repository(), destination, Image().manifest.digest)
            assert codes(error) <= {"image-damaged", "manifest-unknown"}

        place.run(use)

    def test_referrers_are_found_by_kind(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            image, repository = Image(), place.repository()
            await publisher.publish(repository, image.manifest, tags=["latest"], blobs=image.blobs)
            for text in ("one", "two", "two"):
                manifest, blobs = record(image.descriptor, text)
                await publisher.publish(repository, manifest, blobs=blobs)
            manifest, blobs = record(image.descriptor, "three", OTHER_KIND)
            await publisher.publish(repository, manifest, blobs=blobs)
            found = await registry.referrers(repository, image.manifest.digest, KIND)
            assert sorted(d.annotations["dev.lian.text"] for d in found) == ["one", "two"]
            assert {d.artifact_type for d in found} == {KIND}
            for descriptor in found:
                held = await registry.manifest(repository, descriptor.digest)
                assert len(held.data) == descriptor.size
            assert len(await registry.referrers(repository, image.manifest.digest, OTHER_KIND)) == 1
            every = await registry.referrers(repository, image.manifest.digest, None)
            assert sorted((d.artifact_type, d.annotations["dev.lian.text"]) for d in every) == [
                (OTHER_KIND, "three"),
                (KIND, "one"),
                (KIND, "two"),
            ]
            assert list(await registry.referrers(repository, Digest.of(b"another"), KIND)) == []
            assert list(await registry.referrers(repository, image.manifest.digest, "application/x")) == []

        place.run(use)

    def test_referrers_written_at_the_same_time_are_all_kept(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            image, repository = Image(), place.repository()
            await publisher.publish(repository, image.manifest, blobs=image.blobs)
            records = [record(image.descriptor, str(n)) for n in range(12)]
            await asyncio.gather(*(publisher.publish(repository, m, blobs=b) for m, b in records))
            found = await registry.referrers(repository, image.manifest.digest, KIND)
            assert {d.digest for d in found} == {m.digest for m, _ in records}

        place.run(use)

    def test_many_references_are_answered_together(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            image = Image()
            await publisher.publish(place.repository("r/1"), image.manifest, tags=["latest"], blobs=image.blobs)
            wanted = [Reference(place.repository(f"r/{n}"), "latest") for n in range(200)]
            seen = await registry.heads([*wanted, *wanted])
            assert set(seen) == set(wanted)
            assert [r.repository.path for r, s in seen.items() if isinstance(s, Found)] == ["r/1"]
            assert sum(isinstance(s, Absent) for s in seen.values()) == 199

        place.run(use)

    def test_a_builder_is_told_where(self, place: Place, tmp_path: Path) -> None:
        async def use(_: Registry, publisher: Publisher) -> None:
            image, repository = Image(), place.repository("a/blobs")
            await publisher.publish(repository, image.manifest, blobs=image.blobs)
            origin = publisher.origin(repository)
            if isinstance(origin, PullFrom):
                assert origin == PullFrom(repository, plain=True)
                assert publisher.destination(repository, tmp_path) == PushTo(repository, plain=True)
            else:
                assert isinstance(origin, ReadLayout)
                blob = origin.folder / "blobs/sha256" / image.manifest.digest.hex
                assert hashlib.sha256(blob.read_bytes()).hexdigest() == image.manifest.digest.hex
                assert json.loads((origin.folder / "oci-layout").read_text()) == {"imageLayoutVersion": "1.0.0"}

        place.run(use)

    def test_what_is_whole_lacks_nothing(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            image, other, repository = Image(), Image(), place.repository()
            for each in (image, other):
                await publisher.publish(repository, each.manifest, blobs=each.blobs)
            top = index({AMD64: image.descriptor, ARM64: other.descriptor})
            await publisher.publish(repository, top)
            for digest in (image.manifest.digest, top.digest):
                assert await registry.missing(repository, digest) == ()
            for where in (repository, place.repository("not/there")):
                assert await registry.missing(where, Digest.of(b"nothing")) == (Digest.of(b"nothing"),)

        place.run(use)

    def test_an_image_is_copied_with_all_its_platforms(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            amd64, arm64 = Image(), Image()
            source, target = place.repository("shop/api"), place.repository("shop/team/api")
            top = index({AMD64: amd64.descriptor, ARM64: arm64.descriptor})
            for each in (amd64, arm64):
                await publisher.publish(source, each.manifest, blobs=each.blobs)
            await publisher.publish(source, top, tags=["latest"])
            for _ in range(2):
                assert await publisher.copy(source, target, top.digest) == top
            assert await registry.missing(target, top.digest) == ()
            for digest, data in (amd64.blobs | arm64.blobs).items():
                assert await registry.blob(target, digest, 1000) == data
            assert await head(registry, target, "latest") == ABSENT
            await publisher.publish(target, top, tags=["latest"])
            assert await head(registry, target, "latest") == await head(registry, source, "latest")

        place.run(use)

    def test_what_is_not_there_is_not_copied(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher) -> None:
            source, target, nothing = place.repository(), place.repository("other"), Digest.of(b"nothing")
            with pytest.raises(LianError) as error:
                await publisher.copy(source, target, nothing)
            assert codes(error) == {"manifest-unknown"}
            assert await head(registry, target, nothing) == ABSENT

        place.run(use)

    def test_a_copy_outlives_what_it_was_copied_from(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher, remover: Remover) -> None:
            image, source, target = Image(), place.repository(), place.repository("other")
            await publisher.publish(source, image.manifest, tags=["latest"], blobs=image.blobs)
            await publisher.copy(source, target, image.manifest.digest)
            await remover.delete(source, image.manifest.digest)
            assert await head(registry, source, image.manifest.digest) == ABSENT
            assert await registry.missing(target, image.manifest.digest) == ()
            for digest, data in image.blobs.items():
                assert await registry.blob(target, digest, 1000) == data

        place.run_removing(use)

    def test_a_tag_goes_alone(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher, remover: Remover) -> None:
            image, repository = Image(), place.repository()
            await publisher.publish(repository, image.manifest, tags=["a", "b"], blobs=image.blobs)
            for tag, left in (("a", "b"), ("b", "c")):
                for _ in range(2):
                    await remover.untag(repository, tag)
                    assert await head(registry, repository, tag) == ABSENT
                assert isinstance(await head(registry, repository, left), Found if left == "b" else Absent)
                assert await registry.manifest(repository, image.manifest.digest) == image.manifest
                assert await registry.missing(repository, image.manifest.digest) == ()
            for _ in range(2):
                await publisher.publish(repository, image.manifest, tags=["a"])
                assert isinstance(await head(registry, repository, "a"), Found)
                await remover.untag(repository, "a")
                assert await head(registry, repository, "a") == ABSENT

        place.run_removing(use)

    def test_tags_go_side_by_side(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher, remover: Remover) -> None:
            images, repository = [Image() for _ in range(4)], place.repository()
            for n, image in enumerate(images):
                await publisher.publish(repository, image.manifest, tags=[f"{n}-a", f"{n}-b"], blobs=image.blobs)
            await asyncio.gather(*(remover.untag(repository, f"{n}-a") for n in range(4)))
            for n, image in enumerate(images):
                assert await head(registry, repository, f"{n}-a") == ABSENT
                seen = await head(registry, repository, f"{n}-b")
                assert isinstance(seen, Found) and seen.digest == image.manifest.digest

        place.run_removing(use)

    def test_what_is_not_there_is_gone(self, place: Place) -> None:
        async def use(_: Registry, publisher: Publisher, remover: Remover) -> None:
            image = Image()
            for _times in range(2):
                for repository in (place.repository(), place.repository("not/there")):
                    await remover.untag(repository, "latest")
                    await remover.delete(repository, Digest.of(b"nothing"))
                await publisher.publish(place.repository(), image.manifest, blobs=image.blobs)

        place.run_removing(use)

    def test_an_image_goes_with_its_tags_and_no_other(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher, remover: Remover) -> None:
            first, second, repository = Image(), Image(), place.repository()
            layers = [*first.manifest.document["layers"], *second.manifest.document["layers"]]
            both = Manifest(IMAGE_MANIFEST, json.dumps(second.manifest.document | {"layers": layers}).encode())
            blobs = first.blobs | second.blobs
            await publisher.publish(repository, first.manifest, tags=["a", "b"], blobs=first.blobs)
            await publisher.publish(repository, both, tags=["c"], blobs=blobs)
            for _ in range(2):
                await remover.delete(repository, first.manifest.digest)
                assert await head(registry, repository, first.manifest.digest) == ABSENT
                for tag in ("a", "b"):
                    assert (await head(registry, repository, tag) == ABSENT) is place.differs.deletes_tags
            assert isinstance(await head(registry, repository, "c"), Found)
            assert await registry.missing(repository, both.digest) == ()
            await publisher.publish(repository, first.manifest, tags=["a"], blobs=first.blobs)
            assert await registry.missing(repository, first.manifest.digest) == ()
            assert isinstance(await head(registry, repository, "a"), Found)

        place.run_removing(use)

    def test_an_index_goes_before_its_platforms(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher, remover: Remover) -> None:
            amd64, arm64, repository = Image(), Image(), place.repository()
            for image in (amd64, arm64):
                await publisher.publish(repository, image.manifest, blobs=image.blobs)
            top = index({AMD64: amd64.descriptor, ARM64: arm64.descriptor})
            await publisher.publish(repository, top, tags=["latest"])
            for digest in (top.digest, amd64.manifest.digest, arm64.manifest.digest):
                await remover.delete(repository, digest)
                assert await head(registry, repository, digest) == ABSENT
            assert (await head(registry, repository, "latest") == ABSENT) is place.differs.deletes_tags

        place.run_removing(use)

    def test_a_referrer_leaves_its_list(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher, remover: Remover) -> None:
            image, repository = Image(), place.repository()
            await publisher.publish(repository, image.manifest, tags=["latest"], blobs=image.blobs)
            records = [record(image.descriptor, text) for text in ("one", "two", "three")]
            for _times in range(2):
                left = [manifest.digest for manifest, _ in records]
                for manifest, blobs in records:
                    await publisher.publish(repository, manifest, blobs=blobs)
                for manifest, _ in records:
                    for _again in range(2):
                        await remover.delete(repository, manifest.digest)
                    left.remove(manifest.digest)
                    found = await registry.referrers(repository, image.manifest.digest, KIND)
                    assert {d.digest for d in found} == set(left)
                    assert await head(registry, repository, manifest.digest) == ABSENT
                tag = f"sha256-{image.manifest.digest.hex}"
                assert await head(registry, repository, tag) == ABSENT
            assert isinstance(await head(registry, repository, "latest"), Found)

        place.run_removing(use)

    def test_referrers_come_and_go_at_the_same_time(self, place: Place) -> None:
        async def use(registry: Registry, publisher: Publisher, remover: Remover) -> None:
            image, repository = Image(), place.repository()
            await publisher.publish(repository, image.manifest, blobs=image.blobs)
            old, new = ([record(image.descriptor, f"{age} {n}") for n in range(4)] for age in ("old", "new"))
            for manifest, blobs in old:
                await publisher.publish(repository, manifest, blobs=blobs)
            await asyncio.gather(
                *(remover.delete(repository, manifest.digest) for manifest, _ in old),
                *(publisher.publish(repository, manifest, blobs=blobs) for manifest, blobs in new),
            )
            found = await registry.referrers(repository, image.manifest.digest, KIND)
            assert {d.digest for d in found} == {manifest.digest for manifest, _ in new}

        place.run_removing(use)
