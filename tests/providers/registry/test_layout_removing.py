"""Taking away from a registry on disk: what nothing reaches goes, and nothing else, whoever else is at work."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor, wait
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.model.applied import APPLIED_TYPE
from reconciler.model.digest import Digest
from reconciler.model.manifest import (
    EMPTY_BLOB,
    IMAGE_INDEX,
    IMAGE_MANIFEST,
    Descriptor,
    Manifest,
    index,
    packed,
)
from reconciler.model.observed import ABSENT, Found, Unknown
from reconciler.model.problem import LianError
from reconciler.model.reference import Reference
from reconciler.providers.registry import referrers
from reconciler.providers.registry.layout import writing as layout_writing
from reconciler.providers.registry.layout.folder import LayoutFolder
from reconciler.providers.registry.layout.index import KEPT_RETIRED, LayoutIndex, tag_of
from reconciler.providers.registry.layout.publisher import LayoutPublisher
from reconciler.providers.registry.layout.registry import LayoutRegistry
from reconciler.providers.registry.layout.remover import LayoutRemover
from reconciler.providers.registry.layout.writing import putting
from tests.commits import APPLIED_TAG
from tests.ports.registry_suite import AMD64, ARM64, KIND, Image, codes, record
from tests.providers.registry.disk import FORK, Disk, check_whole, cut_off

if TYPE_CHECKING:
    from collections.abc import Iterator

LAYER = "application/vnd.oci.image.layer.v1.tar"


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    return Disk(tmp_path / "registry")


def put(disk: Disk, manifest: Manifest, blobs: dict[Digest, bytes] | None = None, *tags: str) -> None:
    asyncio.run(LayoutPublisher(disk.root).publish(disk.repository(), manifest, tags=tags, blobs=blobs))


def sharing(*layers: bytes, text: str = "") -> tuple[Manifest, dict[Digest, bytes]]:
    """An image of these layers."""
    config = json.dumps({"architecture": "amd64", "os": "linux", "text": text, "layers": len(layers)}).encode()
    document = {
        "schemaVersion": 2,
        "mediaType": IMAGE_MANIFEST,
        "config": Descriptor.of("application/vnd.oci.image.config.v1+json", config).to_json(),
        "layers": [Descriptor.of(LAYER, layer).to_json() for layer in layers],
    }
    manifest = Manifest(IMAGE_MANIFEST, json.dumps(document).encode())
    return manifest, {Digest.of(data): data for data in (config, *layers)}


def hexes(*parts: Manifest | dict[Digest, bytes]) -> set[str]:
    """The names of their files."""
    return {d.hex for part in parts for d in ([part.digest] if isinstance(part, Manifest) else part)}


def test_what_only_it_reached_goes_and_what_others_reach_stays(disk: Disk) -> None:
    first, first_blobs = sharing(b"base", b"one", text="1")
    second, second_blobs = sharing(b"base", b"two", text="2")
    put(disk, first, first_blobs, "a", "b")
    put(disk, second, second_blobs, "c")
    disk.delete(first.digest)
    assert disk.blobs() == hexes(second, second_blobs)
    assert [tag_of(entry) for entry in disk.index()["manifests"]] == ["c"]
    disk.delete(second.digest)
    assert disk.blobs() == set()
    assert disk.index()["manifests"] == []
    assert json.loads((disk.folder() / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


def test_a_platform_stays_as_long_as_an_index_names_it(disk: Disk) -> None:
    amd64, arm64 = Image(), Image()
    for image in (amd64, arm64):
        disk.publish(image)
    both, one = index({AMD64: amd64.descriptor, ARM64: arm64.descriptor}), index({AMD64: amd64.descriptor})
    put(disk, both, None, "latest")
    put(disk, one, None, "amd64")
    disk.delete(amd64.manifest.digest)
    assert isinstance(disk.head(digest=amd64.manifest.digest), Found)
    disk.delete(both.digest)
    assert disk.head("latest") == ABSENT
    assert disk.blobs() >= hexes(one, amd64.manifest, amd64.blobs, arm64.manifest, arm64.blobs)
    disk.delete(arm64.manifest.digest)
    assert disk.blobs() == hexes(one, amd64.manifest, amd64.blobs)
    disk.delete(one.digest)
    assert disk.blobs() == set()


def test_a_record_does_not_keep_what_it_is_about(disk: Disk) -> None:
    """It refers to the image, and the image is not part of it."""
    image = Image()
    manifest, blobs = record(image.descriptor, str(image.manifest.digest))
    disk.publish(image, "latest")
    put(disk, manifest, blobs)
    disk.delete(image.manifest.digest)
    assert disk.head(digest=image.manifest.digest) == ABSENT
    assert not disk.blobs() & hexes(image.manifest, image.blobs)
    assert disk.blobs() >= hexes(manifest, blobs)
    disk.delete(manifest.digest, grace=0)
    assert disk.blobs() == set()
    assert disk.index()["manifests"] == []


def test_what_others_have_just_put_is_left_alone_and_what_is_old_goes(disk: Disk) -> None:
    image, fresh = Image(), Digest.of(b"of another tool")
    disk.publish(image, "latest")
    path = disk.folder() / "blobs/sha256" / fresh.hex
    path.write_bytes(b"of another tool")
    os.utime(path, (0, 0))  # a copy that keeps the times of its source
    disk.delete(Digest.of(b"nothing"))
    assert disk.blobs() == hexes(image.manifest, image.blobs) | {fresh.hex}
    disk.delete(Digest.of(b"nothing"), grace=0)
    assert disk.blobs() == hexes(image.manifest, image.blobs)
    (disk.folder() / "blobs/sha256/no digest").write_bytes(b"x")
    disk.delete(Digest.of(b"nothing"), grace=0)
    assert "no digest" in disk.blobs()


def test_what_a_manifest_names_is_read_once(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else taking hundreds of images from one repository reads all the others hundreds of times."""
    images = [Image(str(n)) for n in range(12)]
    for image in images:
        disk.publish(image, image.text)
    remover, real, read = LayoutRemover(disk.root), LayoutFolder.blob, count()

    def blob(folder: LayoutFolder, digest: Digest, limit: int) -> bytes | None:
        next(read)
        return real(folder, digest, limit)

    monkeypatch.setattr(LayoutFolder, "blob", blob)
    reads = [0]
    for image in images[:4]:
        asyncio.run(remover.delete(disk.repository(), image.manifest.digest))
        reads.append(next(read) - sum(reads))
    assert reads[1] >= 12
    assert max(reads[2:]) < 6
    assert disk.blobs() == hexes(*(part for image in images[4:] for part in (image.manifest, image.blobs)))


def test_documents_of_unknown_kinds_keep_what_they_name(disk: Disk) -> None:
    kept = {Digest.of(data): data for data in (b"first", b"second", b"third")}
    first, second, third = kept
    foreign = {
        "kind": "of another tool",
        "blobs": [{"digest": str(first)}, {"deeper": [{"digest": str(second), "size": 6}]}],
        "manifests": [{"digest": str(third)}, {"digest": 3}, "x"],
    }
    data = json.dumps(foreign).encode()
    image = Image()
    disk.publish(image, "latest")
    for digest, content in {**kept, Digest.of(data): data}.items():
        (disk.folder() / "blobs/sha256" / digest.hex).write_bytes(content)
    document = disk.index()
    document["manifests"] += [{"mediaType": "application/x", "digest": str(Digest.of(data)), "size": len(data)}]
    (disk.folder() / "index.json").write_text(json.dumps(document))
    disk.delete(image.manifest.digest, grace=0)
    assert disk.blobs() == hexes(kept) | {Digest.of(data).hex}


@pytest.mark.parametrize("spoil", [b"", b"{}", b"\xff"])
def test_while_a_manifest_is_damaged_nothing_is_removed(disk: Disk, spoil: bytes) -> None:
    """Nobody knows what it names."""
    image, other = Image(), Image()
    disk.publish(image, "latest")
    disk.publish(other, "other")
    (disk.folder() / "blobs/sha256" / other.manifest.digest.hex).write_bytes(spoil)
    before = disk.blobs(), disk.index()
    with pytest.raises(LianError) as error:
        disk.delete(image.manifest.digest, grace=0)
    assert codes(error) == {"registry-damaged"}
    assert (disk.blobs(), disk.index()) == before
    disk.untag("latest")
    disk.untag("other")
    assert disk.head("latest") == disk.head("other") == ABSENT
    disk.delete(other.manifest.digest)
    disk.delete(image.manifest.digest, grace=0)
    assert disk.blobs() == set()


def test_what_is_no_layout_is_not_made_one(disk: Disk) -> None:
    disk.untag("latest")
    disk.delete(Digest.of(b"nothing"))
    assert not disk.root.exists()


def document(text: str, kind: str = APPLIED_TYPE) -> tuple[Manifest, dict[Digest, bytes]]:
    return packed(kind, f"{kind}+json", json.dumps({"text": text}).encode())


def test_documents_of_lians_own_do_not_pile_up(disk: Disk) -> None:
    image = Image()
    disk.publish(image, "latest")
    for n in range(12):
        put(disk, *document(str(n)), APPLIED_TAG)
        put(disk, *document(str(n), "application/vnd.lian.pruning.v1"), "lian-pruning")
        disk.publish(Image(str(n)), "moving")
    entries = [entry for entry in disk.index()["manifests"] if tag_of(entry) is None]
    images = {str(Image(str(n)).manifest.digest) for n in range(11)}
    assert {entry["digest"] for entry in entries} >= images
    assert len(entries) == 11 + 2 * KEPT_RETIRED
    manifests = {*(Image(str(n)).manifest for n in range(12)), image.manifest}
    blobs = [Image(str(n)).blobs for n in range(12)]
    documents = [
        document(str(n), kind) for n in (9, 10, 11) for kind in (APPLIED_TYPE, "application/vnd.lian.pruning.v1")
    ]
    kept = hexes(*manifests, *blobs, image.blobs, *(part for pair in documents for part in pair))
    assert disk.blobs() == kept | {Digest.of(EMPTY_BLOB).hex}


def test_a_reader_that_has_just_seen_the_tag_still_finds_the_document(disk: Disk) -> None:
    registry, repository = LayoutRegistry(disk.root), disk.repository()
    for n in range(6):
        manifest, blobs = document(str(n))
        put(disk, manifest, blobs, APPLIED_TAG)
        seen = disk.head(APPLIED_TAG)
        assert isinstance(seen, Found)
        for later in range(KEPT_RETIRED):
            put(disk, *document(f"{n} {later}"), APPLIED_TAG)
        assert asyncio.run(registry.manifest(repository, seen.digest)) == manifest
        assert asyncio.run(registry.missing(repository, seen.digest)) == ()


def test_a_document_that_comes_back_is_there(disk: Disk) -> None:
    for text in ("one", "two", "one", "three", "one", "one", "two", "three", "four", "one"):
        put(disk, *document(text), APPLIED_TAG)
        assert check_whole(disk) == {APPLIED_TAG: document(text)[0].digest}
    disk.untag(APPLIED_TAG)
    put(disk, *document("one"), APPLIED_TAG)
    assert check_whole(disk) == {APPLIED_TAG: document("one")[0].digest}


def test_a_document_whose_tag_is_taken_away_goes_in_its_turn(disk: Disk) -> None:
    for n in range(5):
        put(disk, *document(str(n)), APPLIED_TAG)
        disk.untag(APPLIED_TAG)
        assert disk.head(APPLIED_TAG) == ABSENT
    assert len(disk.index()["manifests"]) == KEPT_RETIRED
    assert disk.blobs() == hexes(*(part for n in (3, 4) for part in document(str(n)))) | {Digest.of(EMPTY_BLOB).hex}


@pytest.mark.parametrize("kind", ["application/vnd.example.v1", ""])
def test_what_is_not_lians_own_document_stays_without_a_tag(disk: Disk, kind: str) -> None:
    """What others made, and records, which refer to something."""
    made = []
    for n in range(5):
        if kind:
            made.append(document(str(n), kind))
        else:
            made.append(record(Image("about").descriptor, str(n), APPLIED_TYPE))
        put(disk, *made[-1], "tag")
    assert {str(manifest.digest) for manifest, _ in made} <= {e["digest"] for e in disk.index()["manifests"]}
    assert disk.blobs() >= hexes(*(part for pair in made for part in pair))


def test_a_document_under_a_second_tag_is_not_retired(disk: Disk) -> None:
    put(disk, *document("kept"), APPLIED_TAG, "mine")
    for n in range(5):
        put(disk, *document(str(n)), APPLIED_TAG)
    assert check_whole(disk)["mine"] == document("kept")[0].digest


def test_a_referrer_and_its_list_leave_nothing(disk: Disk) -> None:
    image = Image()
    disk.publish(image, "latest")
    records = [record(image.descriptor, str(n)) for n in range(3)]
    for manifest, blobs in records:
        put(disk, manifest, blobs)
    disk.delete(Digest.of(b"nothing"), grace=0)  # the lists before the last one
    for manifest, _ in records:
        disk.delete(manifest.digest)
    assert disk.blobs() == hexes(image.manifest, image.blobs)
    assert [tag_of(entry) for entry in disk.index()["manifests"]] == ["latest"]


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as pool:
        yield pool


# -- others at work -----------------------------------------------------------------------------------------------


def test_blobs_that_a_writer_has_found_are_not_removed_under_it(disk: Disk, threads: ThreadPoolExecutor) -> None:
    """It found the base layer of the image that is being deleted, does not put it again, and has entered nothing."""
    old, old_blobs = sharing(b"base", b"old")
    new, new_blobs = sharing(b"base", b"new")
    put(disk, old, old_blobs, "old")
    folder = LayoutFolder(disk.folder())
    with putting(folder):
        for digest, data in new_blobs.items():
            layout_writing.put(folder, digest, data)
        remover = threads.submit(disk.delete, old.digest, grace=0)
        assert wait([remover], timeout=0.05).not_done
        assert disk.blobs() == hexes(old, old_blobs, new_blobs)
        put(disk, new, None, "new")
    remover.result()
    assert check_whole(disk) == {"new": new.digest}
    assert disk.blobs() == hexes(new, new_blobs)


def test_a_remover_waits_for_writers_only_so_long(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    image = Image()
    disk.publish(image, "latest")
    before = disk.blobs(), disk.index()
    monkeypatch.setattr(layout_writing, "PATIENCE", 0.02)
    with putting(LayoutFolder(disk.folder())):
        with pytest.raises(LianError) as error:
            disk.delete(image.manifest.digest)
        assert codes(error) == {"registry-locked"}
        disk.untag("latest")
        disk.publish(image, "latest")
    assert (disk.blobs(), disk.index()) == before


def test_tidying_waits_for_nobody(disk: Disk) -> None:
    for n in range(KEPT_RETIRED + 1):
        put(disk, *document(str(n)), APPLIED_TAG)
    with putting(LayoutFolder(disk.folder())):
        put(disk, *document("last"), APPLIED_TAG)
        assert disk.blobs() >= hexes(*document("0"))
    disk.delete(Digest.of(b"nothing"), grace=0)
    assert not disk.blobs() & hexes(document("0")[0])


def test_readers_are_never_misled(disk: Disk, threads: ThreadPoolExecutor) -> None:
    """What a tag named a moment ago may be gone: then the tag says so too."""
    images, registry, repository = [Image(str(n)) for n in range(3)], LayoutRegistry(disk.root), disk.repository()
    done, odd = threading.Event(), list[Unknown]()

    def read() -> None:
        wanted = [Reference(repository, tag) for tag in ("latest", APPLIED_TAG)]
        while not done.is_set():
            seen = asyncio.run(registry.heads(wanted))
            odd.extend(sighting for sighting in seen.values() if isinstance(sighting, Unknown))

    disk.publish(images[0], "latest")
    readers = [threads.submit(read) for _ in range(2)]
    for n in range(40):
        disk.publish(images[n % 3], "latest")
        disk.delete(images[(n + 2) % 3].manifest.digest, grace=0)
        put(disk, *document(str(n)), APPLIED_TAG)
        disk.untag("latest")
        disk.delete(images[n % 3].manifest.digest, grace=0)
    done.set()
    for reader in readers:
        reader.result()
    assert odd == []


@pytest.mark.parametrize("tags", [["latest"], ["latest", "other"]])
def test_an_image_that_goes_between_two_looks_is_looked_for_again(
    disk: Disk, tags: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader has the index, and then the image is removed; with its list of referrers, too."""
    image, other = Image(), Image()
    manifest, blobs = record(image.descriptor, "one")
    disk.publish(other, "latest")
    disk.publish(image, *tags)
    put(disk, manifest, blobs)
    real, looks = LayoutFolder.index, count()

    def index_then_removed(folder: LayoutFolder) -> LayoutIndex | None:
        found = real(folder)
        if next(looks) == 0:
            disk.delete(manifest.digest)
            disk.delete(image.manifest.digest)
        return found

    monkeypatch.setattr(LayoutFolder, "index", index_then_removed)
    assert disk.head("latest") == ABSENT
    put(disk, manifest, blobs)
    looks = count()
    found = asyncio.run(LayoutRegistry(disk.root).referrers(disk.repository(), image.manifest.digest, KIND))
    assert list(found) == []


LAYERS = [f"layer {n}".encode() for n in range(4)]


def some_image(n: int) -> tuple[Manifest, dict[Digest, bytes]]:
    """One of sixteen, of layers they share."""
    return sharing(*(layer for at, layer in enumerate(LAYERS) if n >> at & 1), text=str(n))


def _write_some(disk: Disk, seed: int) -> None:
    chance = random.Random(seed)
    for _ in count():
        n = chance.randrange(16)
        put(disk, *some_image(n), f"t{n % 4}")
        put(disk, *document(str(chance.randrange(5))), APPLIED_TAG)


def _remove_some(disk: Disk, seed: int) -> None:
    chance = random.Random(seed)
    for _ in count():
        if chance.random() < 0.5:
            disk.delete(some_image(chance.randrange(16))[0].digest, grace=0)
        else:
            disk.untag(f"t{chance.randrange(4)}")


def test_writers_and_removers_killed_at_any_time_leave_every_tag_whole(disk: Disk) -> None:
    for n in range(8):
        works = [(_write_some, 1), (_write_some, 2), (_remove_some, 3), (_remove_some, 4)]
        workers = [FORK.Process(target=work, args=(disk, 10 * n + seed)) for work, seed in works]
        for worker in workers:
            worker.start()
        time.sleep(0.05 + 0.01 * n)
        for worker in random.Random(n).sample(workers, 4):
            assert worker.pid is not None
            os.kill(worker.pid, signal.SIGKILL)
            time.sleep(0.004)
        for worker in workers:
            worker.join()
            assert worker.exitcode == -signal.SIGKILL, "it ended by itself"
            worker.close()
        check_whole(disk)
    put(disk, *some_image(15), "latest")
    disk.delete(Digest.of(b"nothing"), grace=0)
    named = check_whole(disk)
    assert named["latest"] == some_image(15)[0].digest
    assert not list(disk.folder().glob(".tmp-*"))
    for entry in disk.index()["manifests"]:
        missing = LayoutRegistry(disk.root).missing(disk.repository(), Digest.parse(entry["digest"]))
        assert asyncio.run(missing) == ()


@pytest.mark.slow
@pytest.mark.parametrize("error", [None, OSError(28, "No space left on device"), OSError(5, "Input/output error")])
def test_cut_off_at_every_disk_call_a_removal_leaves_the_layout_whole(tmp_path: Path, error: OSError | None) -> None:
    """Gone or there, and the same call made again gets through; of what is left nothing is lost."""
    going, going_blobs = sharing(b"base", b"going")
    staying, staying_blobs = sharing(b"base", b"staying")
    about = Descriptor.of(IMAGE_MANIFEST, staying.data)
    first, second = record(about, "first"), record(about, "second")

    for limit in range(1, 500, 1 if error is None else 4):
        disk = Disk(tmp_path / str(limit))
        put(disk, staying, staying_blobs, "staying")
        put(disk, going, going_blobs, "going")
        for manifest, blobs in (first, second):
            put(disk, manifest, blobs)

        def action(disk: Disk = disk) -> None:
            disk.untag("going")
            disk.delete(going.digest)
            disk.delete(first[0].digest)

        code = cut_off(action, limit, error)
        named = check_whole(disk)
        assert named["staying"] == staying.digest
        assert named.get("going", going.digest) == going.digest
        missing = asyncio.run(LayoutRegistry(disk.root).missing(disk.repository(), going.digest))
        assert missing in {(), (going.digest,)}, "a manifest outlived its parts"
        found = asyncio.run(LayoutRegistry(disk.root).referrers(disk.repository(), staying.digest, KIND))
        assert second[0].digest in {d.digest for d in found}
        action()
        disk.delete(Digest.of(b"nothing"), grace=0)
        assert set(check_whole(disk)) == {"staying", referrers.fallback_tag(staying.digest)}
        kept = disk.index()["manifests"]
        lists = {Digest.parse(e["digest"]).hex for e in kept if e["mediaType"] == IMAGE_INDEX}
        assert disk.blobs() == hexes(staying, staying_blobs, *second) | lists
        if code == 0:
            break
    assert code == 0
    assert limit > 20


# -- the index as a value ------------------------------------------------------------------------------------------

_names, _contents = st.sampled_from(["a", "b", "c"]), st.integers(0, 3)
_steps = st.lists(
    st.one_of(
        st.tuples(st.just("point"), st.lists(_names, min_size=1, unique=True), _contents),
        st.tuples(st.just("hold"), st.just([]), _contents),
        st.tuples(st.just("untag"), st.lists(_names, min_size=1, max_size=1), _contents),
        st.tuples(st.just("retire"), st.lists(_names, min_size=1, max_size=1), _contents),
        st.tuples(st.just("remove"), st.just([]), _contents),
    ),
    max_size=20,
)


def _entry(n: int) -> Descriptor:
    return Descriptor(IMAGE_MANIFEST, Digest.of(str(n).encode()), 10)


@given(_steps)
def test_any_order_of_changes_leaves_the_index_a_map_of_tags(steps: list[tuple[str, list[str], int]]) -> None:
    """Every tag once, where it was last put; content stays until it is removed, or retired often enough."""
    made, tags, held, retired = LayoutIndex.empty(), dict[str, int](), set[int](), set[int]()
    for step, names, n in steps:
        match step:
            case "point":
                made = made.pointing(names, _entry(n))
                tags |= dict.fromkeys(names, n)
                held.add(n)
            case "hold":
                made = made.holding(_entry(n))
                held.add(n)
            case "untag":
                made = made.untagged(names[0])
                tags.pop(names[0], None)
            case "retire":
                made = made.retired(str(_entry(n).digest), names[0])
                retired.add(n)
            case _:
                made = made.removed(str(_entry(n).digest))
                tags = {tag: where for tag, where in tags.items() if where != n}
                held.discard(n)
        named = [tag for entry in made.entries if (tag := tag_of(entry))]
        assert sorted(named) == sorted(tags)
        assert {tag: d.digest for tag, d in made.tagged(set(tags)).items()} == {
            tag: _entry(n).digest for tag, n in tags.items()
        }
        there = {entry["digest"] for entry in made.entries}
        assert there <= {str(_entry(n).digest) for n in held}
        assert there >= {str(_entry(n).digest) for n in held - retired}
        assert len([e for e in made.entries if tag_of(e) is None]) == len(
            {e["digest"] for e in made.entries if tag_of(e) is None}
        )
        assert LayoutIndex.parse(made.to_bytes()) == made


@settings(max_examples=25)
@given(st.lists(st.tuples(st.sampled_from(["put", "untag", "delete"]), st.integers(0, 15)), max_size=15))
def test_after_any_order_of_changes_exactly_what_is_reached_is_there(steps: list[tuple[str, int]]) -> None:
    tags: dict[str, int] = {}
    held: set[int] = set()
    with tempfile.TemporaryDirectory() as folder:
        disk = Disk(Path(folder) / "registry")
        for step, n in steps:
            match step:
                case "put":
                    put(disk, *some_image(n), f"t{n % 4}")
                    tags[f"t{n % 4}"] = n
                    held.add(n)
                case "untag":
                    disk.untag(f"t{n % 4}")
                    tags.pop(f"t{n % 4}", None)
                case _:
                    disk.delete(some_image(n)[0].digest)
                    tags = {tag: where for tag, where in tags.items() if where != n}
                    held.discard(n)
            assert check_whole(disk) == {tag: some_image(n)[0].digest for tag, n in tags.items()}
            if disk.folder().exists():
                assert disk.blobs() == hexes(*(part for n in held for part in some_image(n)))
